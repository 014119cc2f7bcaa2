"""Sessions of activity: rows of one key that are less than a gap apart.

A session is not stored: it is a run of rows in the arena between two that are `gap` or
more apart. It starts with its first row and ends `gap` after its last. The mark of its
first row counts how often it was given under this start.
"""

from __future__ import annotations

__all__ = ("resume_sessions", "take_sessions")

from numba import int64, types

from market_data_pipeline.kernels.compiling import called, inlined, kernel
from market_data_pipeline.kernels.row_store import (
    ALL_TAKEN,
    FINAL,
    FIRE,
    META_HEAP,
    META_LATE,
    META_ROWS_SEEN,
    META_WATERMARK,
    NEEDS_ARENA,
    NEEDS_HEAP,
    NEVER,
    ROW_MARK,
    ROW_TIME,
    ROW_VALUES,
    SLOT_BIRTH,
    SLOT_DUE,
    SLOT_HEAD,
    SLOT_START,
    SLOT_TAIL,
    add_capped,
    drop_rows,
    insert_row,
    is_current,
    lower_bound,
    pop_due,
    push_due,
    room_for_row,
    subtract_capped,
)
from market_data_pipeline.kernels.window_grid import (
    GRID_LATENESS,
    GRID_MODE,
    GRID_SIZE,
    MODE_FINAL,
    MODE_RETRACT,
)
from market_data_pipeline.kernels.window_output import (
    ASSERT,
    RETRACT,
    give,
    give_nothing,
    gives_room,
)

_INTS = types.Array(int64, 1, "C", readonly=True)
_TABLE = types.Array(int64, 2, "C")
_ROWS = types.Array(int64, 2, "C", readonly=True)


@inlined
def _is_apart(arena, row, gap):
    """Tell whether a row is in another session than the one before it."""
    return add_capped(arena[row - 1, ROW_TIME], gap) <= arena[row, ROW_TIME]


@called
def _behind(arena, row, tail, gap):
    """Return the row behind the session that holds a row."""
    row += 1
    while row < tail and not _is_apart(arena, row, gap):
        row += 1
    return row


@called
def _begin(arena, head, row, gap):
    """Return the first row of the session that holds a row."""
    while row > head and not _is_apart(arena, row, gap):
        row -= 1
    return row


@called
def _first_open(slot, reached, gap, slots, arena):
    """Return the first row whose session ends after a time, the tail if there is none."""
    head, tail = slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]
    row = lower_bound(arena, head, tail, subtract_capped(reached, gap))
    while row < tail and add_capped(arena[row, ROW_TIME], gap) <= reached:
        row += 1
    return row


@called
def _next_due(slot, kind, reached, grid, meta, slots, arena, heap):
    """Note when the first session that ends after a time is due, if there is one."""
    gap = grid[GRID_SIZE]
    tail = slots[slot, SLOT_TAIL]
    row = _first_open(slot, reached, gap, slots, arena)
    if row == tail:
        slots[slot, SLOT_START + kind] = NEVER
        return
    row = _behind(arena, row, tail, gap)
    due = add_capped(arena[row - 1, ROW_TIME], gap)
    if kind == FINAL:
        due = add_capped(due, grid[GRID_LATENESS])
    push_due(slot, kind, due, 0, meta, slots, heap)


@called
def _fire(watermark, grid, meta, slots, arena, heap, program, out, gather):
    """Give the sessions that are due at a watermark; return what is missing for it."""
    mode, gap = grid[GRID_MODE], grid[GRID_SIZE]
    lateness = grid[GRID_LATENESS]
    while meta[META_HEAP] and heap[0, 0] <= watermark:
        if not is_current(slots, heap):
            pop_due(meta, heap)
            continue
        slot = heap[0, 2] >> 1
        kind = heap[0, 2] & 1
        due = heap[0, 0]
        head, tail = slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]
        before = subtract_capped(due, 1)
        if kind == FINAL:
            before = subtract_capped(before, lateness)
        # The session that may end now is the first that has not ended before.
        low = head if kind == FINAL else _first_open(slot, before, gap, slots, arena)
        inner = _first_open(slot, before, gap, slots, arena) if kind == FINAL else low
        high = _behind(arena, inner, tail, gap)
        end = add_capped(arena[high - 1, ROW_TIME], gap)
        if (add_capped(end, lateness) if kind == FINAL else end) > due:
            # Rows have come since that have made it longer.
            pop_due(meta, heap)
            late = lateness if kind == FINAL else 0
            push_due(slot, kind, add_capped(end, late), 0, meta, slots, heap)
            continue
        if kind == FIRE:
            low = _begin(arena, head, low, gap)
        else:
            high = _behind(arena, head, tail, gap)
            end = add_capped(arena[high - 1, ROW_TIME], gap)
        missing = gives_room(2, 2 * (high - low), meta, out, gather)
        if missing != ALL_TAKEN:
            return missing
        pop_due(meta, heap)
        start = arena[low, ROW_TIME]
        given = arena[low, ROW_MARK]
        tables = (meta, program, arena, out, gather)
        if kind == FIRE:
            arena[low, ROW_MARK] = given + 1
            give(slot, low, high, -1, start, end, given, 0, ASSERT, due, tables)
            _next_due(slot, kind, end, grid, meta, slots, arena, heap)
            continue
        revision = max(given - 1, 0)
        if lateness and mode == MODE_RETRACT:
            give(slot, low, high, -1, start, end, revision, 0, RETRACT, due, tables)
        give(slot, low, high, -1, start, end, revision, 1, ASSERT, due, tables)
        drop_rows(slot, high, meta, slots)
        _next_due(slot, kind, end, grid, meta, slots, arena, heap)
    return ALL_TAKEN


@called
def _revise(slot, place, watermark, grid, meta, slots, arena, program, out, gather):
    """Give sessions again, or take them back, that a row has changed after they were given.

    The row stands in the arena; `old` are the sessions as they were without it.
    """
    gap, retract = grid[GRID_SIZE], grid[GRID_MODE] == MODE_RETRACT
    head, tail = slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]
    due = add_capped(watermark, 1)
    tables = (meta, program, arena, out, gather)
    low = _begin(arena, head, place, gap)
    high = _behind(arena, place, tail, gap)
    end = add_capped(arena[high - 1, ROW_TIME], gap)
    # Without the row its neighbours may be one session or two.
    whole = (
        low < place < high - 1
        and add_capped(arena[place - 1, ROW_TIME], gap) > arena[place + 1, ROW_TIME]
    )
    if not whole and place < high - 1:
        # The session behind it now starts earlier, or is part of the one before it.
        given = arena[place + 1, ROW_MARK]
        start = arena[place + 1, ROW_TIME]
        arena[place + 1, ROW_MARK] = 0
        if given and retract and end <= watermark:
            give(slot, place + 1, high, -1, start, end, given - 1, 0, RETRACT, due, tables)
        elif given and not retract and grid[GRID_MODE] != MODE_FINAL:
            give_nothing(slot, start, end, given, due, meta, program, arena, out)
    # What was given under the start that stays.
    given = arena[low, ROW_MARK] if low < place else 0
    start = arena[low, ROW_TIME]
    if low < place:
        last = high - 1 if whole else place - 1
        old_end = add_capped(arena[last, ROW_TIME], gap)
        if given and retract and old_end <= watermark:
            behind = high if whole else place
            give(slot, low, behind, place, start, old_end, given - 1, 0, RETRACT, due, tables)
    if end <= watermark:
        arena[low, ROW_MARK] = given + 1
        give(slot, low, high, -1, start, end, given, 0, ASSERT, due, tables)


@kernel(
    types.UniTuple(int64, 2)(
        int64,
        int64,
        *(_INTS, _INTS, _INTS, _ROWS, _INTS),
        *(types.Array(int64, 1, "C"), _TABLE, _TABLE, _TABLE, _ROWS, _TABLE, _TABLE),
        types.Array(int64, 1, "C"),
    )
)
def take_sessions(
    first,
    reached,
    times,
    watermarks,
    keys,
    values,
    grid,
    meta,
    slots,
    arena,
    heap,
    program,
    out,
    gather,
    late,
):
    """Take rows into sessions; give sessions as the watermark passes their ends.

    A row is late, and not taken, if it belongs to no session that is still held and its
    own would end, lateness included, at or before the watermark.

    Args:
        first: Row to begin with.
        reached: The watermark behind the rows.
        times: (n,) event times.
        watermarks: (n,) the watermark after each row.
        keys: (n,) the slot of each row's key.
        values: (C, n) the columns that aggregates read.
        grid: As in `take_fixed`; the gap stands for the size.
        meta: See `kernels.row_store`, as are `slots`, `arena` and `heap`.
        slots: (S, SLOT) keys that have rows.
        arena: (A, ROW_VALUES + C) rows.
        heap: (H, 3) what is due.
        program: (P, 4), see `kernels.aggregates`.
        out: See `kernels.window_output`, as is `gather`.
        gather: (G, W), W 0 if nobody needs the rows.
        late: (n,) filled with the positions of late rows from `meta[META_LATE]`.

    Returns:
        The first row not taken, and why: `ALL_TAKEN` or what it needs.
    """
    gap = grid[GRID_SIZE]
    lateness = grid[GRID_LATENESS]
    columns = len(values)
    row = first
    while True:
        watermark = max(watermarks[row] if row < len(times) else reached, meta[META_WATERMARK])
        if meta[META_HEAP] and heap[0, 0] <= watermark:
            missing = _fire(watermark, grid, meta, slots, arena, heap, program, out, gather)
            if missing != ALL_TAKEN:
                return row, missing
        meta[META_WATERMARK] = watermark
        if row == len(times):
            return row, ALL_TAKEN
        time = times[row]
        slot = keys[row]
        head, tail = slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]
        behind = time < watermark
        end = add_capped(time, gap)
        if behind and add_capped(end, lateness) <= watermark:
            place = lower_bound(arena, head, tail, add_capped(time, 1))
            joins = (place > head and add_capped(arena[place - 1, ROW_TIME], gap) > time) or (
                place < tail and end > arena[place, ROW_TIME]
            )
            if not joins:
                late[meta[META_LATE]] = row
                meta[META_LATE] += 1
                row += 1
                continue
        if meta[META_HEAP] + 4 > len(heap):
            return row, NEEDS_HEAP
        if not room_for_row(slot, meta, slots, arena):
            return row, NEEDS_ARENA
        if behind and lateness:
            missing = gives_room(4, 4 * (tail - head + 1), meta, out, gather)
            if missing != ALL_TAKEN:
                return row, missing
        if tail == head:
            slots[slot, SLOT_BIRTH] = meta[META_ROWS_SEEN]
            slots[slot, SLOT_START + FIRE] = NEVER
            slots[slot, SLOT_START + FINAL] = NEVER
        meta[META_ROWS_SEEN] += 1
        place = insert_row(slot, time, slots, arena)
        arena[place, ROW_MARK] = 0
        for column in range(columns):
            arena[place, ROW_VALUES + column] = values[column, row]
        due = add_capped(end, lateness)
        if due > watermark and (
            slots[slot, SLOT_START + FINAL] == NEVER or due < slots[slot, SLOT_DUE + FINAL]
        ):
            push_due(slot, FINAL, due, 0, meta, slots, heap)
        if lateness:
            if end > watermark and (
                slots[slot, SLOT_START + FIRE] == NEVER or end < slots[slot, SLOT_DUE + FIRE]
            ):
                push_due(slot, FIRE, end, 0, meta, slots, heap)
            if behind:
                _revise(slot, place, watermark, grid, meta, slots, arena, program, out, gather)
        row += 1


@kernel(int64(_INTS, types.Array(int64, 1, "C"), _TABLE, _TABLE, _TABLE))
def resume_sessions(grid, meta, slots, arena, heap):
    """Note what is due of rows that were restored; see `take_sessions`.

    Args:
        grid: Gap and lateness.
        meta: The watermark.
        slots: Slots with their rows.
        arena: The rows.
        heap: (H, 3), H at least twice the slots.

    Returns:
        Entries of the heap.
    """
    watermark = meta[META_WATERMARK]
    lateness = grid[GRID_LATENESS]
    for slot in range(len(slots)):
        if slots[slot, SLOT_HEAD] == slots[slot, SLOT_TAIL]:
            continue
        final = subtract_capped(watermark, lateness)
        _next_due(slot, FINAL, final, grid, meta, slots, arena, heap)
        if lateness:
            _next_due(slot, FIRE, watermark, grid, meta, slots, arena, heap)
    return meta[META_HEAP]

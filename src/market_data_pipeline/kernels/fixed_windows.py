"""Windows of a given length that start at given times: tumbling and hopping.

Starts are `origin + k * every`, or, with trading sessions, `open + k * every` within each
session; a window ends after `size`, or at its session's close. Times are int64
nanoseconds; those near the ends of the range are capped, never wrapped round.
"""

from __future__ import annotations

__all__ = ("resume_fixed", "take_fixed")

from numba import int64, types

from market_data_pipeline.kernels.compiling import called, kernel
from market_data_pipeline.kernels.row_store import (
    ALL_TAKEN,
    FINAL,
    FIRE,
    LOWEST,
    META_HEAP,
    META_LATE,
    META_OUTSIDE,
    META_ROWS_SEEN,
    META_WATERMARK,
    NEEDS_ARENA,
    NEEDS_HEAP,
    NEVER,
    ROW_MARK,
    ROW_TIME,
    ROW_VALUES,
    SLOT_BIRTH,
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
    GRID_EVERY,
    GRID_LATENESS,
    GRID_MODE,
    GRID_ORIGIN,
    GRID_SIZE,
    MODE_FINAL,
    MODE_RETRACT,
)
from market_data_pipeline.kernels.window_output import ASSERT, RETRACT, give, gives_room

_INTS = types.Array(int64, 1, "C", readonly=True)
_TABLE = types.Array(int64, 2, "C")
_ROWS = types.Array(int64, 2, "C", readonly=True)


@called
def _session(time, opens):
    """Return the last session that opens at or before a time, -1 if there is none."""
    low, high = 0, len(opens)
    while low < high:
        middle = (low + high) >> 1
        if opens[middle] <= time:
            low = middle + 1
        else:
            high = middle
    return low - 1


@called
def _floor(time, grid):
    """Return the last start at or before a time."""
    every = grid[GRID_EVERY]
    if time < LOWEST + every + grid[GRID_ORIGIN]:
        # The windows that hold the lowest times are cut short rather than wrapped round.
        return LOWEST
    return time - (time - grid[GRID_ORIGIN]) % every


@called
def _last_start(time, grid, opens):
    """Return the start of the last window that holds a time."""
    if len(opens):
        first = opens[_session(time, opens)]
        return time - (time - first) % grid[GRID_EVERY]
    return _floor(time, grid)


@called
def _start_after(bound, time, grid, opens):
    """Return the first start after a bound on the grid on which a time lies."""
    every = grid[GRID_EVERY]
    if len(opens):
        first = opens[_session(time, opens)]
        return first if bound < first else bound - (bound - first) % every + every
    start = _floor(bound, grid)
    if start == LOWEST:
        above = _floor(LOWEST + every + grid[GRID_ORIGIN], grid)
        return LOWEST if time < above else above
    return add_capped(start, every)


@called
def _end(start, grid, opens, closes):
    if start == LOWEST and not len(opens):
        return add_capped(
            _floor(LOWEST + grid[GRID_EVERY] + grid[GRID_ORIGIN], grid),
            grid[GRID_SIZE] - grid[GRID_EVERY],
        )
    end = add_capped(start, grid[GRID_SIZE])
    return min(end, closes[_session(start, opens)]) if len(opens) else end


@called
def _next_start(start, grid, opens, closes):
    """Return the start behind a start; the session's close if it has no further one."""
    if start == LOWEST and not len(opens):
        return _floor(LOWEST + grid[GRID_EVERY] + grid[GRID_ORIGIN], grid)
    after = add_capped(start, grid[GRID_EVERY])
    return min(after, closes[_session(start, opens)]) if len(opens) else after


@called
def _revision(arena, low, high, skip, end):
    """Return how often a window was given again: rows that came after its end.

    If all came after it, the first of them made the window.
    """
    rows, late = 0, 0
    for row in range(low, high):
        if row != skip:
            rows += 1
            late += arena[row, ROW_MARK] >= end
    return late - (1 if late == rows else 0)


@called
def _move_due(slot, kind, start, grid, opens, closes, meta, slots, heap):
    """Note the window of a slot that comes next."""
    due = _end(start, grid, opens, closes)
    if kind == FINAL:
        due = add_capped(due, grid[GRID_LATENESS])
    push_due(slot, kind, due, start, meta, slots, heap)


@called
def _next_due(slot, kind, cut, grid, opens, closes, meta, slots, arena, heap):
    """Note the first window with rows whose start is not before `cut`, if there is one."""
    low, high = slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]
    row = lower_bound(arena, low, high, cut)
    if row == high:
        slots[slot, SLOT_START + kind] = NEVER
        return
    time = arena[row, ROW_TIME]
    first = _start_after(subtract_capped(time, grid[GRID_SIZE]), time, grid, opens)
    _move_due(slot, kind, max(first, cut), grid, opens, closes, meta, slots, heap)


@called
def _fire(watermark, grid, opens, closes, meta, slots, arena, heap, program, out, gather):
    """Give the windows that are due at a watermark; return what is missing for it."""
    mode = grid[GRID_MODE]
    revisable = grid[GRID_LATENESS] > 0
    while meta[META_HEAP] and heap[0, 0] <= watermark:
        if not is_current(slots, heap):
            pop_due(meta, heap)
            continue
        slot = heap[0, 2] >> 1
        kind = heap[0, 2] & 1
        due = heap[0, 0]
        start = slots[slot, SLOT_START + kind]
        end = _end(start, grid, opens, closes)
        low = lower_bound(arena, slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL], start)
        high = slots[slot, SLOT_TAIL]
        if end != NEVER and arena[high - 1, ROW_TIME] >= end:
            high = lower_bound(arena, low, high, end)
        missing = gives_room(2, 2 * (high - low), meta, out, gather)
        if missing != ALL_TAKEN:
            return missing
        pop_due(meta, heap)
        final = kind == FINAL
        revision = _revision(arena, low, high, -1, end) if final and revisable else 0
        tables = (meta, program, arena, out, gather)
        if final and revisable and mode == MODE_RETRACT:
            give(slot, low, high, -1, start, end, revision, 0, RETRACT, due, tables)
        give(slot, low, high, -1, start, end, revision, kind, ASSERT, due, tables)
        cut = _next_start(start, grid, opens, closes)
        if final:
            drop_rows(slot, lower_bound(arena, low, slots[slot, SLOT_TAIL], cut), meta, slots)
        _next_due(slot, kind, cut, grid, opens, closes, meta, slots, arena, heap)
    return ALL_TAKEN


@called
def _revise(slot, place, watermark, grid, opens, closes, meta, slots, arena, program, out, gather):
    """Give the windows again that a row has changed after they had been given."""
    time = arena[place, ROW_TIME]
    size = grid[GRID_SIZE]
    bound = max(time, subtract_capped(watermark, grid[GRID_LATENESS]))
    start = _start_after(subtract_capped(bound, size), time, grid, opens)
    # Nothing that is due at this watermark is left, whatever comes is due later.
    due = add_capped(watermark, 1)
    while start <= time:
        end = _end(start, grid, opens, closes)
        if end > watermark:
            return
        if add_capped(end, grid[GRID_LATENESS]) > watermark:
            low = lower_bound(arena, slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL], start)
            high = lower_bound(arena, low, slots[slot, SLOT_TAIL], end)
            tables = (meta, program, arena, out, gather)
            if grid[GRID_MODE] == MODE_RETRACT and high - low > 1:
                before = _revision(arena, low, high, place, end)
                give(slot, low, high, place, start, end, before, 0, RETRACT, due, tables)
            after = _revision(arena, low, high, -1, end)
            give(slot, low, high, -1, start, end, after, 0, ASSERT, due, tables)
        start = add_capped(start, grid[GRID_EVERY])


@kernel(
    types.UniTuple(int64, 2)(
        int64,
        int64,
        *(_INTS, _INTS, _INTS, _ROWS, _INTS, _INTS, _INTS),
        *(types.Array(int64, 1, "C"), _TABLE, _TABLE, _TABLE, _ROWS, _TABLE, _TABLE),
        *(types.Array(int64, 1, "C"), types.Array(int64, 1, "C")),
    )
)
def take_fixed(
    first,
    reached,
    times,
    watermarks,
    keys,
    values,
    grid,
    opens,
    closes,
    meta,
    slots,
    arena,
    heap,
    program,
    out,
    gather,
    late,
    outside,
):
    """Take rows into their windows; give windows as the watermark passes their ends.

    A row is late, and not taken, if the last window that holds it ends at or before the
    watermark, lateness included.

    Args:
        first: Row to begin with.
        reached: The watermark behind the rows.
        times: (n,) event times.
        watermarks: (n,) the watermark after each row.
        keys: (n,) the slot of each row's key.
        values: (C, n) the columns that aggregates read.
        grid: Origin, size, step, lateness and mode of the windows.
        opens: (s,) opens of trading sessions, ascending; empty if there are none.
        closes: (s,) their closes.
        meta: See `kernels.row_store`, as are `slots`, `arena` and `heap`.
        slots: (S, SLOT) keys that have rows.
        arena: (A, ROW_VALUES + C) rows.
        heap: (H, 3) what is due.
        program: (P, 4), see `kernels.aggregates`.
        out: See `kernels.window_output`, as is `gather`.
        gather: (G, W), W 0 if nobody needs the rows.
        late: (n,) filled with the positions of late rows from `meta[META_LATE]`.
        outside: (n,) filled with those of rows outside of trading sessions.

    Returns:
        The first row not taken, and why: `ALL_TAKEN` or what it needs.
    """
    size = grid[GRID_SIZE]
    lateness = grid[GRID_LATENESS]
    revisable = lateness > 0 and grid[GRID_MODE] != MODE_FINAL
    windows = size // grid[GRID_EVERY] + 1
    columns = len(values)
    row = first
    while True:
        watermark = max(watermarks[row] if row < len(times) else reached, meta[META_WATERMARK])
        if meta[META_HEAP] and heap[0, 0] <= watermark:
            missing = _fire(
                watermark, grid, opens, closes, meta, slots, arena, heap, program, out, gather
            )
            if missing != ALL_TAKEN:
                return row, missing
        meta[META_WATERMARK] = watermark
        if row == len(times):
            return row, ALL_TAKEN
        time = times[row]
        if len(opens):
            session = _session(time, opens)
            if session < 0 or time >= closes[session]:
                outside[meta[META_OUTSIDE]] = row
                meta[META_OUTSIDE] += 1
                row += 1
                continue
        behind = time < watermark
        if behind:
            end = _end(_last_start(time, grid, opens), grid, opens, closes)
            if add_capped(end, lateness) <= watermark:
                late[meta[META_LATE]] = row
                meta[META_LATE] += 1
                row += 1
                continue
        slot = keys[row]
        if meta[META_HEAP] + 4 > len(heap):
            return row, NEEDS_HEAP
        if not room_for_row(slot, meta, slots, arena):
            return row, NEEDS_ARENA
        head, tail = slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]
        if behind and revisable:
            missing = gives_room(2 * windows, 2 * windows * (tail - head + 1), meta, out, gather)
            if missing != ALL_TAKEN:
                return row, missing
        if tail == head:
            slots[slot, SLOT_BIRTH] = meta[META_ROWS_SEEN]
            slots[slot, SLOT_START + FIRE] = NEVER
            slots[slot, SLOT_START + FINAL] = NEVER
        meta[META_ROWS_SEEN] += 1
        is_next = tail > head and not behind and time >= arena[tail - 1, ROW_TIME]
        place = insert_row(slot, time, slots, arena)
        arena[place, ROW_MARK] = watermark
        for column in range(columns):
            arena[place, ROW_VALUES + column] = values[column, row]
        # A row behind all others of its key cannot bring an earlier window about.
        if not is_next or slots[slot, SLOT_START + FINAL] == NEVER:
            bound = max(time, subtract_capped(watermark, lateness))
            start = _start_after(subtract_capped(bound, size), time, grid, opens)
            if add_capped(_end(start, grid, opens, closes), lateness) <= watermark:
                start = _next_start(start, grid, opens, closes)
            if start < slots[slot, SLOT_START + FINAL]:
                _move_due(slot, FINAL, start, grid, opens, closes, meta, slots, heap)
        if revisable and (not is_next or slots[slot, SLOT_START + FIRE] == NEVER):
            bound = max(time, watermark)
            start = _start_after(subtract_capped(bound, size), time, grid, opens)
            if (
                start <= time
                and start < slots[slot, SLOT_START + FIRE]
                and _end(start, grid, opens, closes) > watermark
            ):
                _move_due(slot, FIRE, start, grid, opens, closes, meta, slots, heap)
        if behind and revisable:
            _revise(
                slot,
                place,
                watermark,
                grid,
                opens,
                closes,
                meta,
                slots,
                arena,
                program,
                out,
                gather,
            )
        row += 1


@kernel(int64(_INTS, _INTS, _INTS, types.Array(int64, 1, "C"), _TABLE, _TABLE, _TABLE))
def resume_fixed(grid, opens, closes, meta, slots, arena, heap):
    """Note what is due of rows that were restored; see `take_fixed`.

    Args:
        grid: As in `take_fixed`, as are the others.
        opens: Opens of sessions.
        closes: Closes of sessions.
        meta: The watermark.
        slots: Slots with their rows.
        arena: The rows.
        heap: (H, 3), H at least twice the slots.

    Returns:
        Entries of the heap.
    """
    watermark = meta[META_WATERMARK]
    revisable = grid[GRID_LATENESS] > 0 and grid[GRID_MODE] != MODE_FINAL
    for slot in range(len(slots)):
        slots[slot, SLOT_START + FIRE] = NEVER
        slots[slot, SLOT_START + FINAL] = NEVER
        for kind in range(0 if revisable else FINAL, FINAL + 1):
            lateness = grid[GRID_LATENESS] if kind == FINAL else 0
            for row in range(slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]):
                time = arena[row, ROW_TIME]
                bound = max(time, subtract_capped(watermark, lateness))
                start = _start_after(subtract_capped(bound, grid[GRID_SIZE]), time, grid, opens)
                if start <= time and (
                    add_capped(_end(start, grid, opens, closes), lateness) > watermark
                ):
                    _move_due(slot, kind, start, grid, opens, closes, meta, slots, heap)
                    break
    return meta[META_HEAP]

"""Windows over rows that come in the order of event time: counted ones and sliding ones.

A sliding window is given with each row, so its aggregates are kept up to date rather than
worked out anew: `sums`, (S, 4 * P) int64, has four words for each slot and aggregate.
Sums are exact in 128 bits, so what is taken out of them leaves no trace. The lowest and
the highest value are searched for again once they have left the window.
"""

from __future__ import annotations

__all__ = (
    "ORDER_IDLE",
    "ORDER_ROWS",
    "ORDER_SIZE",
    "resume_ordered",
    "take_counted",
    "take_sliding",
)

import numpy as np
from numba import int64, types

from market_data_pipeline.kernels.aggregates import (
    COUNT,
    MAX,
    MEAN,
    MIN,
    SUM,
    VWAP,
    evaluate,
)
from market_data_pipeline.kernels.compiling import called, kernel
from market_data_pipeline.kernels.int128 import add_product, divide_half_even
from market_data_pipeline.kernels.row_store import (
    ALL_TAKEN,
    FINAL,
    META_GATHERED,
    META_HEAP,
    META_INCOMPLETE,
    META_OUT,
    META_OVERFLOW,
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
    is_current,
    pop_due,
    push_due,
    room_for_row,
)
from market_data_pipeline.kernels.window_output import (
    ASSERT,
    OUT_ROWS,
    OUT_SLOT,
    OUT_VALUES,
    give,
    gives_room,
)

ORDER_SIZE = 0  # how far back a sliding window goes, 0 if it goes by rows
ORDER_ROWS = 1  # rows of a window, 0 if it goes by time
ORDER_IDLE = 2  # how long a key is kept without a row, 0 for ever

_WORDS = 4
_UNDEFINED = np.iinfo(np.int64).max
_INTS = types.Array(int64, 1, "C", readonly=True)
_META = types.Array(int64, 1, "C")
_TABLE = types.Array(int64, 2, "C")
_ROWS = types.Array(int64, 2, "C", readonly=True)


@called
def _forget_idle(reached, order, meta, slots, arena, heap):
    """Let go of keys that have had no row for long."""
    while meta[META_HEAP] and heap[0, 0] <= reached:
        if is_current(slots, heap):
            slot = heap[0, 2] >> 1
            last = arena[slots[slot, SLOT_TAIL] - 1, ROW_TIME]
            due = add_capped(last, order[ORDER_IDLE])
            pop_due(meta, heap)
            if due > reached:
                push_due(slot, FINAL, due, 0, meta, slots, heap)
            else:
                meta[META_INCOMPLETE] += slots[slot, SLOT_TAIL] - slots[slot, SLOT_HEAD]
                drop_rows(slot, slots[slot, SLOT_TAIL], meta, slots)
                slots[slot, SLOT_START + FINAL] = NEVER
        else:
            pop_due(meta, heap)


@called
def _add(program, arena, row, sums, slot, sign):
    """Take a row into the sums of its slot, or out of them."""
    for place in range(len(program)):
        operation = program[place, 0]
        at = _WORDS * place
        value = arena[row, program[place, 1]]
        if operation in (SUM, MEAN):
            if value != _UNDEFINED:
                factor = program[place, 2] if operation == MEAN else 1
                low, high = add_product(sums[slot, at], sums[slot, at + 1], value, factor * sign)
                sums[slot, at] = low
                sums[slot, at + 1] = high
                sums[slot, at + 2] += sign
        elif operation == VWAP:
            weight = arena[row, program[place, 2]]
            if value != _UNDEFINED and weight != _UNDEFINED:  # noqa: PLR1714
                signed = weight * sign
                low, high = add_product(sums[slot, at], sums[slot, at + 1], value, signed)
                sums[slot, at] = low
                sums[slot, at + 1] = high
                low, high = add_product(
                    sums[slot, at + 2], sums[slot, at + 3], weight, np.int64(sign)
                )
                sums[slot, at + 2] = low
                sums[slot, at + 3] = high
        elif operation == COUNT:
            if value != _UNDEFINED:
                sums[slot, at] += sign
        elif operation in (MIN, MAX):
            # The extreme, and whether it is known.
            extreme = sums[slot, at]
            if sign < 0:
                if value == extreme:
                    sums[slot, at + 1] = 0
            elif sums[slot, at + 1] and value != _UNDEFINED:
                better = value < extreme if operation == MIN else value > extreme
                if extreme == _UNDEFINED or better:
                    sums[slot, at] = value


@called
def _clear(program, sums, slot):
    for place in range(len(program)):
        at = _WORDS * place
        sums[slot, at : at + _WORDS] = 0
        if program[place, 0] in (MIN, MAX):
            sums[slot, at] = _UNDEFINED
            sums[slot, at + 1] = 1


@called
def _read(program, arena, low, high, sums, slot, out, at):
    """Write the aggregates of a sliding window; return 1 + the first out of range, or 0."""
    wrong = 0
    for place in range(len(program)):
        operation = program[place, 0]
        word = _WORDS * place
        to = OUT_VALUES + place
        a, b = sums[slot, word], sums[slot, word + 1]
        c, d = sums[slot, word + 2], sums[slot, word + 3]
        value, fits = _UNDEFINED, True
        if operation == SUM:
            if c:
                value, fits = a, b == a >> 63 and a != _UNDEFINED
        elif operation == MEAN:
            if c:
                value, fits = divide_half_even(a, b, c)
        elif operation == VWAP:
            if d < 0 or d != c >> 63:
                fits = False
            elif c:
                value, fits = divide_half_even(a, b, c)
        elif operation == COUNT or (operation in (MIN, MAX) and b):
            value = a
        else:
            fits = not evaluate(program[place : place + 1], arena, low, high, -1, out, at, to)
            value = out[at, to]
            if operation in (MIN, MAX):
                sums[slot, word] = value
                sums[slot, word + 1] = 1
        out[at, to] = value
        if not fits and not wrong:
            wrong = place + 1
    return wrong


@called
def _append(slot, time, order, meta, slots, arena, heap):
    """Put a row behind those of its slot; return where. There must be room."""
    place = slots[slot, SLOT_TAIL]
    if place == slots[slot, SLOT_HEAD]:
        slots[slot, SLOT_BIRTH] = meta[META_ROWS_SEEN]
        slots[slot, SLOT_START + FINAL] = NEVER
        if order[ORDER_IDLE]:
            due = add_capped(time, order[ORDER_IDLE])
            push_due(slot, FINAL, due, 0, meta, slots, heap)
    meta[META_ROWS_SEEN] += 1
    slots[slot, SLOT_TAIL] = place + 1
    arena[place, ROW_TIME] = time
    arena[place, ROW_MARK] = 0
    return place


_SIGNATURE = types.UniTuple(int64, 2)(
    int64,
    int64,
    *(_INTS, _INTS, _ROWS, _INTS),
    *(_META, _TABLE, _TABLE, _TABLE, _TABLE, _ROWS, _TABLE, _TABLE),
)


@kernel(_SIGNATURE)
def take_counted(
    first,
    reached,
    times,
    keys,
    values,
    order,
    meta,
    slots,
    arena,
    heap,
    sums,  # noqa: ARG001
    program,
    out,
    gather,
):
    """Take rows in order; give the rows of a key whenever they are as many as a window.

    Args:
        first: Row to begin with.
        reached: The watermark behind the rows.
        times: (n,) event times, ascending.
        keys: (n,) the slot of each row's key.
        values: (C, n) the columns that aggregates read.
        order: See `ORDER_*`.
        meta: See `kernels.row_store`, as are `slots`, `arena` and `heap`.
        slots: (S, SLOT) keys that have rows.
        arena: (A, ROW_VALUES + C) rows.
        heap: (H, 3) when keys are forgotten.
        sums: Not used.
        program: (P, 4), see `kernels.aggregates`.
        out: See `kernels.window_output`, as is `gather`.
        gather: (G, W), W 0 if nobody needs the rows.

    Returns:
        The first row not taken, and why: `ALL_TAKEN` or what it needs.
    """
    row = first
    while row < len(times):
        time, slot = times[row], keys[row]
        _forget_idle(time, order, meta, slots, arena, heap)
        if meta[META_HEAP] + 1 > len(heap):
            return row, NEEDS_HEAP
        if not room_for_row(slot, meta, slots, arena):
            return row, NEEDS_ARENA
        missing = gives_room(1, order[ORDER_ROWS], meta, out, gather)
        if missing != ALL_TAKEN:
            return row, missing
        place = _append(slot, time, order, meta, slots, arena, heap)
        for column in range(len(values)):
            arena[place, ROW_VALUES + column] = values[column, row]
        low = slots[slot, SLOT_HEAD]
        if place + 1 - low == order[ORDER_ROWS]:
            start, end = arena[low, ROW_TIME], add_capped(time, 1)
            tables = (meta, program, arena, out, gather)
            give(slot, low, place + 1, -1, start, end, 0, 1, ASSERT, end, tables)
            drop_rows(slot, place + 1, meta, slots)
        row += 1
    _forget_idle(reached, order, meta, slots, arena, heap)
    meta[META_WATERMARK] = max(meta[META_WATERMARK], reached)
    return row, ALL_TAKEN


@kernel(_SIGNATURE)
def take_sliding(
    first,
    reached,
    times,
    keys,
    values,
    order,
    meta,
    slots,
    arena,
    heap,
    sums,
    program,
    out,
    gather,
):
    """Take rows in order; give with each the window of its key that ends with it.

    The window of a row at t has the rows of its key up to this one with event times above
    `t - size`, or the last so many rows.

    Args:
        first: Row to begin with.
        reached: The watermark behind the rows.
        times: (n,) event times, ascending.
        keys: (n,) the slot of each row's key.
        values: (C, n) the columns that aggregates read.
        order: See `ORDER_*`.
        meta: See `kernels.row_store`, as are `slots`, `arena` and `heap`.
        slots: (S, SLOT) keys that have rows.
        arena: (A, ROW_VALUES + C) rows.
        heap: (H, 3) when keys are forgotten.
        sums: (S, 4 * P) see above.
        program: (P, 4), see `kernels.aggregates`.
        out: See `kernels.window_output`, as is `gather`.
        gather: (G, W), W 0 if nobody needs the rows.

    Returns:
        The first row not taken, and why: `ALL_TAKEN` or what it needs.
    """
    size, rows = order[ORDER_SIZE], order[ORDER_ROWS]
    row = first
    while row < len(times):
        time, slot = times[row], keys[row]
        _forget_idle(time, order, meta, slots, arena, heap)
        if meta[META_HEAP] + 1 > len(heap):
            return row, NEEDS_HEAP
        if not room_for_row(slot, meta, slots, arena):
            return row, NEEDS_ARENA
        held = slots[slot, SLOT_TAIL] - slots[slot, SLOT_HEAD]
        missing = gives_room(1, held + 1, meta, out, gather)
        if missing != ALL_TAKEN:
            return row, missing
        if not held:
            _clear(program, sums, slot)
        place = _append(slot, time, order, meta, slots, arena, heap)
        for column in range(len(values)):
            arena[place, ROW_VALUES + column] = values[column, row]
        _add(program, arena, place, sums, slot, 1)
        low, high = slots[slot, SLOT_HEAD], place + 1
        while high - low > rows if rows else add_capped(arena[low, ROW_TIME], size) <= time:
            _add(program, arena, low, sums, slot, -1)
            low += 1
        drop_rows(slot, low, meta, slots)
        at = meta[META_OUT]
        meta[META_OUT] = at + 1
        out[at, OUT_SLOT] = slot
        out[at, OUT_ROWS] = high - low
        wrong = _read(program, arena, low, high, sums, slot, out, at)
        if wrong and not meta[META_OVERFLOW]:
            meta[META_OVERFLOW] = wrong
        if gather.shape[1]:
            to = meta[META_GATHERED]
            for inner in range(low, high):
                for word in range(arena.shape[1]):
                    gather[to, word] = arena[inner, word]
                to += 1
            meta[META_GATHERED] = to
        row += 1
    _forget_idle(reached, order, meta, slots, arena, heap)
    meta[META_WATERMARK] = max(meta[META_WATERMARK], reached)
    return row, ALL_TAKEN


@kernel(int64(_INTS, _META, _TABLE, _TABLE, _TABLE, _TABLE, _ROWS))
def resume_ordered(order, meta, slots, arena, heap, sums, program):
    """Work out sums and what is due of rows that were restored; see `take_sliding`.

    Args:
        order: See `ORDER_*`.
        meta: The entries of the heap, written.
        slots: Slots with their rows.
        arena: The rows.
        heap: (H, 3), H at least the slots.
        sums: (S, 4 * P) written; S 0 if windows are counted.
        program: (P, 4), see `kernels.aggregates`.

    Returns:
        Entries of the heap.
    """
    for slot in range(len(slots)):
        head, tail = slots[slot, SLOT_HEAD], slots[slot, SLOT_TAIL]
        if head == tail:
            continue
        slots[slot, SLOT_START + FINAL] = NEVER
        if order[ORDER_IDLE]:
            due = add_capped(arena[tail - 1, ROW_TIME], order[ORDER_IDLE])
            push_due(slot, FINAL, due, 0, meta, slots, heap)
        if sums.shape[1]:
            _clear(program, sums, slot)
            for row in range(head, tail):
                _add(program, arena, row, sums, slot, 1)
    return meta[META_HEAP]

"""Interval joins against all pairs: bounds, keys, ties, cuts and disorder on both sides."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.interval_join import IntervalJoin
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from support.operator_batches import ROW, batches_of

_LONG_AGO: Final = -(10**30)
_ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 2), st.sampled_from(["a", "b"])),
    min_size=1,
    max_size=40,
)
_CUTS = st.lists(st.integers(0, 40), max_size=5)
_KEYS: Final[tuple[list[str], ...]] = (["symbol"], [], ["note"], ["symbol", "note"])

Rows = list[tuple[int, int, str]]


def _batches(rows: Rows, cuts: list[int], bound: int) -> list[Batch]:
    times, symbols, notes = zip(*rows, strict=True)
    columns = {
        "ts_event": times,
        "symbol": symbols,
        "note": notes,
        "sequence": range(len(rows)),
    }
    return batches_of(columns, cuts=cuts, bound=bound)


def _in_time(rows: Rows, bound: int) -> tuple[list[int], list[int]]:
    """Return the positions of rows in time, in the order of (time, arrival), and of late ones."""
    watermark = _LONG_AGO
    good: list[int] = []
    late: list[int] = []
    for position, (time, _, _) in enumerate(rows):
        (late if time < watermark else good).append(position)
        watermark = max(watermark, time - bound)
    return sorted(good, key=lambda p: (rows[p][0], p)), late


@given(
    left=_ROWS,
    right=_ROWS,
    bounds=st.tuples(st.integers(0, 25), st.integers(0, 25)),
    cuts=st.tuples(_CUTS, _CUTS),
    order=st.lists(st.booleans(), max_size=12),
    interval=st.tuples(st.integers(-20, 20), st.integers(0, 25)),
    by=st.sampled_from(_KEYS),
    how=st.sampled_from(["left", "inner"]),
)
def test_pairs_are_those_of_the_oracle(
    left: Rows,
    right: Rows,
    bounds: tuple[int, int],
    cuts: tuple[list[int], list[int]],
    order: list[bool],
    interval: tuple[int, int],
    by: list[str],
    how: Any,
) -> None:
    """Every pair of rows in time whose times are so far apart comes out, and no other."""
    lower, upper = interval[0], interval[0] + interval[1]
    component = IntervalJoin(f"{lower}ns", f"{upper}ns", by, how=how)
    context = NodeContext("j", SymbolTable(["AAA", "BBB", "CCC"]), schemas=(ROW, ROW))
    operator = component.build(context)
    found: dict[str, list[Any]] = {"out": [], "late": [], "late_right": [], "unmatched": []}

    def take(outputs: Any) -> None:
        for port, batch in outputs:
            rows = batch["sequence"].tolist()
            if port == "out":
                context.account.rows_out += len(batch)
                pairs = zip(rows, batch["sequence_right"].tolist(), strict=True)
                rows = [(a, None if b == UNDEFINED else b) for a, b in pairs]
            found[port] += rows

    waiting = (_batches(left, cuts[0], bounds[0]), _batches(right, cuts[1], bounds[1]))
    for turn in [*order, *([False] * len(left)), *([True] * len(right))]:
        if waiting[turn]:
            batch = waiting[turn].pop(0)
            coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
            context.account.rows_in += len(batch)
            take(operator.process(int(turn), coded))
            take(operator.advance(int(turn), batch.watermark))
    take(operator.finish())
    assert not context.account.held
    assert not context.account.unaccounted

    good, late = _in_time(left, bounds[0])
    known, late_right = _in_time(right, bounds[1])
    expected: list[tuple[int, int | None]] = []
    alone: list[int] = []
    for p in good:
        own: list[tuple[int, int | None]] = [
            (p, q)
            for q in known
            if left[p][0] + lower <= right[q][0] <= left[p][0] + upper
            and ("symbol" not in by or left[p][1] == right[q][1])
            and ("note" not in by or left[p][2] == right[q][2])
        ]
        expected += own
        if not own and how == "left":
            expected.append((p, None))
        elif not own:
            alone.append(p)
    assert found == {"out": expected, "late": late, "late_right": late_right, "unmatched": alone}

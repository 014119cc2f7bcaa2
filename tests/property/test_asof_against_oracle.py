"""As-of joins against a plain search: directions, ties, keys, tolerance, cuts, disorder."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import JoinOperator, NodeContext
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.records import UNDEFINED, Field, Kind
from market_data_pipeline.symbols import SymbolTable
from support.operator_batches import ROW, batches_of

_ROW = ROW.having(Field("ts_recv", Kind.TIME))
_LONG_AGO: Final = -(10**30)
# Event time, symbol, note, and how much later the row was received.
_ROWS = st.lists(
    st.tuples(
        st.integers(0, 40), st.integers(0, 2), st.sampled_from(["a", "b"]), st.integers(-2, 9)
    ),
    min_size=1,
    max_size=40,
)
_CUTS = st.lists(st.integers(0, 40), max_size=5)
_KEYS: Final[tuple[list[str], ...]] = (["symbol"], [], ["note"], ["symbol", "note"], ["size"])

Rows = list[tuple[int, int, str, int]]


def _key(row: tuple[int, int, str, int], by: list[str]) -> tuple[Any, ...]:
    values = {"symbol": row[1], "note": row[2], "size": row[1] % 2}
    return tuple(values[name] for name in by)


def _batches(rows: Rows, cuts: list[int], bound: int) -> list[Batch]:
    times, symbols, notes, delays = zip(*rows, strict=True)
    columns = {
        "ts_event": times,
        "ts_recv": [t + d for t, d in zip(times, delays, strict=True)],
        "symbol": symbols,
        "note": notes,
        "size": [symbol % 2 for symbol in symbols],
        "sequence": range(len(rows)),
    }
    return batches_of(columns, cuts=cuts, bound=bound, schema=_ROW)


def _run(
    component: AsofJoin, sides: tuple[list[Batch], list[Batch]], order: list[bool]
) -> tuple[dict[str, list[Any]], NodeContext]:
    """Give a join batches of its sides in some order; return rows by port."""
    context = NodeContext("j", SymbolTable(["AAA", "BBB", "CCC"]), schemas=(_ROW, _ROW))
    operator: JoinOperator = component.build(context)
    found: dict[str, list[Any]] = {"out": [], "late": [], "late_right": [], "unmatched": []}

    def take(outputs: Any) -> None:
        for port, batch in outputs:
            rows = batch["sequence"].tolist()
            if port == "out":
                context.account.rows_out += len(batch)
                matches = batch["sequence_right"].tolist()
                rows = list(
                    zip(rows, [None if m == UNDEFINED else m for m in matches], strict=True)
                )
                if component.look_ahead:
                    ahead = batch["looked_ahead"].tolist()
                    rows = [(*row, flag) for row, flag in zip(rows, ahead, strict=True)]
            found[port] += rows

    waiting = (list(sides[0]), list(sides[1]))
    turns = [*order, *([False] * len(sides[0])), *([True] * len(sides[1]))]
    for turn in turns:
        side = int(turn)
        if waiting[side]:
            batch = waiting[side].pop(0)
            coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
            context.account.rows_in += len(batch)
            take(operator.process(side, coded))
            take(operator.advance(side, batch.watermark))
    take(operator.finish())
    assert not context.account.held
    assert not context.account.unaccounted
    return found, context


def _in_time(rows: Rows, bound: int, decides: Any) -> tuple[list[int], list[int]]:
    """Return the positions of rows in time and of late rows."""
    watermark = _LONG_AGO
    good: list[int] = []
    late: list[int] = []
    for position, row in enumerate(rows):
        # No event time is below the watermark that the row itself brings; a `ts_recv` may be.
        watermark = max(watermark, row[0] - bound)
        (late if decides(row) < watermark else good).append(position)
    return good, late


def _match(
    at: int,
    candidates: list[tuple[int, int]],
    direction: str,
    tolerance: int | None,
    *,
    strict: bool,
) -> int | None:
    """Return the position of the match among (time, position), the plain way."""
    limit = 10**30 if tolerance is None else tolerance
    before = [c for c in candidates if c[0] < at or (c[0] == at and not strict)]
    after = [c for c in candidates if c[0] > at or (c[0] == at and not strict)]
    last = max(before, default=None)
    first = min(after, default=None)
    if last is not None and at - last[0] > limit:
        last = None
    if first is not None and first[0] - at > limit:
        first = None
    if direction == "nearest":
        near = [c for c in (last, first) if c is not None]
        best = min(near, key=lambda c: abs(c[0] - at), default=None)
    else:
        best = last if direction == "backward" else first
    return None if best is None else best[1]


@given(
    left=_ROWS,
    right=_ROWS,
    bounds=st.tuples(st.integers(0, 25), st.integers(0, 25)),
    cuts=st.tuples(_CUTS, _CUTS),
    order=st.lists(st.booleans(), max_size=12),
    direction=st.sampled_from(["backward", "forward", "nearest"]),
    tolerance=st.one_of(st.none(), st.integers(0, 12)),
    strict=st.booleans(),
    by=st.sampled_from(_KEYS),
    how=st.sampled_from(["left", "inner"]),
)
def test_matches_are_those_of_the_oracle(
    left: Rows,
    right: Rows,
    bounds: tuple[int, int],
    cuts: tuple[list[int], list[int]],
    order: list[bool],
    direction: Any,
    tolerance: int | None,
    strict: bool,
    by: list[str],
    how: Any,
) -> None:
    """Each left row in time is given the row a search over all rows in time finds."""
    if direction != "backward" and tolerance is None:
        tolerance = 12
    text = None if tolerance is None else f"{tolerance}ns"
    component = AsofJoin(by, direction, text, strict, how=how)
    sides = (_batches(left, cuts[0], bounds[0]), _batches(right, cuts[1], bounds[1]))
    found, _ = _run(component, sides, order)
    good, late = _in_time(left, bounds[0], lambda row: row[0])
    known, late_right = _in_time(right, bounds[1], lambda row: row[0])
    expected = []
    for position in sorted(good, key=lambda p: (left[p][0], p)):
        own = _key(left[position], by)
        candidates = [(right[p][0], p) for p in known if _key(right[p], by) == own]
        matched = _match(left[position][0], candidates, direction, tolerance, strict=strict)
        expected.append((position, matched))
    if how == "inner":
        assert found["unmatched"] == [p for p, m in expected if m is None]
        expected = [(p, m) for p, m in expected if m is not None]
    assert found["out"] == expected
    assert (found["late"], found["late_right"]) == (late, late_right)


@given(
    left=_ROWS,
    right=_ROWS,
    bounds=st.tuples(st.integers(0, 25), st.integers(0, 25)),
    cuts=st.tuples(_CUTS, _CUTS),
    order=st.lists(st.booleans(), max_size=12),
    strict=st.booleans(),
    tolerance=st.one_of(st.none(), st.integers(0, 12)),
)
def test_what_was_known_is_what_the_oracle_says(
    left: Rows,
    right: Rows,
    bounds: tuple[int, int],
    cuts: tuple[list[int], list[int]],
    order: list[bool],
    strict: bool,
    tolerance: int | None,
) -> None:
    """By `ts_recv` a row is given what had been received; looking ahead is marked."""
    text = None if tolerance is None else f"{tolerance}ns"
    component = AsofJoin(strict=strict, tolerance=text, on="ts_recv", look_ahead=True)
    sides = (_batches(left, cuts[0], bounds[0]), _batches(right, cuts[1], bounds[1]))
    found, _ = _run(component, sides, order)
    good, late = _in_time(left, bounds[0], lambda row: row[0] + min(0, row[3]))
    known, late_right = _in_time(right, bounds[1], lambda row: row[0] + row[3])
    by_event, _ = _in_time(right, bounds[1], lambda row: row[0])
    expected = []
    for p in sorted(good, key=lambda p: (left[p][0], left[p][0] + left[p][3], p)):
        at, symbol, _, delay = left[p]
        received = [(right[q][0] + right[q][3], q) for q in known if right[q][1] == symbol]
        happened = [(right[q][0], q) for q in by_event if right[q][1] == symbol]
        matched = _match(at + delay, received, "backward", tolerance, strict=strict)
        naive = _match(at, happened, "backward", tolerance, strict=strict)
        ahead = naive is not None and right[naive][0] + right[naive][3] > at + delay
        expected.append((p, matched, ahead))
    assert found["out"] == expected
    assert (found["late"], found["late_right"]) == (late, late_right)


@given(
    rows=st.integers(1, 60),
    seed=st.integers(0, 10_000),
    bound=st.integers(0, 30),
    direction=st.sampled_from(["backward", "forward", "nearest"]),
)
def test_arrival_within_the_bound_makes_no_difference(
    rows: int, seed: int, bound: int, direction: Any
) -> None:
    """Rows shuffled within the bounds of their sources give what sorted rows give."""
    rng = np.random.default_rng(seed)
    component = AsofJoin(direction=direction, tolerance="20ns")
    results = []
    times = [np.sort(rng.choice(rows * 3, rows, replace=False)) for _ in range(2)]
    symbols = [rng.integers(0, 3, rows) for _ in range(2)]
    for shuffled in (False, True):
        sides = []
        for at, symbol in zip(times, symbols, strict=True):
            moved = at + (rng.integers(0, bound + 1, rows) if shuffled else 0)
            arrival = np.argsort(moved, kind="stable")
            columns: dict[str, Any] = {
                "ts_event": at[arrival],
                "symbol": symbol[arrival],
                "sequence": arrival,
            }
            cuts = rng.integers(0, rows, 3).tolist() if shuffled else []
            sides.append(batches_of(columns, cuts=cuts, bound=bound, schema=_ROW))
        found, _ = _run(component, (sides[0], sides[1]), rng.random(8) < 0.5)  # type: ignore[arg-type]
        results.append(found)
    assert results[0] == results[1]


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
def test_pools_that_are_made_anew_forget_nothing_needed(direction: Any) -> None:
    """Thousands of keys and rows, more than the first pool holds, match as a search says."""
    rng = np.random.default_rng(5)
    rows, keys = 6_000, 700
    component = AsofJoin(["trade_id"], direction, "900ns", columns=["sequence"])
    schema = _ROW.having(Field("trade_id", Kind.INT))
    sides, plain = [], []
    for _ in range(2):
        columns: dict[str, Any] = {
            "ts_event": np.arange(rows) * 2 + rng.integers(0, 2, rows),
            "trade_id": rng.integers(0, keys, rows),
            "sequence": np.arange(rows),
        }
        plain.append(
            list(zip(columns["ts_event"].tolist(), columns["trade_id"].tolist(), strict=True))
        )
        sides.append(batches_of(columns, cuts=list(range(0, rows, 97)), schema=schema))
    context = NodeContext("j", sides[0][0].symbols, schemas=(schema, schema))
    operator = component.build(context)
    found: list[tuple[int, int]] = []
    most = 0
    for pair in zip(*sides, strict=True):
        for side, batch in enumerate(pair):
            coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
            for outputs in (
                operator.process(side, coded),
                operator.advance(side, batch.watermark),
            ):
                for port, out in outputs:
                    assert port == "out"
                    found += zip(out["sequence"], out["sequence_right"], strict=True)
        most = max(most, context.account.held)
    for _, out in operator.finish():
        found += zip(out["sequence"], out["sequence_right"], strict=True)
    assert most < rows
    by_key: dict[int, list[tuple[int, int]]] = {}
    for position, (time, key) in enumerate(plain[1]):
        by_key.setdefault(key, []).append((time, position))
    for position, match in found:
        time, key = plain[0][position]
        expected = _match(time, by_key.get(key, []), direction, 900, strict=False)
        assert (None if match == UNDEFINED else match) == expected
    assert [p for p, _ in found] == list(range(rows))

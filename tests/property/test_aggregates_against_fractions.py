"""Aggregates of a window against Python's fractions and statistics."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ArithmeticOverflowError
from market_data_pipeline.operator.windows import Windows
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

SCHEMA = Schema(
    "row",
    (
        Field("ts_event", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        Field("price", Kind.FIXED, 2),
        Field("size", Kind.FIXED, 0),
        Field("number", Kind.INT),
        Field("ratio", Kind.FLOAT),
    ),
)
WORDS = ("first", "last", "min", "max", "sum", "count", "mean", "std")

small = st.integers(-60, 60)
large = st.integers(-(2**62), 2**62)
maybe = st.one_of(st.just(UNDEFINED), small, large)
shares = st.integers(0, 1_000).map(lambda n: Fraction(n, 1_000))


def windows_of(
    aggregates: dict[str, str], columns: dict[str, list[Any]], **settings: Any
) -> dict[str, list[Any]]:
    """Return the columns of the windows of rows of one symbol at times 0, 1, 2 and so on."""
    symbols = SymbolTable(["AAA"])
    rows = len(next(iter(columns.values())))
    made = {
        field.name: np.array(columns.get(field.name, [0] * rows), field.dtype) for field in SCHEMA
    }
    made["ts_event"] = np.arange(rows)
    operator = Windows(aggregates, **settings).build(NodeContext("windows", symbols))
    found: dict[str, list[Any]] = {}
    outputs = [*operator.process(Batch(SCHEMA, made, symbols)), *operator.finish()]
    for port, batch in outputs:
        assert port == "out"
        for name, column in batch.columns.items():
            found.setdefault(name, []).extend(column.tolist())
    return found


def rounded(value: Fraction) -> int:
    """Return the nearest integer, the even one of two."""
    return round(value)


def ranked(values: list[Any], share: Fraction) -> Any:
    """Return the least value that is not below a share of all."""
    for value in sorted(values):
        if Fraction(sum(each <= value for each in values), len(values)) >= share:
            return value
    raise AssertionError


def fits(value: int) -> bool:
    return -(2**63) <= value < 2**63 - 1


@given(st.lists(maybe, min_size=1, max_size=40), shares, st.sampled_from(["price", "number"]))
def test_aggregates_of_integers_are_exact(values: list[int], share: Fraction, column: str) -> None:
    """Nulls are passed over, sums have 128 bits, means round half to even."""
    aggregates = {word: f"{word}({column})" for word in WORDS}
    aggregates |= {"rows": "count()", "share": f"quantile({column}, {float(share)})"}
    known = [value for value in values if value != UNDEFINED]
    factor = 1 if column == "price" else 10**9
    mean = rounded(Fraction(sum(known) * factor, len(known))) if known else 0
    if not fits(sum(known)) or not fits(mean):
        with pytest.raises(ArithmeticOverflowError, match="left the range"):
            windows_of(aggregates, {column: values}, size="1s")
        return
    found = {
        name: column[0]
        for name, column in windows_of(aggregates, {column: values}, size="1s").items()
    }
    assert found["rows"] == len(values)
    assert found["count"] == len(known)
    if not known:
        assert {found[word] for word in WORDS[:5]} == {UNDEFINED}
        assert found["mean"] == found["share"] == UNDEFINED
        return
    assert found["first"] == known[0]
    assert found["last"] == known[-1]
    assert (found["min"], found["max"]) == (min(known), max(known))
    assert found["sum"] == sum(known)
    assert found["mean"] == mean
    assert found["share"] == ranked(known, share)
    if len(known) < 2:
        assert math.isnan(found["std"])
    else:
        scale = 100 if column == "price" else 1
        exact = statistics.stdev([Fraction(value, scale) for value in known])
        assert found["std"] == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


@given(
    st.lists(st.tuples(maybe, st.one_of(st.just(UNDEFINED), st.integers(0, 50))), min_size=1),
    st.integers(1, 5),
)
def test_vwap_is_exact_in_fixed_and_sliding_windows(
    pairs: list[tuple[int, int]], number: int
) -> None:
    """The mean weighted by size, rounded half to even at the price's scale."""
    columns = {"price": [p for p, _ in pairs], "size": [s for _, s in pairs]}
    aggregates = {"px": "vwap(price, size)", "most": "max(price)", "least": "min(price)"}

    def expected(rows: list[tuple[int, int]]) -> tuple[int, int, int]:
        both = [(p, s) for p, s in rows if UNDEFINED not in {p, s}]
        known = [p for p, _ in rows if p != UNDEFINED] or [UNDEFINED]
        weight = sum(s for _, s in both)
        total = sum(p * s for p, s in both)
        px = rounded(Fraction(total, weight)) if weight else UNDEFINED
        return px, max(known), min(known)

    whole = windows_of(aggregates, columns, size="1s")
    assert (whole["px"][0], whole["most"][0], whole["least"][0]) == expected(pairs)
    slid = windows_of(aggregates, columns, rows=number, sliding=True)
    for place in range(len(pairs)):
        rows = pairs[max(0, place + 1 - number) : place + 1]
        given_out = (slid["px"][place], slid["most"][place], slid["least"][place])
        assert given_out == expected(rows)


@given(
    st.lists(
        st.one_of(st.just(math.nan), st.floats(-1e9, 1e9, allow_subnormal=False)), min_size=1
    ),
    shares,
)
def test_aggregates_of_floats_pass_over_nan(values: list[float], share: Fraction) -> None:
    """Floats are added in the order of event time, so every run gives the same bits."""
    aggregates = {word: f"{word}(ratio)" for word in WORDS}
    aggregates["share"] = f"quantile(ratio, {float(share)})"
    found = {
        name: column[0]
        for name, column in windows_of(aggregates, {"ratio": values}, size="1s").items()
    }
    known = [value for value in values if not math.isnan(value)]
    assert found["count"] == len(known)
    if not known:
        assert all(math.isnan(found[word]) for word in WORDS if word != "count")
        return
    assert (found["first"], found["last"]) == (known[0], known[-1])
    assert (found["min"], found["max"]) == (min(known), max(known))
    total = 0.0
    for value in known:
        total += value
    assert found["sum"] == total
    assert found["mean"] == total / len(known)
    assert found["share"] == ranked(known, share)
    if len(known) > 1:
        spread = max(map(abs, known))
        # The squares of deviations below 1e-150 are less than the least float.
        exact = statistics.stdev(known)
        assert found["std"] == pytest.approx(exact, rel=1e-6, abs=1e-6 * spread + 1e-150)

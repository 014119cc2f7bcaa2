"""Dedupe against a dictionary: any cut, disorder, TTL, key, and a restart at any point."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator import key_table
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.dedupe import Dedupe
from market_data_pipeline.symbols import SymbolTable
from support.examples import fewer
from support.operator_batches import batches_of

_KEYS = (
    ["symbol", "sequence"],
    ["sequence", "symbol"],
    ["sequence"],
    ["symbol"],
    ["price", "side"],
    ["note"],
    ["symbol", "note", "sequence"],
)

_ROWS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.integers(0, 2),
        st.integers(-2, 3),
        st.sampled_from([None, "", "a", "b", "same prefix 1", "same prefix 2"]),
    ),
    min_size=1,
    max_size=60,
)


def _expected(
    rows: list[tuple[Any, ...]], key: list[str], ttl: int, bound: int
) -> tuple[list[int], list[int]]:
    """Return the positions of rows let through and of duplicates, the plain way."""
    accepted: list[tuple[Any, int]] = []
    kept, duplicates = [], []
    watermark = -(10**30)
    for position, (time, symbol, number, note) in enumerate(rows):
        names = {"symbol": symbol, "sequence": number, "price": number, "side": 7, "note": note}
        own = tuple(names[name] for name in key)
        if any(other == own and watermark < at + ttl for other, at in accepted):
            duplicates.append(position)
        else:
            kept.append(position)
            accepted.append((own, time))
        watermark = max(watermark, time - bound)
    return kept, duplicates


def _batches(rows: list[tuple[Any, ...]], cuts: list[int], bound: int) -> list[Batch]:
    times, symbols, numbers, notes = zip(*rows, strict=True)
    columns = {
        "ts_event": times,
        "symbol": symbols,
        "sequence": numbers,
        "price": numbers,
        "side": [7] * len(rows),
        "note": notes,
        "size": range(len(rows)),
    }
    return batches_of(columns, cuts=cuts, bound=bound)


@given(
    rows=_ROWS,
    key=st.sampled_from(_KEYS),
    ttl=st.integers(1, 30),
    bound=st.integers(0, 20),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    restart=st.integers(0, 6),
)
def test_rows_let_through_are_those_of_the_oracle(
    rows: list[tuple[Any, ...]],
    key: list[str],
    ttl: int,
    bound: int,
    cuts: list[int],
    restart: int,
) -> None:
    """A row is a duplicate iff its key was let through and the watermark is below t + ttl."""
    context = NodeContext("d", symbols=SymbolTable(["AAA", "BBB", "CCC"]))
    component = Dedupe(key, ttl=f"{ttl}ns")
    operator = component.build(context)
    found: dict[str, list[int]] = {"out": [], "duplicate": []}
    for number, batch in enumerate(_batches(rows, cuts, bound)):
        if number == restart:
            state = operator.snapshot()
            operator = component.build(context)
            operator.restore(state)
        coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
        for port, out in operator.process(coded):
            found[port] += out["size"].tolist()
    kept, duplicates = _expected(rows, key, ttl, bound)
    assert (found["out"], found["duplicate"]) == (kept, duplicates)
    assert context.account.reasons.get("duplicate", 0) == len(duplicates)


@fewer(7)
@given(seed=st.integers(0, 2**32 - 1), ttl=st.integers(1, 6_000))
def test_a_table_that_is_made_anew_many_times_forgets_nothing(seed: int, ttl: int) -> None:
    """Thousands of keys, more than the first table holds, give what a dictionary gives."""
    rng = np.random.default_rng(seed)
    rows = 6_000
    numbers = rng.integers(0, 4_000, rows)
    times = np.arange(rows)
    expected: list[int] = []
    expiry: dict[int, int] = {}
    for position, number in enumerate(numbers.tolist()):
        if expiry.get(number, -1) > position - 1:
            continue
        expected.append(position)
        expiry[number] = position + ttl
    found: list[int] = []
    operator = Dedupe(["sequence"], ttl=f"{ttl}ns").build(NodeContext("d"))
    columns: dict[str, Any] = {"ts_event": times, "sequence": numbers, "size": times}
    for batch in batches_of(columns, cuts=[1, 1_500, 2_000, 4_321]):
        for port, out in operator.process(batch):
            if port == "out":
                found += out["size"].tolist()
    assert found == expected


def _kept_by_dictionary(
    rows: list[tuple[int, int, int]], ttl: int, bound: int
) -> tuple[list[int], int]:
    """Return the positions of rows let through, and the keys alive at the end."""
    kept: list[int] = []
    expiry: dict[tuple[int, int], int] = {}
    watermark = -(10**30)
    for position, (time, symbol, number) in enumerate(rows):
        if (symbol, number) not in expiry or watermark >= expiry[symbol, number]:
            kept.append(position)
            expiry[symbol, number] = time + ttl
        watermark = max(watermark, time - bound)
    return kept, sum(end > watermark for end in expiry.values())


def _kept(
    rows: list[tuple[int, int, int]], ttl: int, bound: int, cuts: list[int], restart: int = -1
) -> tuple[list[int], int]:
    """Return what the operator lets through, and the keys in its state at the end."""
    times, symbols, numbers = zip(*rows, strict=True)
    columns = {"ts_event": times, "symbol": symbols, "sequence": numbers}
    context = NodeContext("d", symbols=SymbolTable(["AAA", "BBB", "CCC"]))
    component = Dedupe(["symbol", "sequence"], ttl=f"{ttl}ns")
    operator = component.build(context)
    found: list[int] = []
    for number, batch in enumerate(
        batches_of({**columns, "size": range(len(rows))}, cuts=cuts, bound=bound)
    ):
        if number == restart:
            state = operator.snapshot()
            operator = component.build(context)
            operator.restore(state)
        coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
        for port, out in operator.process(coded):
            found += out["size"].tolist() if port == "out" else []
    return found, len(operator.snapshot().keyed["first"])


_EDGES = (-(2**63), -(2**63) + 8, -64, -8, 0, 8, 64, 128, 2**40, 2**63 - 16)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 40),
            st.integers(0, 2),
            st.builds(lambda edge, away: edge + away, st.sampled_from(_EDGES), st.integers(0, 10)),
        ),
        min_size=1,
        max_size=80,
    ),
    ttl=st.integers(1, 30),
    bound=st.integers(0, 20),
    cuts=st.lists(st.integers(0, 80), max_size=4),
    restart=st.integers(0, 5),
)
def test_neighbouring_numbers_are_told_apart(
    rows: list[tuple[int, int, int]], ttl: int, bound: int, cuts: list[int], restart: int
) -> None:
    """Numbers beside a multiple of eight, below zero and at the ends are keys of their own."""
    assert _kept(rows, ttl, bound, cuts, restart) == _kept_by_dictionary(rows, ttl, bound)


@fewer(7)
@given(
    seed=st.integers(0, 2**32 - 1),
    ttl=st.integers(1, 9_000),
    phases=st.lists(st.sampled_from(["counting", "random", "few", "strided"]), min_size=1),
    restart=st.integers(-1, 4),
)
def test_numbers_of_any_kind_one_after_another_are_kept_like_in_a_dictionary(
    seed: int, ttl: int, phases: list[str], restart: int
) -> None:
    """Counting up or random 64-bit: the table changes its layout and forgets nothing."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int]] = []
    reached = [int(n) for n in rng.integers(-(2**40), 2**40, 3)]
    for phase in phases[:5]:
        symbols = rng.integers(0, 3, 2_500).tolist()
        wide = rng.integers(-(2**63), 2**63 - 1, 2_500).tolist()
        again = rng.random(2_500) < 0.05
        for i, symbol in enumerate(symbols):
            if rows and again[i]:
                number = rows[-int(rng.integers(1, min(len(rows), 300) + 1))][2]
            elif phase == "random":
                number = wide[i]
            elif phase == "few":
                number = wide[i] % 50
            else:
                reached[symbol] += 1 if phase == "counting" else 10_000
                number = reached[symbol]
            rows.append((len(rows) + int(rng.integers(-20, 20)), symbol, number))
    with patch.object(key_table, "_TELLING_GROUPS", 100):
        found = _kept(rows, ttl, 15, [700, 4_000, 4_001, 8_000], restart)
    assert found == _kept_by_dictionary(rows, ttl, 15)


@given(
    keep=st.lists(st.booleans(), min_size=1, max_size=200),
    explicit=st.booleans(),
    seed=st.integers(0, 1_000),
)
def test_rows_kept_are_those_numpy_keeps(keep: list[bool], explicit: bool, seed: int) -> None:
    """Taking rows out by kernel gives the columns and watermarks that NumPy gives."""
    rng = np.random.default_rng(seed)
    rows = len(keep)
    columns: dict[str, Any] = {
        "ts_event": rng.integers(0, 100, rows),
        "symbol": rng.integers(0, 3, rows),
        "side": rng.integers(0, 255, rows),
        "price": rng.integers(-(2**62), 2**62, rows),
        "note": [f"n{i}" for i in rng.integers(0, 9, rows).tolist()],
    }
    batch = batches_of(columns, bound=5)[0]
    if explicit and batch.progress is not None:
        watermarks = batch.progress.watermarks(batch.times)
        batch = batch.with_progress(Progress(batch.progress.before, 0, 200, watermarks))
    mask = np.array(keep)
    kept, expected = keep_rows(batch, mask, int(mask.sum())), batch.take(mask)
    for name in batch.schema.names:
        assert kept[name].tolist() == expected[name].tolist()
        assert kept[name].type == expected[name].type if name == "note" else True
    assert kept.progress is not None
    assert expected.progress is not None
    assert kept.watermark == expected.watermark
    assert kept.progress.before == expected.progress.before
    assert (
        kept.progress.watermarks(kept.times).tolist()
        == expected.progress.watermarks(expected.times).tolist()
    )

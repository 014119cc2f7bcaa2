"""The census of a feed against a plain count."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.demo.census import FeedCensus
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import TRADE
from market_data_pipeline.symbols import SymbolTable

_SCHEMA = TRADE.only(("ts_event", "symbol", "sequence"))
_ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(0, 50)), min_size=1, max_size=60
)


def _batch(rows: list[tuple[int, int, int]], symbols: SymbolTable) -> Batch:
    columns = {
        "ts_event": np.array([row[2] for row in rows], np.int64),
        "symbol": np.array([row[0] for row in rows], np.int32),
        "sequence": np.array([row[1] for row in rows], np.int64),
    }
    return Batch.from_columns(_SCHEMA, columns, symbols)


def _rows_of(batch: Batch) -> list[tuple[int, ...]]:
    columns = [batch[name].tolist() for name in batch.schema.names]
    return list(zip(*columns, strict=True))


def _plain_census(rows: list[tuple[int, int, int]]) -> dict[str, list[tuple[int, ...]]]:
    counts: dict[int, list[int]] = {}
    seen: dict[int, set[int]] = {}
    newest = -1
    for symbol, sequence, time in rows:
        count = counts.setdefault(symbol, [0, 0])
        count[0] += 1
        count[1] += time < newest
        newest = max(newest, time)
        seen.setdefault(symbol, set()).add(sequence)
    gaps: list[tuple[int, ...]] = []
    for symbol in sorted(seen):
        numbers = sorted(seen[symbol])
        for low, high in pairwise(numbers):
            if high > low + 1:
                gaps.append((symbol, low + 1, high - 1))
    return {"out": [(s, *counts[s]) for s in sorted(counts)], "gaps": gaps}


@given(rows=_ROWS, cut=st.integers(1, 60), restart=st.booleans())
def test_census_is_that_of_a_plain_count(
    rows: list[tuple[int, int, int]], cut: int, restart: bool
) -> None:
    """Counts and gaps do not depend on batches, repeats, order or a restart."""
    symbols = SymbolTable("ABCD")
    context = NodeContext("census", symbols=symbols, account=Account("census"))
    census: Any = FeedCensus().build(context)
    census.process(_batch(rows[:cut], symbols))
    if restart:
        fresh: Any = FeedCensus().build(context)
        fresh.restore(census.snapshot())
        census = fresh
    if rows[cut:]:
        census.process(_batch(rows[cut:], symbols))
    found = {port: _rows_of(batch) for port, batch in census.finish()}
    wanted = _plain_census(rows)
    assert found["out"] == wanted["out"]
    assert [row[:3] for row in found.get("gaps", [])] == wanted["gaps"]


def test_gap_is_bounded_by_the_times_of_the_rows_around() -> None:
    """A gap says when the last row before and the first row after happened."""
    symbols = SymbolTable("AB")
    census: Any = FeedCensus().build(NodeContext("census", symbols=symbols))
    census.process(_batch([(1, 1, 10), (1, 3, 30), (1, 2, 20)], symbols))
    census.process(_batch([(1, 8, 80), (1, 7, 70)], symbols))
    ports = dict(census.finish())
    assert _rows_of(ports["gaps"]) == [(1, 4, 6, 30, 70)]


def test_account_balances() -> None:
    """Rows that came in ended in the census, and what comes out was created."""
    symbols, account = SymbolTable("A"), Account("census")
    census: Any = FeedCensus().build(NodeContext("census", symbols=symbols, account=account))
    census.process(_batch([(0, 1, 1), (0, 5, 2)], symbols))
    census.finish()
    assert account.reasons == {"aggregated": 2}
    assert account.created == 2


def test_rows_without_sequence_are_refused() -> None:
    """The column that is needed is named."""
    with pytest.raises(SchemaError, match="`sequence`"):
        FeedCensus().output_schemas(TRADE.only(("ts_event", "symbol")))

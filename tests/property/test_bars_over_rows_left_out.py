"""Bars of a batch that few rows were left out of, which pass over them instead of copying."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import RecordError
from market_data_pipeline.kept_columns import KeptColumns
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.records import QUOTE, TRADE, UNDEFINED, Schema
from market_data_pipeline.symbols import SymbolTable

_TRADES = TRADE.only(["ts_event", "symbol", "price", "size"])
_QUOTES = QUOTE.only(["ts_event", "symbol", "bid_price", "ask_price"])


def _batches(
    schema: Schema, symbols: SymbolTable, rng: np.random.Generator, *, explicit: bool
) -> list[tuple[Batch, np.ndarray]]:
    """Return batches and masks of the rows to keep; a row left out may be far ahead."""
    highest, given = TIME_MIN, []
    begin = 0
    for _ in range(4):
        rows = int(rng.integers(30, 150))
        times = begin + np.sort(rng.integers(0, 40, rows)) + rng.integers(-25, 1, rows)
        begin += 30
        keep = np.ones(rows, np.bool_)
        keep[rng.integers(0, rows, rows // 30)] = False
        if rng.random() < 0.5:
            times[~keep] += rng.integers(0, 60, int((~keep).sum()))
        columns = {
            "ts_event": times,
            "symbol": rng.integers(0, 3, rows).astype(np.int32),
            schema.names[2]: rng.integers(1, 9, rows),
            schema.names[3]: rng.integers(1, 9, rows),
        }
        top = max(highest, int(times.max()))
        progress = Progress(highest, 5, top - 5)
        highest = top
        if explicit:
            marks = progress.watermarks(times)
            progress = Progress(progress.before, 0, progress.end, marks)
        given.append((Batch(schema, columns, symbols, progress), keep))
    return given


def _run(settings: Bars, batches: list[Batch], symbols: SymbolTable) -> tuple[object, Account]:
    account = Account("bars")
    operator = settings.build(NodeContext("bars", symbols, account))
    ports: dict[str, list[Batch]] = {}
    for batch in batches:
        account.rows_in += len(batch)
        for port, rows in operator.process(batch):
            ports.setdefault(port, []).append(rows)
        for port, rows in operator.advance(batch.watermark):
            ports.setdefault(port, []).append(rows)
    for port, rows in operator.advance(TIME_MAX):
        ports.setdefault(port, []).append(rows)
    values = {
        port: [{name: column.tolist() for name, column in rows.columns.items()} for rows in given]
        for port, given in ports.items()
    }
    return values, account


@given(
    seed=st.integers(0, 2**32 - 1),
    explicit=st.booleans(),
    quotes=st.booleans(),
    lateness=st.sampled_from(["0s", "7ns"]),
    parallelism=st.sampled_from([1, 2]),
)
def test_bars_are_those_of_the_rows_that_are_left(
    seed: int, explicit: bool, quotes: bool, lateness: str, parallelism: int
) -> None:
    """Late rows, revisions and counts too, whatever the rows left out do to the watermark."""
    symbols = SymbolTable(["A", "B", "C"])
    schema = _QUOTES if quotes else _TRADES
    made = _batches(schema, symbols, np.random.default_rng(seed), explicit=explicit)
    settings = Bars(every="10ns", lateness=lateness, parallelism=parallelism)

    passed_over = [keep_rows(batch, keep, int(keep.sum())) for batch, keep in made]
    taken = [batch.take(np.flatnonzero(keep)) for batch, keep in made]

    assert any(isinstance(batch.columns, KeptColumns) for batch in passed_over)
    assert _run(settings, passed_over, symbols) == _run(settings, taken, symbols)


@pytest.mark.parametrize("rows", [40, 4_000])
@pytest.mark.parametrize("width", ["2ns", "1us"])
def test_price_undefined_in_a_row_left_out_is_no_price_of_a_bar(rows: int, width: str) -> None:
    """Only one that is left is refused, however many windows are open at once."""
    symbols = SymbolTable(["A"])
    prices = np.ones(rows, np.int64)
    prices[1] = UNDEFINED
    columns = {
        "ts_event": np.arange(rows, dtype=np.int64),
        "symbol": np.zeros(rows, np.int32),
        "price": prices,
        "size": np.ones(rows, np.int64),
    }
    batch = Batch(_TRADES, columns, symbols, Progress(TIME_MIN, rows, 0))
    keep = np.arange(rows) != 1

    bars, _ = _run(Bars(every=width), [keep_rows(batch, keep, rows - 1)], symbols)

    assert bars
    others = keep_rows(batch, np.arange(rows) != 0, rows - 1)
    with pytest.raises(RecordError, match="row 0 "):
        _run(Bars(every=width), [others], symbols)


def test_columns_are_read_under_new_watermarks() -> None:
    """A batch that was given other watermarks is not taken by those it had before."""
    symbols = SymbolTable(["A"])
    rows = 40
    columns = {
        "ts_event": np.full(rows, 3, np.int64),
        "symbol": np.zeros(rows, np.int32),
        "price": np.ones(rows, np.int64),
        "size": np.ones(rows, np.int64),
    }
    batch = Batch(_TRADES, columns, symbols, Progress(TIME_MIN, 0, 3))
    left = keep_rows(batch, np.arange(rows) != 1, rows - 1)
    marks = np.full(rows - 1, 10, np.int64)
    later = left.with_progress(Progress(10, 0, 10, marks))

    _, account = _run(Bars(every="10ns"), [later], symbols)

    assert account.reasons == {"late": rows - 1}

"""One input, one answer: whatever the batches, the files, the schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.canonical import canonical_hash
from market_data_pipeline.dag.runtime import run_dag
from market_data_pipeline.flow import Dag
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE
from market_data_pipeline.running import run
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.source.replay import ReplaySource
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.schedules import run_shuffled

SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size", "trade_id"])
ROWS = 20_000
SECOND = 10**9


def market(seed: int, rows: int = ROWS) -> dict[str, np.ndarray]:
    """Trades with disorder, late rows, equal times and second copies."""
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, 60 * 1_000, rows)) * 1_000_000
    arrival = times + np.where(random.random(rows) < 0.05, random.integers(0, 3 * SECOND, rows), 0)
    order = np.argsort(arrival, kind="stable")
    ids = np.arange(rows)
    copies = random.random(rows) < 0.02
    ids[1:][copies[1:]] = ids[:-1][copies[1:]]
    return {
        "ts_event": times[order],
        "symbol": random.integers(0, 7, rows).astype(np.int32)[order],
        "price": (100 + np.cumsum(random.integers(-1, 2, rows)))[order] * SECOND,
        "size": random.integers(1, 9, rows)[order] * SECOND,
        "trade_id": ids[order],
    }


def pipeline(sources: list[MemorySource | ReplaySource]) -> Dag:
    dag = Dag("determinism")
    first, *others = [dag.source(source, name=f"s{n}") for n, source in enumerate(sources)]
    merged = first.union(*others) if others else first
    clean = merged.dedupe(key=["symbol", "trade_id"], ttl="5s", name="clean")
    bars = clean.to(Bars("1s"), name="bars")
    bars.sink(MemorySink(), name="store")
    bars.late.sink(MemorySink(), name="late")
    return dag


def hashes(result: object) -> tuple[str, str]:
    return (
        canonical_hash(result.to_arrow("store")),  # type: ignore[attr-defined]
        canonical_hash(result.to_arrow("late")),  # type: ignore[attr-defined]
    )


def in_memory(columns: dict[str, np.ndarray], rows: int) -> MemorySource:
    batch = Batch(SCHEMA, columns, SymbolTable("ABCDEFG"))
    return MemorySource([batch], out_of_order="500ms", batch_rows=rows)


def test_batch_size_makes_no_difference() -> None:
    """Batches of 1, 7, 1,000 and 65,536 rows give the same bars and the same late rows."""
    columns = market(1)
    results = [run(pipeline([in_memory(columns, rows)])) for rows in (1, 7, 1_000, 65_536)]
    assert len({hashes(result) for result in results}) == 1
    assert results[0].ledger["bars"].reasons["late"] > 0
    assert results[0].ledger["clean"].reasons["duplicate"] > 0
    assert len({str(result.ledger["bars"].reasons) for result in results}) == 1


def test_schedule_makes_no_difference() -> None:
    """Three sources merged under 200 task schedules give one answer."""
    parts = [market(seed, 300) for seed in (1, 2, 3)]

    def once(seed: int) -> tuple[str, str]:
        sources = [in_memory(part, 20 + seed % 13) for part in parts]
        return hashes(run_shuffled(run_dag(pipeline(list(sources))), seed))

    assert len({once(seed) for seed in range(200)}) == 1


@pytest.mark.parametrize("rows", [1_000, 65_536])
def test_file_split_makes_no_difference(tmp_path: Path, rows: int) -> None:
    """One file or the same rows in pieces, cut where rows are late or out of order."""
    columns = market(4)
    names = np.array(list("ABCDEFG"))[columns["symbol"]]
    table = pa.table(
        {
            **columns,
            "ts_event": pa.array(columns["ts_event"], pa.timestamp("ns", "UTC")),
            "symbol": pa.array(names),
            "price": columns["price"] / SECOND,
            "size": columns["size"] / SECOND,
        }
    )
    pq.write_table(table, tmp_path / "whole.parquet", row_group_size=3_333)
    for piece, at in enumerate(range(0, ROWS, 4_321)):
        pq.write_table(table.slice(at, 4_321), tmp_path / f"piece-{piece}.parquet")

    def read(pattern: str) -> tuple[str, str]:
        source = ReplaySource(str(tmp_path / pattern), out_of_order="500ms", batch_rows=rows)
        return hashes(run(pipeline([source])))

    whole = read("whole.parquet")
    assert read("piece-*.parquet") == whole
    assert hashes(run(pipeline([in_memory(columns, 777)])))[0] == whole[0]

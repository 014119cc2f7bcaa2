"""Every sink that takes part in checkpoints, through the check that the package offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.sink.csv import CsvSink
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.jsonl import JsonlSink
from market_data_pipeline.sink.parquet import ParquetSink
from market_data_pipeline.sink.postgres import PostgresSink
from market_data_pipeline.sink.sqlite import SqliteSink
from market_data_pipeline.testing import check_sink
from support.postgres import Database
from support.sink_rows import bars


def _batches() -> list[Batch]:
    """Return bars on whole microseconds, with the same keys in every batch and revisions."""
    batches = []
    for number, count in enumerate((40, 1, 300, 7)):
        batch = bars(count, seed=number)
        columns = dict(batch.columns)
        columns["ts_open"] = 1_700_000_000_000_000_000 + np.arange(count) * 1_000_000_000
        columns["symbol"] = np.zeros(count, np.int32)
        columns["revision"] = np.full(count, (0, 2, 1, 2)[number], np.int64)
        batches.append(Batch.from_columns(batch.schema, columns, batch.symbols))
    return batches


@pytest.mark.parametrize("key", [(), ("symbol", "ts_open")])
@pytest.mark.parametrize("mode", ["create", "append"])
def test_postgres(postgres_database: Database, key: tuple[str, ...], mode: Any) -> None:
    """Rows and the ledger's row are one transaction."""

    def make(name: str) -> PostgresSink:
        return PostgresSink(postgres_database.dsn, table=name, key=key, mode=mode)

    check_sink(make, _batches())


@pytest.mark.parametrize("key", [(), ("symbol", "ts_open")])
@pytest.mark.parametrize("mode", ["create", "append", "replace"])
def test_duckdb(tmp_path: Path, key: tuple[str, ...], mode: Any) -> None:
    """Rows and the ledger's row are one transaction."""

    def make(name: str) -> DuckDBSink:
        return DuckDBSink(tmp_path / f"{name}.duckdb", key=key, mode=mode)

    check_sink(make, _batches())
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".duckdb"]


@pytest.mark.parametrize("key", [(), ("symbol", "ts_open")])
@pytest.mark.parametrize("mode", ["create", "append"])
def test_sqlite(tmp_path: Path, key: tuple[str, ...], mode: Any) -> None:
    """Rows and the ledger's row are one transaction."""

    def make(name: str) -> SqliteSink:
        return SqliteSink(tmp_path / f"{name}.sqlite", key=key, mode=mode)

    check_sink(make, _batches())


@pytest.mark.parametrize("partition", [(), ("date", "symbol")])
@pytest.mark.parametrize("overwrite", [False, True])
def test_parquet_folder(tmp_path: Path, partition: tuple[str, ...], overwrite: bool) -> None:
    """Files get their names in commit, and the manifest is the mark."""

    def make(name: str) -> ParquetSink:
        return ParquetSink(f"{tmp_path}/{name}/", partition=partition, overwrite=overwrite)

    check_sink(make, _batches())


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.csv.gz", "x.jsonl", "x.jsonl.zst"])
def test_file(tmp_path: Path, name: str, overwrite: bool) -> None:
    """A single file appears at the end, made of what was kept of each epoch."""
    sinks: dict[str, Any] = {"parquet": ParquetSink, "csv": CsvSink, "jsonl": JsonlSink}

    def make(case: str) -> Any:
        return sinks[name.split(".")[1]](f"{tmp_path}/{case}.{name}", overwrite=overwrite)

    check_sink(make, _batches())

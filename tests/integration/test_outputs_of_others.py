"""An output that another job has filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.errors import NodeError

Make = Callable[[], Any]
SINKS = ("parquet", "duckdb", "sqlite", "postgres")


@pytest.fixture
def make_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    name = request.param
    if name == "parquet":
        return lambda: mdp.ParquetSink(f"{tmp_path / 'out'}/")
    if name == "duckdb":
        return lambda: mdp.DuckDBSink(str(tmp_path / "out.duckdb"), table="bars")
    if name == "sqlite":
        from market_data_pipeline.sink.sqlite import SqliteSink

        return lambda: SqliteSink(str(tmp_path / "out.sqlite"), table="bars")
    from market_data_pipeline.sink.postgres import PostgresSink

    dsn = request.getfixturevalue("postgres_database").dsn
    return lambda: PostgresSink(dsn=dsn, table="bars")


def run(job: str, sink: Any, checkpoints: Path) -> mdp.RunResult:
    dag = mdp.Dag(job)
    ticks = dag.source(mdp.SyntheticSource(rows=500), name="ticks")
    ticks.bars("1s").sink(sink, name="store")
    return mdp.run(dag, checkpoint=mdp.Checkpoint(str(checkpoints), interval=None))


@pytest.mark.parametrize("make_sink", SINKS, indirect=True)
def test_what_was_refused_once_is_refused_again(make_sink: Make, tmp_path: Path) -> None:
    """That a job has tried before makes the rows of another no more its own."""
    run("other", make_sink(), tmp_path / "other")
    for _ in range(3):
        with pytest.raises(NodeError, match="OutputExistsError"):
            run("mine", make_sink(), tmp_path / "mine")

"""What a sink says of its delivery before a run, and what the run says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.sink.dead_letters import DeadLetterSink

_SINKS: Final[dict[str, Callable[[Path], Any]]] = {
    "csv": lambda folder: mdp.CsvSink(folder / "out.csv"),
    "dead_letters": lambda folder: DeadLetterSink(folder / "out"),
    "duckdb": lambda folder: mdp.DuckDBSink(folder / "out.duckdb"),
    "jsonl": lambda folder: mdp.JsonlSink(folder / "out.jsonl"),
    "memory": lambda _folder: mdp.MemorySink(),
    "parquet": lambda folder: mdp.ParquetSink(folder / "out.parquet"),
    "folder": lambda folder: mdp.ParquetSink(f"{folder}/out/"),
    "sqlite": lambda folder: mdp.SqliteSink(folder / "out.sqlite"),
}


@pytest.mark.parametrize("name", _SINKS)
def test_what_validate_promises_is_what_the_run_promises(tmp_path: Path, name: str) -> None:
    """`mdp validate` reads it from the component, the summary from what was opened."""
    sink = _SINKS[name](tmp_path)
    dag = mdp.Dag("job")
    dag.source(mdp.SyntheticSource(rows=20)).bars("1s").sink(sink, name="store")
    result = mdp.run(dag, checkpoint=mdp.Checkpoint(str(tmp_path / "kept"), interval=None))
    assert result.checkpoints is not None
    assert result.checkpoints.delivery == {"store": sink.delivery}

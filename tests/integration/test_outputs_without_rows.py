"""Outputs that no row came to, as those see them who read them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.testing import Pause, ScriptedSource

_ROW = {"ts_event": 1, "symbol": "ES", "price": 5, "size": 1}


def _run(folder: Path, least: int, *, checkpoint: bool = True, job: str = "job") -> None:
    dag = mdp.Dag(job)
    source = ScriptedSource([_ROW, Pause(0.0)])
    kept = dag.source(source, name="ticks").filter(f"price > {least}", name="kept")
    kept.sink(mdp.ParquetSink(f"{folder}/out/"), name="out")
    state = mdp.Checkpoint(str(folder / job), interval=None) if checkpoint else None
    mdp.run(dag, checkpoint=state)


def _read(folder: Path) -> tuple[list[str], int]:
    found = duckdb.sql(f"SELECT * FROM '{folder}/out/*.parquet'")  # noqa: S608  our own path
    assert found is not None
    return found.columns, found.to_arrow_table().num_rows


@pytest.mark.parametrize("checkpoint", [False, True])
def test_columns_are_there_without_rows(tmp_path: Path, checkpoint: bool) -> None:
    """With checkpoints and without."""
    _run(tmp_path, 9, checkpoint=checkpoint)
    assert _read(tmp_path) == (["ts_event", "symbol", "price", "size"], 0)
    assert mdp.ParquetSink(f"{tmp_path}/out/").read().num_columns == 4


def test_the_first_rows_take_its_place(tmp_path: Path) -> None:
    """Also for another job, since nothing of the first one is there."""
    _run(tmp_path, 9)
    _run(tmp_path, 9)
    _run(tmp_path, 1, job="other")
    assert _read(tmp_path)[1] == 1
    assert [path.suffix for path in (tmp_path / "out").iterdir() if path.is_file()] == [".parquet"]
    assert not list((tmp_path / "out").glob("*empty*"))


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "duckdb"])
def test_nothing_replaces_what_was_there(tmp_path: Path, kind: str, checkpoint: bool) -> None:
    """Rows of yesterday must not be taken for those of a run that found none."""

    def output(*, overwrite: bool = False) -> mdp.ParquetSink | mdp.DuckDBSink:
        if kind == "duckdb":
            return mdp.DuckDBSink(f"{tmp_path}/out.duckdb", overwrite=overwrite)
        return mdp.ParquetSink(f"{tmp_path}/out/", overwrite=overwrite)

    for job, least in (("first", 1), ("second", 9), ("second", 9)):
        dag = mdp.Dag(job)
        source = dag.source(ScriptedSource([_ROW, Pause(0.0)]), name="ticks")
        kept = source.filter(f"price > {least}", name="kept")
        kept.sink(output(overwrite=job == "second"), name="out")
        mdp.run(dag, checkpoint=mdp.Checkpoint(str(tmp_path / job)) if checkpoint else None)
        assert output().read().num_rows == (1 if job == "first" else 0)

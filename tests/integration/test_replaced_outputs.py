"""Outputs whose rows one job has replaced by its own, and what is told of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.testing import Pause, ScriptedSource


def run(folder: Path, job: str, rows: int, *, overwrite: bool = False) -> int:
    """Write rows with a checkpoint between any two; return how many the output has then."""
    items: list[dict[str, object] | Pause] = []
    for at in range(rows):
        items += [{"ts_event": at + 1, "symbol": "ES", "price": 5, "size": 1}, Pause(0.02)]
    dag = mdp.Dag(job)
    source = dag.source(ScriptedSource(items), name="ticks")
    source.sink(mdp.ParquetSink(f"{folder}/out/", overwrite=overwrite), name="out")
    mdp.run(dag, checkpoint=mdp.Checkpoint(str(folder / job), interval="5ms"))
    return int(mdp.ParquetSink(f"{folder}/out/").read().num_rows)


def test_epochs_of_another_job_are_gone(tmp_path: Path) -> None:
    """However many there were, and whether the log is read or the folder."""
    assert run(tmp_path, "first", 5) == 5
    assert run(tmp_path, "second", 2, overwrite=True) == 2
    assert run(tmp_path, "third", 3, overwrite=True) == 3
    logged = (tmp_path / "out" / "_log").glob("*-*.json")
    assert len(list(logged)) > len(list((tmp_path / "out").glob("*.parquet"))) <= 3


def test_a_job_that_was_replaced_does_not_go_on(tmp_path: Path) -> None:
    """Its first rows are gone, so that its next ones would be half of them."""
    run(tmp_path, "first", 3)
    run(tmp_path, "second", 2, overwrite=True)
    with pytest.raises(mdp.NodeError, match=r"was replaced by the job `second`; start it from"):
        run(tmp_path, "first", 3)
    assert mdp.ParquetSink(f"{tmp_path}/out/").read().num_rows == 2


def test_what_a_killed_run_had_no_time_to_delete_is_deleted_by_the_next(tmp_path: Path) -> None:
    """Those who read the folder would find it, though the log names it no more."""
    run(tmp_path, "first", 1)
    [old] = (tmp_path / "out").glob("*.parquet")
    shutil.copy(old, tmp_path / "old")
    run(tmp_path, "second", 2, overwrite=True)
    shutil.copy(tmp_path / "old", old)
    run(tmp_path, "second", 2, overwrite=True)
    assert not old.exists()


def test_a_table_with_other_columns_is_not_replaced_row_by_row(tmp_path: Path) -> None:
    """The way out is not what was set already."""
    quote = {"ts_event": 1, "symbol": "ES", "bid_price": 5, "ask_price": 6}
    trade = {"ts_event": 1, "symbol": "ES", "price": 5, "size": 1}
    for job, row in (("trades", trade), ("quotes", quote)):
        dag = mdp.Dag(job)
        sink = mdp.DuckDBSink(f"{tmp_path}/out.duckdb", overwrite=True)
        dag.source(ScriptedSource([row]), name="rows").sink(sink, name="out")
        state = mdp.Checkpoint(str(tmp_path / job))
        if job == "trades":
            mdp.run(dag, checkpoint=state)
            continue
        with pytest.raises(mdp.NodeError, match=r"cannot replace the rows of .* drop it first"):
            mdp.run(dag, checkpoint=state)

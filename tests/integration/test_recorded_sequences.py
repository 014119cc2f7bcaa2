"""Trade numbers of recorded captures: whole as recorded, and every planted loss is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import market_data_pipeline as mdp


def captured(data_dir: Path, market: str) -> pa.Table:
    dag = mdp.Dag()
    path = data_dir / "binance" / f"{market}_btcusdt_20240808.gz"
    dag.source(mdp.ReplaySource(str(path))).collect(name="rows")
    return mdp.run(dag).to_arrow("rows")


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_planted_losses_and_copies_are_found_and_nothing_else(data_dir: Path, market: str) -> None:
    """Of rows taken out, each is told once; of copies, each is dropped; no alarm is false."""
    whole = captured(data_dir, market)
    rng = np.random.default_rng(11)
    lost = rng.random(whole.num_rows) < 0.01
    lost[[0, -1]] = False  # what is lost at an end cannot be told from what is not recorded
    positions = np.flatnonzero(~lost)
    copies = rng.choice(positions, 50, replace=False)
    # A copy comes some rows behind its row.
    order = np.argsort(np.concatenate([positions, copies + 7.5]), kind="stable")
    damaged = whole.take(pa.array(np.concatenate([positions, copies])[order]))
    dag = mdp.Dag()
    rows = dag.source(mdp.MemorySource(damaged)).sequence(column="trade_id")
    rows.collect(name="rows")
    rows.gaps.collect(name="gaps")
    result = mdp.run(dag)
    gaps = result.to_arrow("gaps").to_pylist()
    told = [
        number for gap in gaps for number in range(gap["first_missing"], gap["last_missing"] + 1)
    ]
    numbers = whole["trade_id"].to_numpy()
    assert {gap["kind"] for gap in gaps} == {"gap"}
    assert told == numbers[lost].tolist()
    assert result.ledger["sequence"].reasons == {"duplicate": 50, "gaps": len(gaps)}
    assert sum(result.to_arrow("rows")["missing"].to_pylist()) == lost.sum()


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_captures_lack_no_trade(data_dir: Path, market: str) -> None:
    """The venue's numbers go on by one from the first row to the last."""
    numbers = captured(data_dir, market)["trade_id"].to_numpy()
    assert (np.diff(numbers) == 1).all()

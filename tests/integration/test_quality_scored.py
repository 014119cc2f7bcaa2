"""Defects planted in a made-up market are found: precision and recall of each check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.records import UNDEFINED

Columns = dict[str, npt.NDArray[np.int64]]
EVERY = 101
"""One row in so many of each symbol is spoiled, once there is a past to compare it with."""


def is_planted(sequence: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which rows are spoiled."""
    return np.asarray((sequence % EVERY == 0) & (sequence > 0), np.bool_)


def crossed(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    bid, ask = columns["bid_price"], columns["ask_price"]
    bid[rows], ask[rows] = ask[rows] + 10_000_000, bid[rows]


def locked(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    columns["bid_price"][rows] = columns["ask_price"][rows]


def one_sided(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    columns["ask_price"][rows] = UNDEFINED


def zero_size(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    columns["bid_size"][rows] = 0


def clock_skew(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    columns["ts_recv"][rows] = columns["ts_event"][rows] - 1


def out_of_sequence(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    columns["ts_event"][rows] -= 3_600 * 10**9


def price_band(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    for name in ("bid_price", "ask_price"):
        columns[name][rows] *= 10


def outlier(columns: Columns, rows: npt.NDArray[np.bool_]) -> None:
    for name in ("bid_price", "ask_price"):
        columns[name][rows] = columns[name][rows] * 21 // 20


DEFECTS: dict[str, tuple[Callable[[Columns, npt.NDArray[np.bool_]], None], Any]] = {
    "crossed": (crossed, "flag"),
    "locked": (locked, "flag"),
    "one_sided": (one_sided, "flag"),
    "zero_size": (zero_size, "flag"),
    "clock_skew": (clock_skew, "flag"),
    "out_of_sequence": (out_of_sequence, "flag"),
    "price_band": (price_band, {"percent": 50, "do": "flag"}),
    "outlier": (outlier, {"threshold": 10, "do": "flag"}),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_planted_defect_is_found_and_nothing_else(name: str) -> None:
    """All of it and only it; of the outliers, which are a matter of degree, nearly so."""
    plant, settings = DEFECTS[name]

    def spoil(batch: mdp.Batch) -> mdp.Batch:
        columns = {key: np.array(column) for key, column in batch.columns.items()}
        plant(columns, is_planted(columns["sequence"]))
        return mdp.Batch(batch.schema, columns, batch.symbols, batch.progress)

    dag = mdp.Dag()
    market = mdp.SyntheticSource(
        rows=40_000, kind="quotes", symbols=5, duplicates=0, disorder=0, late=0
    )
    spoiled = dag.source(market).map(spoil, on="batches")
    spoiled.quality(**{name: settings}).collect(name="all")
    result = mdp.run(dag).to_arrow("all")
    found = result["quality"].to_numpy() != 0
    truth = is_planted(result["sequence"].to_numpy())
    hits = np.count_nonzero(found & truth)
    precision, recall = hits / np.count_nonzero(found), hits / np.count_nonzero(truth)
    least = 0.99 if name == "outlier" else 1.0
    assert np.count_nonzero(truth) > 300
    assert precision >= least
    assert recall >= least

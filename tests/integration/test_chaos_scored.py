"""What a bad line did to a feed is found: precision and recall against the written truth."""

from __future__ import annotations

from typing import Any

import market_data_pipeline as mdp
from market_data_pipeline.source.chaos import ChaosSource

ROWS = 30_000


def feed(symbols: int = 5, **disturbances: Any) -> ChaosSource:
    """Return a clean market of trades over a bad line; row n has the `trade_id` n."""
    market = mdp.SyntheticSource(
        rows=ROWS, symbols=symbols, duplicates=0, disorder=0, late=0, out_of_order="10s"
    )
    return ChaosSource(market, seed=3, **disturbances)


def truth_of(result: mdp.RunResult, kind: str) -> list[int]:
    """Return the numbers of the rows that something was done to."""
    rows = result.to_arrow("truth").to_pylist()
    return [row["row"] for row in rows if row["kind"] == kind]


def score(found: list[int], truth: list[int]) -> tuple[float, float]:
    """Return precision and recall."""
    hits = len({*found} & {*truth})
    assert len(truth) > 100
    return hits / len(found), hits / len(truth)


def test_doubled_rows_are_found_by_their_key() -> None:
    """Every copy and nothing else, though copies come some rows later."""
    dag = mdp.Dag()
    source = dag.source(feed(duplicate=0.01, reorder=0.01))
    source.truth.collect(name="truth")
    clean = source.dedupe(["symbol", "trade_id"])
    clean.collect(name="kept")
    clean.duplicate.collect(name="copies")
    result = mdp.run(dag)
    copies = result.to_arrow("copies")["trade_id"].to_pylist()
    assert score(copies, truth_of(result, "duplicate")) == (1.0, 1.0)
    assert sorted(result.to_arrow("kept")["trade_id"].to_pylist()) == [*range(1, ROWS + 1)]


def test_lost_rows_are_found_by_their_numbers() -> None:
    """Every number that is missing, and no other; but for those after a symbol's last row."""
    dag = mdp.Dag()
    source = dag.source(feed(drop=0.01))
    source.truth.collect(name="truth")
    source.collect(name="came")
    tracked = source.to(mdp.SequenceTracker(first=1))
    tracked.collect(name="rows")
    tracked.gaps.collect(name="gaps")
    result = mdp.run(dag)
    missing = [
        (gap["symbol"], number)
        for gap in result.to_arrow("gaps").to_pylist()
        if gap["kind"] == "gap"
        for number in range(gap["first_missing"], gap["last_missing"] + 1)
    ]
    last: dict[str, int] = {}
    for row in result.to_arrow("came").to_pylist():
        last[row["symbol"]] = row["sequence"]
    came = {row["trade_id"] for row in result.to_arrow("came").to_pylist()}
    lost = [number for number in range(1, ROWS + 1) if number not in came]
    assert sorted(truth_of(result, "drop")) == lost
    unseen = ROWS - sum(last.values())
    assert len({*missing}) == len(missing) == len(lost) - unseen
    assert all(number < last[symbol] for symbol, number in missing)
    assert len(missing) / len(lost) > 0.99


def test_misdated_rows_are_found_by_the_clock_that_received_them() -> None:
    """A row that came before it happened, and no other."""
    dag = mdp.Dag()
    source = dag.source(feed(skew=0.01, skew_by="1h"))
    source.truth.collect(name="truth")
    checked = source.quality(clock_skew={"over": "1min"})
    checked.collect(name="kept")
    checked.rejected.collect(name="rejected")
    result = mdp.run(dag)
    found = result.to_arrow("rejected")["trade_id"].to_pylist()
    assert score(found, truth_of(result, "skew")) == (1.0, 1.0)


def test_moved_rows_are_found_by_their_order() -> None:
    """Every row of one symbol that later ones went past, and no other."""
    dag = mdp.Dag()
    source = dag.source(feed(symbols=1, reorder=0.01))
    source.truth.collect(name="truth")
    checked = source.quality(out_of_sequence="flag")
    checked.collect(name="all")
    result = mdp.run(dag)
    rows = result.to_arrow("all").to_pylist()
    found = [row["trade_id"] for row in rows if row["quality"]]
    precision, recall = score(found, truth_of(result, "reorder"))
    assert (precision, recall > 0.99) == (1.0, True)

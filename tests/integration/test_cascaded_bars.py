"""Bars of bars of recorded ticks equal the bars made of the ticks."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import market_data_pipeline as mdp

FILES = {
    "forex": "forex/oanda/tick/*/*_quote.zip",
    "futures": "future/*/tick/*/*_trade.zip",
    "equity": "equity/usa/tick/spy/*_trade.zip",
    "equity quotes": "equity/usa/tick/ibm/*_quote.zip",
}


def both(pattern: Path, *, turnover: bool) -> tuple[pa.Table, pa.Table]:
    """Bars of a minute, made of the ticks and of bars of a second."""
    dag = mdp.Dag("cascade")
    ticks = dag.source(mdp.ReplaySource(pattern), name="ticks")
    sinks = [mdp.MemorySink(prices="decimal") for _ in range(2)]
    short = ticks.bars("1s", turnover=turnover, name="seconds")
    ticks.bars("1min", turnover=turnover, name="direct").sink(sinks[0], name="a")
    short.bars("1min", turnover=turnover, name="cascade").sink(sinks[1], name="b")
    result = mdp.run(dag)
    assert result.ledger.balanced
    assert result.ledger.total("late") == 0
    order = [("ts_open", "ascending"), ("symbol", "ascending")]
    direct, cascade = (sink.read().sort_by(order) for sink in sinks)
    taken = result.ledger["cascade"].reasons
    assert taken == {"aggregated": result.ledger["seconds"].rows_out}
    return direct, cascade


@pytest.mark.parametrize("market", FILES)
def test_every_column_of_every_bar_is_the_same(data_dir: Path, market: str) -> None:
    """Prices, volume, count, certificate; and with the turnover the average."""
    trades = "trade" in FILES[market]
    direct, cascade = both(data_dir / "lean" / FILES[market], turnover=trades)
    assert len(direct) > 100
    assert cascade.equals(direct)


@pytest.mark.parametrize("market", ["futures", "equity"])
def test_only_the_average_needs_the_turnover(data_dir: Path, market: str) -> None:
    """Without it the average is off by one unit of its last place at most."""
    direct, cascade = both(data_dir / "lean" / FILES[market], turnover=False)
    assert cascade.drop_columns(["vwap"]).equals(direct.drop_columns(["vwap"]))
    pairs = zip(direct["vwap"].to_pylist(), cascade["vwap"].to_pylist(), strict=True)
    assert all(a == b if a is None else abs(a - b).scaleb(9) <= 1 for a, b in pairs)

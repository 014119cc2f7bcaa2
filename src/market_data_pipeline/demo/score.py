"""What was planted in the market against what the pipeline found."""

from __future__ import annotations

__all__ = ("Check", "score")

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.demo.market import EVERY, Outputs
from market_data_pipeline.durations import duration_ns
from market_data_pipeline.sink.sql_names import quoted_text
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.source.synthetic_truth import SyntheticTruth

_TRADE_BARS: Final = """
    arg_min(price, ts_event) AS open, max(price) AS high, min(price) AS low,
    arg_max(price, ts_event) AS close, sum(size)::BIGINT AS volume,
    sum(price::HUGEINT * size)::HUGEINT AS turnover, count(*) AS count
"""
_QUOTE_BARS: Final = """
    arg_min(bid_price, ts_event) AS bid_open, max(bid_price) AS bid_high,
    min(bid_price) AS bid_low, arg_max(bid_price, ts_event) AS bid_close,
    arg_min(ask_price, ts_event) AS ask_open, max(ask_price) AS ask_high,
    min(ask_price) AS ask_low, arg_max(ask_price, ts_event) AS ask_close, count(*) AS count
"""
_PRICES: Final = {
    "trades": ("open", "high", "low", "close", "volume"),
    "quotes": tuple(
        f"{side}_{name}" for side in ("bid", "ask") for name in ("open", "high", "low", "close")
    ),
}
# A rounded average times the volume is off the turnover by half a volume at most.
_SAME_VWAP: Final = (
    "AND 2 * abs((b.vwap * 1000000000)::HUGEINT * (b.volume * 1000000000)::HUGEINT - e.turnover) "
    "<= (b.volume * 1000000000)::HUGEINT"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is known beforehand.

    Attributes:
        feed: `trades` or `quotes`.
        what: What was looked for.
        planted: How much of it there is.
        found: How much of it the pipeline found.
    """

    feed: str
    what: str
    planted: int | str
    found: int | str

    @property
    def passed(self) -> bool:
        """True if all that was planted was found, and nothing else."""
        return self.planted == self.found


def score(
    sources: Mapping[str, SyntheticSource], run: RunResult, outputs: Outputs
) -> tuple[Check, ...]:
    """Compare the outputs of a run with the truth, which is made from the seed alone."""
    checks: list[Check] = []
    for feed, source in sources.items():
        checks += _score_feed(feed, source.truth(), run)
        checks += _score_bars(feed, source, outputs)
    return tuple(checks)


def _score_feed(feed: str, truth: SyntheticTruth, run: RunResult) -> list[Check]:
    one, ledger = feed.removesuffix("s"), run.ledger
    counts = run.to_arrow(f"{one}_counts")
    # Without its times: Python has none in nanoseconds unless pandas is installed.
    gaps = run.to_arrow(f"{one}_gaps").select(["symbol", "first", "last"]).to_pylist()
    found_gaps = [_gap_text(str(g["symbol"]), g["first"], g["last"]) for g in gaps]
    gap = truth.gap
    planted_gap = _gap_text(gap.symbol, gap.first, gap.last) if gap else "none"
    late = ledger[f"{one}_bars"].reasons.get("late", 0)
    duplicates = ledger[f"distinct_{feed}"].reasons.get("duplicate", 0)
    return [
        Check(feed, "rows", truth.rows, ledger[feed].rows_in),
        Check(feed, "duplicates", truth.duplicates, duplicates),
        Check(feed, "out of order", truth.disordered, _sum(counts, "disordered_count")),
        Check(feed, "late", truth.late_for(EVERY), late),
        Check(feed, "missing sequence numbers", planted_gap, "; ".join(found_gaps) or "none"),
    ]


def _score_bars(feed: str, source: SyntheticSource, outputs: Outputs) -> list[Check]:
    """Group the market's own rows with DuckDB and compare bar by bar."""
    import duckdb

    one = feed.removesuffix("s")
    scaled = " AND ".join(f"(b.{n} * 1000000000)::BIGINT = e.{n}" for n in _PRICES[feed])
    vwap = _SAME_VWAP if feed == "trades" else ""
    with duckdb.connect() as database:
        database.execute(f"ATTACH {quoted_text(str(outputs.database))} AS made (READ_ONLY)")
        database.register("expected_rows", _expected_rows(source))
        query = f"""
            WITH e AS (
                SELECT symbol, ts_event // {duration_ns(EVERY)} AS number,
                    {_TRADE_BARS if feed == "trades" else _QUOTE_BARS}
                FROM expected_rows GROUP BY ALL
            ), b AS (
                SELECT *, epoch_ns(ts_open) // {duration_ns(EVERY)} AS number
                FROM made.{one}_bars
            )
            SELECT count(e.symbol), count(b.symbol),
                count(*) FILTER (WHERE {scaled} AND b.count = e.count {vwap})
            FROM e FULL JOIN b USING (symbol, number)
        """  # noqa: S608
        row = database.execute(query).fetchone()
    expected, made, equal = (int(n) for n in row) if row else (0, 0, 0)
    return [
        Check(feed, "bars", expected, made),
        Check(feed, "bars equal to DuckDB's", expected, equal),
    ]


def _expected_rows(source: SyntheticSource) -> pa.Table:
    names = pa.array(source.names)
    wanted = {"ts_event", "symbol", "price", "size", "bid_price", "ask_price"}
    parts: dict[str, list[Any]] = {}
    for columns in source.expected(EVERY):
        for name in wanted & columns.keys():
            parts.setdefault(name, []).append(columns[name])
    table = {name: pa.array(np.concatenate(arrays)) for name, arrays in parts.items()}
    table["symbol"] = pa.DictionaryArray.from_arrays(table["symbol"], names)
    return pa.table(table)


def _sum(table: pa.Table, column: str) -> int:
    return int(table[column].to_numpy().sum())


def _gap_text(symbol: str, first: int, last: int) -> str:
    return f"{last - first + 1:,} of {symbol}: {first:,} to {last:,}"

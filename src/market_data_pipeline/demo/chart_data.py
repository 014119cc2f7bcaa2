"""Bars of a few symbols, packed small enough to live inside a page."""

from __future__ import annotations

__all__ = ("chart_data",)

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.demo.market import EVERY, Outputs
from market_data_pipeline.durations import duration_ns
from market_data_pipeline.sink.sql_names import quoted_text
from market_data_pipeline.source.synthetic import SyntheticSource

_RANKS: Final = (0, 1, 2, 4, 9, 19, 49)
_UNITS: Final = 1_000_000_000
_BARS: Final = """
    SELECT epoch_ns(ts_open) AS ts_open, (open * {units})::BIGINT AS open,
        (high * {units})::BIGINT AS high, (low * {units})::BIGINT AS low,
        (close * {units})::BIGINT AS close, (volume * {units})::BIGINT AS volume, count
    FROM made.trade_bars WHERE symbol = ? ORDER BY ts_open
"""

Int64s = npt.NDArray[np.int64]


def chart_data(source: SyntheticSource, run: RunResult, outputs: Outputs) -> dict[str, Any]:
    """Return what the page's chart draws, read back from the demo's own outputs.

    Bars are packed column by column: times, opens and closes as differences, highs and
    lows as distances from the body, in whole price units.
    """
    import duckdb

    every_ns = duration_ns(EVERY)
    names = [source.names[rank] for rank in _RANKS if rank < len(source.names)]
    with duckdb.connect() as database:
        database.execute(f"ATTACH {quoted_text(str(outputs.database))} AS made (READ_ONLY)")
        query = _BARS.format(units=_UNITS)
        found = {n: _columns(database.sql(query, params=[n]).to_arrow_table()) for n in names}
    found = {name: columns for name, columns in found.items() if len(columns["ts_open"])}
    start = min((int(columns["ts_open"][0]) for columns in found.values()), default=0)
    late = _times_by_symbol(pq.read_table(outputs.late("trades")))
    gaps = _gaps(run.to_arrow("trade_gaps"))
    return {
        "start": start // _UNITS,
        "every": every_ns // _UNITS,
        "symbols": [
            {
                "name": name,
                "label": _label(name, columns, has_gap=any(g["symbol"] == name for g in gaps)),
                **_packed(columns, start, every_ns),
                "late": [round((time - start) / _UNITS, 3) for time in late.get(name, [])],
                "gaps": [_gap(g, start) for g in gaps if g["symbol"] == name],
            }
            for name, columns in found.items()
        ],
    }


def _columns(table: pa.Table) -> dict[str, Int64s]:
    return {name: table[name].to_numpy() for name in table.column_names}


def _packed(columns: dict[str, Int64s], start: int, every_ns: int) -> dict[str, Any]:
    unit = int(
        np.gcd.reduce([np.gcd.reduce(columns[n]) for n in ("open", "high", "low", "close")])
    )
    lot = max(1, int(np.gcd.reduce(columns["volume"])))
    opens, closes = columns["open"] // unit, columns["close"] // unit
    number = (columns["ts_open"] - start) // every_ns
    before = np.concatenate([[0], closes[:-1]])
    packed = {
        "t": np.diff(number, prepend=0),
        "o": opens - before,
        "c": closes - opens,
        "h": columns["high"] // unit - np.maximum(opens, closes),
        "l": np.minimum(opens, closes) - columns["low"] // unit,
        "v": columns["volume"] // lot,
        "n": columns["count"],
    }
    return {
        "price_unit": unit / _UNITS,
        "price_digits": _digits(unit),
        "size_unit": lot / _UNITS,
        "bars": {name: array.tolist() for name, array in packed.items()},
    }


def _digits(unit: int) -> int:
    """Return how many decimal places a price in whole units of `unit` can need."""
    return next((places for places in range(9) if unit % 10 ** (9 - places) == 0), 9)


def _times_by_symbol(table: pa.Table) -> dict[str, list[int]]:
    times = table["ts_event"].cast(pa.int64()).to_pylist()
    symbols: Sequence[str] = table["symbol"].to_pylist()
    found: dict[str, list[int]] = {}
    for symbol, time in zip(symbols, times, strict=True):
        found.setdefault(symbol, []).append(time)
    return found


def _gaps(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table of gaps, times as nanoseconds."""
    for name in ("ts_before", "ts_after"):
        times = table[name].cast(pa.int64())
        table = table.set_column(table.column_names.index(name), name, times)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _gap(gap: dict[str, Any], start: int) -> dict[str, Any]:
    return {
        "first": gap["first"],
        "last": gap["last"],
        "missing": gap["last"] - gap["first"] + 1,
        "from": _seconds(gap["ts_before"], start),
        "to": _seconds(gap["ts_after"], start),
    }


def _seconds(time: int, start: int) -> float:
    return round((time - start) / _UNITS, 3)


def _label(name: str, columns: dict[str, Int64s], *, has_gap: bool) -> str:
    trades = f"{name} \u00b7 {int(columns['count'].sum()):,} trades"
    return f"{trades} \u00b7 with the gap" if has_gap else trades

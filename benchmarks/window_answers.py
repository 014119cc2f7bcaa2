"""The right answers to questions about windows, worked out by DuckDB once for each file."""

from __future__ import annotations

__all__ = (
    "AGGREGATES",
    "GAP_NS",
    "HOPPING",
    "SESSIONS",
    "check_windows",
    "hopping_windows",
    "sessions_of_activity",
)

from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.answers import Difference
from benchmarks.ticks import SECOND_NS, TickSet

SIZE_S: Final = 10
GAP_NS: Final = 20_000_000
AGGREGATES: Final = {"volume": "sum(size)", "level": "mean(price)", "high": "max(price)"}
_COLUMNS: Final = """
    sum(size) AS volume, sum(cents) AS total, count(*) AS n, max(cents) AS high
"""

# A row is in the windows that start in the ten seconds up to its own.
HOPPING: Final = f"""
    SELECT code, ts_event // {SECOND_NS} - hop.back AS start, {{columns}}
    FROM {{ticks}}, (SELECT unnest(range({SIZE_S})) AS back) AS hop
    GROUP BY code, start
"""
SESSIONS: Final = f"""
    SELECT code, min(ts_event) AS start, {{columns}}
    FROM (
        SELECT *, sum(first) OVER (PARTITION BY code ORDER BY ts_event) AS session
        FROM (
            SELECT *, CAST(coalesce(ts_event - lag(ts_event) OVER (
                PARTITION BY code ORDER BY ts_event) >= {GAP_NS}, true) AS INT) AS first
            FROM {{ticks}}
        )
    ) GROUP BY code, session
"""


def hopping_windows(ticks: TickSet) -> dict[str, np.ndarray[Any, Any]]:
    """Return the windows of ten seconds, one each second."""
    found = _right(ticks, "hopping", HOPPING)
    return {**found, "start": found["start"] * SECOND_NS}


def sessions_of_activity(ticks: TickSet) -> dict[str, np.ndarray[Any, Any]]:
    """Return the sessions of activity."""
    return _right(ticks, "sessions", SESSIONS)


def _right(ticks: TickSet, name: str, query: str) -> dict[str, np.ndarray[Any, Any]]:
    path = ticks.folder / f"{name}.npz"
    if not path.exists():
        table = f"""(
            SELECT CAST(substr(symbol, 2) AS INT) AS code, epoch_ns(ts_event) AS ts_event, size,
                   CAST(round(price * 100) AS BIGINT) AS cents
            FROM read_parquet('{ticks.parquet}')
        )"""
        with duckdb.connect() as connection:
            connection.execute("SET threads = 2")
            text = query.format(ticks=table, columns=_COLUMNS)
            found = connection.sql(text).to_arrow_table()
        np.savez(path, **{name: _integers(found[name]) for name in found.column_names})
    with np.load(path) as columns:
        return dict(columns)


def _integers(column: Any) -> np.ndarray[Any, Any]:
    integers: np.ndarray[Any, Any] = column.cast(pa.int64()).to_numpy()
    return integers


def check_windows(
    right: dict[str, np.ndarray[Any, Any]],
    code: np.ndarray[Any, Any],
    start: np.ndarray[Any, Any],
    volume: np.ndarray[Any, Any],
    level: np.ndarray[Any, Any],
    high: np.ndarray[Any, Any],
) -> Difference:
    """Compare windows, in any order, with the right ones.

    Args:
        right: What `hopping_windows` or `sessions_of_activity` gave.
        code: (n,) codes of the symbols.
        start: (n,) starts in nanoseconds.
        volume: (n,) sums of sizes, whole.
        level: (n,) means of prices.
        high: (n,) highest prices.
    """
    if len(code) != len(right["code"]):
        return Difference(f"{len(code):,} windows, not {len(right['code']):,}", ())
    mine = np.lexsort((code, start))
    order = np.lexsort((right["code"], right["start"]))
    pairs = (
        ("code", code, right["code"]),
        ("start", start, right["start"]),
        ("volume", volume, right["volume"]),
        ("level", level, right["total"] / right["n"] / 100),
        ("high", high, right["high"] / 100),
    )
    for name, found, expected in pairs:
        wrong = ~np.isclose(found[mine], expected[order], rtol=1e-12, atol=1e-9)
        if wrong.any():
            return Difference(f"{name} of {int(wrong.sum()):,} windows", ())
    return Difference("", ())

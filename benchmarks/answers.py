"""The right answer to every question, by DuckDB, and comparing others with it."""

from __future__ import annotations

__all__ = ("Bars", "Difference", "compare", "reference")

from dataclasses import dataclass, fields, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.ticks import SECOND_NS, TickSet

RELATIVE_TOLERANCE = 1e-9
"""How far a volume-weighted average may be off that was computed with floats."""

# Prices in cents and whole sizes: every sum is an integer, so the answer is exact.
_BARS = """
SELECT CAST(substr(symbol, 2) AS INT) AS code,
       epoch_ns(ts_event) // 1000000000 * 1000000000 AS ts_open,
       arg_min(cents, ts_event) AS open, max(cents) AS high, min(cents) AS low,
       arg_max(cents, ts_event) AS close, CAST(sum(size) AS BIGINT) AS volume,
       sum(CAST(cents * size AS HUGEINT)) AS turnover, count(*) AS count
FROM (SELECT {distinct} symbol, trade_id, ts_event, size,
             CAST(round(price * 100) AS BIGINT) AS cents FROM read_parquet(?))
GROUP BY ALL ORDER BY ts_open, code
"""


@dataclass(frozen=True)
class Bars:
    """Bars of one second, ascending by `ts_open`, then by `code`.

    Integer columns of prices and sizes are fixed point at 1e-9; float columns are the
    plain value.

    Attributes:
        code: (n,) codes of the symbols.
        ts_open: (n,) int64 nanoseconds.
        open: First price; `high`, `low` and `close` likewise.
        volume: Sum of the sizes.
        vwap: Volume-weighted average price; None where a peer has none.
        count: Rows in the bar.
    """

    code: npt.NDArray[Any]
    ts_open: npt.NDArray[Any]
    open: npt.NDArray[Any] | None
    high: npt.NDArray[Any]
    low: npt.NDArray[Any]
    close: npt.NDArray[Any]
    volume: npt.NDArray[Any]
    vwap: npt.NDArray[Any] | None
    count: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.code)

    def ordered(self) -> Bars:
        """Return the bars in their order."""
        order = np.lexsort((self.code, self.ts_open))
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: None if c is None else c[order] for n, c in columns.items()})


@dataclass(frozen=True)
class Difference:
    """How an answer differs from the right one.

    Attributes:
        text: In words; empty if it does not.
        without: Columns the peer does not compute.
    """

    text: str
    without: tuple[str, ...]


def reference(ticks: TickSet, *, distinct: bool = False) -> Bars:
    """Return the right bars, worked out once for each file."""
    path = ticks.folder / ("distinct-bars.npz" if distinct else "bars.npz")
    if not path.exists():
        query = _BARS.format(distinct="DISTINCT" if distinct else "")
        with duckdb.connect() as connection:
            connection.execute("SET threads = 2")
            found = connection.sql(query, params=[str(ticks.parquet)]).to_arrow_table()
        np.savez(path, **_exact(found))
    with np.load(path) as columns:
        return Bars(**columns)


def _exact(found: pa.Table) -> dict[str, npt.NDArray[np.int64]]:
    columns = {
        name: found[name].cast(pa.int64()).to_numpy()
        for name in found.column_names
        if name != "turnover"
    }
    for name in ("open", "high", "low", "close"):
        columns[name] = columns[name] * (SECOND_NS // 100)
    turnovers = found["turnover"].to_pylist()
    columns["vwap"] = np.array(
        [_half_even(int(t) * (SECOND_NS // 100), int(v)) for t, v in
         zip(turnovers, columns["volume"].tolist(), strict=True)],
        np.int64,
    )  # fmt: skip
    columns["volume"] = columns["volume"] * SECOND_NS
    return columns


def _half_even(dividend: int, divisor: int) -> int:
    whole, rest = divmod(dividend, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))


def compare(given: Bars, right: Bars) -> Difference:
    """Return how an answer differs from the right one.

    Integers must be equal. Floats of prices and volumes must be the float nearest to the
    right value, and so must an average that was exact before it was written as a float
    (`vwap` of integers); an average computed with floats may be off by
    `RELATIVE_TOLERANCE`.
    """
    without = tuple(f.name for f in fields(given) if getattr(given, f.name) is None)
    if len(given) != len(right):
        return Difference(f"{len(given):,} bars instead of {len(right):,}", without)
    given = given.ordered()
    wrong = []
    for field in fields(given):
        ours, theirs = getattr(given, field.name), getattr(right, field.name)
        if ours is None:
            continue
        bad = int(np.count_nonzero(~_same(field.name, ours, theirs)))
        if bad:
            wrong.append(f"`{field.name}` of {bad:,}")
    text = f"{', '.join(wrong)} of {len(right):,} bars is wrong" if wrong else ""
    return Difference(text, without)


def _same(name: str, ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if ours.dtype.kind != "f":
        same: npt.NDArray[np.bool_] = ours == theirs
        return same
    plain = theirs / 1e9
    if name == "vwap":
        return np.isclose(ours, plain, rtol=RELATIVE_TOLERANCE, atol=0)
    equal: npt.NDArray[np.bool_] = ours == plain
    return equal

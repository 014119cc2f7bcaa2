"""Duplicates and gaps of a column of numbers, exact, in bounded memory.

The numbers of a file are kept in an embedded DuckDB, which moves them to a temporary
folder once they exceed a fixed share of memory.
"""

from __future__ import annotations

__all__ = ("Gap", "Gaps", "SequenceCheck")

import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.symbols import SymbolTable

_MEMORY_LIMIT: Final = "512MB"

_GAPS: Final = """
WITH numbers AS (
    SELECT {key} AS key, number, min(time) AS time
    FROM seen WHERE number IS NOT NULL GROUP BY ALL
), pairs AS (
    SELECT key, number, time,
        lead(number) OVER following AS next_number,
        lead(time) OVER following AS next_time
    FROM numbers WINDOW following AS (PARTITION BY key ORDER BY number)
)
SELECT key, number + 1, next_number - 1, time, next_time, next_number - number - 1
FROM pairs WHERE next_number > number + 1
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that are missing, and when.

    Attributes:
        symbol: The symbol, None if the numbers run over all symbols.
        first: The first missing number.
        last: The last missing number.
        after: Event time of the row before, nanoseconds UTC.
        before: Event time of the row after.
    """

    symbol: str | None
    first: int
    last: int
    after: int
    before: int


@dataclass(frozen=True, slots=True)
class Gaps:
    """All gaps of a column.

    Attributes:
        per_symbol: True if each symbol is read as having its own numbers.
        count: Number of gaps.
        missing: Missing numbers in all of them.
        largest: The largest, largest first.
    """

    per_symbol: bool
    count: int
    missing: int
    largest: tuple[Gap, ...]


class SequenceCheck:
    """The numbers of one file; a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mdp-inspect-")
        self._connection = duckdb.connect(
            config={"temp_directory": self._folder.name, "memory_limit": _MEMORY_LIMIT}
        )
        self._types = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._folder.cleanup()

    def add(
        self,
        codes: npt.NDArray[np.int32],
        times: npt.NDArray[np.int64],
        ids: pa.Array | None,
        numbers: pa.Array | None,
    ) -> None:
        """Take rows.

        Args:
            codes: (n,) symbol codes.
            times: (n,) event times.
            ids: (n,) identifiers, text or integers, None for none; null where unknown.
            numbers: (n,) int64 sequence numbers, None for none; null where unknown.
        """
        nothing = pa.nulls(len(codes), pa.int64())
        rows = pa.table(
            {
                "code": codes,
                "time": times,
                "id": nothing if ids is None else ids,
                "number": nothing if numbers is None else numbers,
            }
        )
        self._connection.register("rows", rows)
        if self._types:
            self._connection.execute("INSERT INTO seen SELECT * FROM rows")
        else:
            self._connection.execute("CREATE TABLE seen AS SELECT * FROM rows")
            self._types = str(rows.schema)
        self._connection.unregister("rows")

    def duplicate_count(self) -> int:
        """Return how many rows repeat an earlier row's symbol and identifier."""
        if not self._types:
            return 0
        found = self._connection.execute(
            "SELECT coalesce(sum(n - 1), 0)::BIGINT FROM "
            "(SELECT count(*) AS n FROM seen WHERE id IS NOT NULL GROUP BY code, id)"
        ).fetchone()
        return int(found[0]) if found else 0

    def gaps(self, limit: int, symbols: SymbolTable) -> Gaps:
        """Return the gaps in the numbers.

        Numbers may count per symbol or over a whole feed; the file does not say which.
        They count per symbol if more than one in a hundred is used by several symbols;
        else in the way that leaves the fewest missing.

        Args:
            limit: Most gaps to describe.
            symbols: The table that the codes point into.
        """
        if not self._types:
            return Gaps(per_symbol=True, count=0, missing=0, largest=())
        by_symbol = self._read("code", limit, symbols)
        if self._are_shared():
            return by_symbol
        over_all = self._read("-1", limit, None)
        return min(by_symbol, over_all, key=lambda reading: reading.missing)

    def _are_shared(self) -> bool:
        found = self._connection.execute(
            "SELECT 100 * count(*) FILTER (n > 1) > count(*) FROM (SELECT "
            "count(DISTINCT code) AS n FROM seen WHERE number IS NOT NULL GROUP BY number)"
        ).fetchone()
        return bool(found and found[0])

    def _read(self, key: str, limit: int, symbols: SymbolTable | None) -> Gaps:
        query = _GAPS.format(key=key)
        total = self._connection.execute(
            f"SELECT count(*), coalesce(sum(#6), 0)::HUGEINT FROM ({query})"  # noqa: S608
        ).fetchone()
        count, missing = (int(total[0]), int(total[1])) if total else (0, 0)
        rows = self._connection.execute(
            f"{query} ORDER BY 6 DESC, 1, 2 LIMIT {int(limit)}"
        ).fetchall()
        largest = tuple(
            Gap(symbols.name(code) if symbols else None, *places) for code, *places, _ in rows
        )
        return Gaps(symbols is not None, count, missing, largest)

"""Duplicates and gaps of a column of numbers, exact, in bounded memory.

The numbers of a file are kept in a DuckDB file in a temporary folder. Questions are asked
of one part of them at a time, since what answers one question has to fit into memory.
"""

from __future__ import annotations

__all__ = ("Gap", "Gaps", "SequenceCheck")

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.symbols import SymbolTable

_INT64: Final = np.iinfo(np.int64)
_MEMORY_LIMIT: Final = "512MB"
_COMMIT_ROWS: Final = 1_000_000
"""Committing each batch would take most of the time, committing all at once memory."""
_PART_ROWS: Final = 4_000_000
"""Rows of one part: grouping them takes about a third of the memory."""

# Numbers are written into the queries: with parameters DuckDB plans them for wider types.
_PART: Final = """
CREATE OR REPLACE TEMP TABLE part AS
WITH numbers AS (
    SELECT key, number, min(time) AS time FROM (
        SELECT {key} AS key, number, time FROM seen WHERE number >= {start} AND number < {stop}
        UNION ALL SELECT key, number, time FROM carried
    ) GROUP BY key, number
)
SELECT key, number, time,
    lead(number) OVER following AS next_number,
    lead(time) OVER following AS next_time
FROM numbers WINDOW following AS (PARTITION BY key ORDER BY number)
"""
_CARRY: Final = """
CREATE OR REPLACE TEMP TABLE carried AS
SELECT key, max(number) AS number, arg_max(time, number) AS time FROM part GROUP BY key
"""
_GAPS: Final = """
SELECT key, number + 1, next_number - 1, time, next_time
FROM part WHERE next_number > number + 1
ORDER BY next_number - number DESC, key, number LIMIT {limit}
"""
_GAP_COUNT: Final = """
SELECT count(*), coalesce(sum(next_number - number - 1), 0)::HUGEINT
FROM part WHERE next_number > number + 1
"""
_SHARED: Final = """
SELECT count(*) FILTER (least <> most), count(*) FROM (
    SELECT min(code) AS least, max(code) AS most
    FROM seen WHERE number >= {start} AND number < {stop} GROUP BY number
)
"""
_DUPLICATES: Final = """
SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (
    SELECT count(*) AS n FROM seen
    WHERE id IS NOT NULL AND hash(code, id) % {parts} = {part} GROUP BY code, id
)
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
        # In a file rows are compressed, and parts that a question is not about are skipped.
        self._connection = duckdb.connect(
            f"{self._folder.name}/seen.duckdb",
            config={
                "temp_directory": self._folder.name,
                "memory_limit": _MEMORY_LIMIT,
                "threads": 1,  # each thread would need memory of its own
                "preserve_insertion_order": False,
            },
        )
        self._rows = 0
        self._pending = 0

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
        if not self._pending:
            self._connection.execute("BEGIN")
        if self._rows:
            self._connection.execute("INSERT INTO seen SELECT * FROM rows")
        else:
            self._connection.execute("CREATE TABLE seen AS SELECT * FROM rows")
        self._connection.unregister("rows")
        self._rows += len(codes)
        self._pending += len(codes)
        if self._pending >= _COMMIT_ROWS:
            self._commit()

    def _commit(self) -> None:
        if self._pending:
            self._connection.execute("COMMIT")
            self._pending = 0

    def duplicate_count(self) -> int:
        """Return how many rows repeat an earlier row's symbol and identifier."""
        if not self._rows:
            return 0
        self._commit()
        parts = self._part_count
        counts = (self._one(_DUPLICATES.format(parts=parts, part=k))[0] for k in range(parts))
        return sum(counts)

    def gaps(self, limit: int, symbols: SymbolTable) -> Gaps:
        """Return the gaps in the numbers.

        Numbers may count per symbol or over a whole feed; the file does not say which.
        They count per symbol if more than one in a hundred is used by several symbols;
        else in the way that leaves the fewest missing.

        Args:
            limit: Most gaps to describe.
            symbols: The table that the codes point into.
        """
        self._commit()
        ranges = self._ranges() if self._rows else []
        by_symbol = self._read(ranges, "code", limit, symbols)
        found = [self._one(_SHARED.format(start=start, stop=stop)) for start, stop in ranges]
        if 100 * sum(shared for shared, _ in found) > sum(count for _, count in found):
            return by_symbol
        over_all = self._read(ranges, "-1", limit, None)
        return min(by_symbol, over_all, key=lambda reading: reading.missing)

    def _read(
        self,
        ranges: Sequence[tuple[int, int]],
        key: str,
        limit: int,
        symbols: SymbolTable | None,
    ) -> Gaps:
        count = missing = 0
        largest: list[tuple[int, int, int, int, int]] = []
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE carried (key INTEGER, number BIGINT, time BIGINT)"
        )
        for start, stop in ranges:
            self._connection.execute(_PART.format(key=key, start=start, stop=stop))
            found = self._one(_GAP_COUNT)
            count, missing = count + found[0], missing + found[1]
            largest += self._connection.execute(_GAPS.format(limit=limit)).fetchall()
            self._connection.execute(_CARRY)
        largest.sort(key=lambda gap: (gap[1] - gap[2], gap[0], gap[1]))
        named = tuple(
            Gap(symbols.name(code) if symbols else None, *places)
            for code, *places in largest[:limit]
        )
        return Gaps(symbols is not None, count, missing, named)

    @property
    def _part_count(self) -> int:
        return self._rows // _PART_ROWS + 1

    def _ranges(self) -> list[tuple[int, int]]:
        """Return ranges of numbers, ascending, that hold about equally many rows."""
        parts = self._part_count
        shares = [part / parts for part in range(1, parts)]
        inner: list[int] = []
        if shares:
            query = f"SELECT approx_quantile(number, {shares}) FROM seen"  # noqa: S608
            inner = sorted(set(self._one(query)[0] or ()))
        edges = [int(_INT64.min), *inner, int(_INT64.max)]
        return list(pairwise(edges))

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._connection.execute(query).fetchone()
        assert row is not None  # noqa: S101 - every query here gives one row
        return row

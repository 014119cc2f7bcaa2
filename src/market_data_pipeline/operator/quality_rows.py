"""Hold rows against checks, batch after batch."""

from __future__ import annotations

__all__ = ("RowChecks",)

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.operator.quality_checks import kernel_settings, sides_of, size_of
from market_data_pipeline.operator.quality_memory import QualityMemory
from market_data_pipeline.records import Flaw, Schema
from market_data_pipeline.symbols import SymbolTable

_Int64s = npt.NDArray[np.int64]

_NO_INTS: Final = np.empty(0, np.int64)
_NO_CODES: Final = np.empty(0, np.int32)


class RowChecks:
    """The checks of one run, and what they remember.

    Args:
        checks: The checks; those without settings are passed over.
        enabled: The checks that are made.
        rejecting: Those whose rows are rejected, and go into no other check's memory.
        ttl_ns: How long a symbol is remembered.
        symbols: The symbol table of the run.

    Attributes:
        rejecting: The checks whose rows are rejected.
        memory: What is remembered of symbols.
        masks: Of the last batch: the bits of the checks that each row failed.
        notes: Of the last batch: what each row that failed was held against, for the
            first rejecting check it fails, or else the last check it fails.
    """

    def __init__(
        self,
        checks: Iterable[object],
        *,
        enabled: Flaw,
        rejecting: Flaw,
        ttl_ns: int,
        symbols: SymbolTable,
    ) -> None:
        from market_data_pipeline.kernels.quality import SETTINGS, check_rows

        words = kernel_settings(checks, ttl_ns)
        words |= {"enabled": int(enabled), "rejecting": int(rejecting)}
        self._check_rows: Any = check_rows
        self._settings = np.array([words.get(name, 0) for name in SETTINGS], np.int64)
        self._schema: Schema | None = None
        self._sides: tuple[str, ...] = ()
        self._room = (_NO_INTS, _NO_INTS)
        self.rejecting = rejecting
        self.memory = QualityMemory(enabled, words.get("window", 0), ttl_ns, symbols)
        self.masks = _NO_INTS
        self.notes = _NO_INTS

    def check(self, batch: Batch) -> int:
        """Set `masks` and `notes` for the rows of a batch; return how many to reject."""
        rows = len(batch)
        if batch.schema is not self._schema:
            self._schema = batch.schema
            self._sides = sides_of(batch.schema)
        if len(self._room[0]) < rows:
            self._room = (np.empty(rows, np.int64), np.empty(rows, np.int64))
        self.masks, self.notes = self._room[0][:rows], self._room[1][:rows]
        columns = batch.columns
        prices = [_ints(columns.get(name)) for name in self._sides]
        sizes = [_ints(columns.get(size_of(name))) for name in self._sides]
        prices += [_NO_INTS] * (2 - len(prices))
        sizes += [_NO_INTS] * (2 - len(sizes))
        memory = self.memory
        codes = _NO_CODES
        if memory.enabled:
            codes = np.ascontiguousarray(columns["symbol"])
            memory.admit(len(batch.symbols))
        times = np.ascontiguousarray(batch.times)
        received = _ints(columns.get("ts_recv"))
        watermarks, highest, bound = _watermarks_of(batch)
        counts = memory.counts
        counts[1] = 0
        begin = 0
        while True:
            begin = self._check_rows(
                *(self._settings, codes, times, watermarks, highest, bound, received),
                *(*prices, *sizes, memory.index, memory.slots, memory.width),
                *(counts, self.masks, self.notes, begin),
            )
            if begin == rows:
                return int(counts[1])
            highest = int(counts[2]) + bound
            memory.make_room()


def _ints(column: Any) -> _Int64s:
    return _NO_INTS if column is None else np.ascontiguousarray(column)


def _watermarks_of(batch: Batch) -> tuple[_Int64s, int, int]:
    """Return the watermark after each row or none, and the running maximum and bound."""
    progress = batch.progress
    if progress is None:
        return np.full(len(batch), TIME_MIN), TIME_MIN, 0
    if progress.column is not None:
        return np.ascontiguousarray(progress.column), progress.before, 0
    return _NO_INTS, max(progress.start, TIME_MIN + progress.bound), progress.bound

"""Readers over rows in memory, and what they and others give as plain rows."""

from __future__ import annotations

__all__ = ("ListReader", "all_rejects", "all_rows", "ticks")

from collections.abc import Sequence
from contextlib import closing
from itertools import cycle
from typing import Any

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.records import TRADE
from market_data_pipeline.source.reader import FileReader
from market_data_pipeline.symbols import SymbolTable

SCHEMA = TRADE.only(["ts_event", "symbol", "sequence"])


def ticks(rows: Sequence[tuple[int, int]], symbols: SymbolTable) -> Batch:
    """Return rows of (event time, sequence)."""
    columns = {
        "ts_event": np.array([time for time, _ in rows], np.int64),
        "symbol": np.full(len(rows), symbols.code("A"), np.int32),
        "sequence": np.array([number for _, number in rows], np.int64),
    }
    return Batch(SCHEMA, columns, symbols)


class ListReader:
    """A file of rows in memory, cut into batches of given sizes in turn; 0 is an empty one.

    Attributes:
        closed: True once it was closed.
    """

    def __init__(
        self, rows: Sequence[tuple[int, int]], sizes: Sequence[int], symbols: SymbolTable
    ) -> None:
        self.schema = SCHEMA
        self.rows_read = 0
        self.closed = False
        self._rows = rows
        self._sizes = cycle(sizes)
        self._symbols = symbols

    def read(self) -> Batch | None:
        if self.rows_read == len(self._rows):
            return None
        part = self._rows[self.rows_read : self.rows_read + next(self._sizes)]
        self.rows_read += len(part)
        return ticks(part, self._symbols)

    def take_rejected(self) -> Batch | None:
        return None

    def fraction(self) -> float:
        return self.rows_read / max(len(self._rows), 1)

    def close(self) -> None:
        self.closed = True


def _plain(batch: Batch, names: Sequence[str]) -> list[tuple[Any, ...]]:
    columns = [
        [batch.symbols.name(code) for code in batch[name].tolist()]
        if name == "symbol"
        else batch[name].tolist()
        for name in names
    ]
    return list(zip(*columns, strict=True))


def all_rows(reader: FileReader, *names: str) -> list[tuple[Any, ...]]:
    """Read to the end, close, and return the named columns of all rows, or all columns."""
    rows = []
    with closing(reader):
        while (batch := reader.read()) is not None:
            rows += _plain(batch, names or reader.schema.names)
    return rows


def all_rejects(reader: FileReader) -> list[tuple[int, str]]:
    """Read to the end, close, and return row number and reason of what was rejected."""
    rejects: list[tuple[int, str]] = []
    more = True
    with closing(reader):
        while more:
            more = reader.read() is not None
            batch = reader.take_rejected()
            if batch is not None:
                rejects += _plain(batch, ["row", "reason"])
    return rejects

"""Rows that are already in memory: Arrow tables, data frames, batches."""

from __future__ import annotations

__all__ = ("MemorySource",)

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable


@component("memory")
class MemorySource:
    """Give batches that are in memory, in their order.

    Backpressure: waits.

    Delivery: every row once, each time the source is opened.

    Attributes:
        batches: Batches of one schema and one symbol table.
        out_of_order: The watermark is the highest event time seen minus this.
        batch_rows: Most rows in one batch; None to leave the batches as they are.
    """

    batches: Any
    out_of_order: Duration = "0s"
    batch_rows: int | None = None

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what are no batches.

        Raises:
            ConfigError: If `batches` is not a sequence of batches of one schema.
        """
        batches = self.batches
        if not isinstance(batches, Sequence) or not all(isinstance(b, Batch) for b in batches):
            msg = f"`batches` of `memory` must be a list of Batch, was {type(batches).__name__}"
            raise ConfigError(msg, parameter="batches")
        if not batches or any(b.schema != batches[0].schema for b in batches):
            msg = "`batches` of `memory` must be of one schema, and at least one"
            raise ConfigError(msg, parameter="batches")
        if self.batch_rows is not None and self.batch_rows <= 0:
            msg = f"`batch_rows` must be positive, was {self.batch_rows}"
            raise ConfigError(msg, parameter="batch_rows")

    def schema(self) -> Schema:
        """Return the schema of the batches."""
        schema: Schema = self.batches[0].schema
        return schema

    async def open(self, context: NodeContext) -> _MemoryReader:
        """Start from the first batch."""
        return _MemoryReader(self, context)


class _MemoryReader:
    def __init__(self, settings: MemorySource, context: NodeContext) -> None:
        self.schema = settings.schema()
        self._context = context
        self._bound = duration_ns(settings.out_of_order)
        self._rows = sum(len(batch) for batch in settings.batches)
        self._batches = iter(_cut(settings.batches, settings.batch_rows))
        self._highest = TIME_MIN
        self._known: SymbolTable | None = None
        self._known_count = 0
        self._translate: npt.NDArray[np.int32] | None = None

    async def read(self) -> Sequence[tuple[str, Batch]] | None:
        """Return the next batch."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self._context.account.rows_in += len(batch)
        before = self._highest
        if len(batch):
            self._highest = max(before, int(batch.times.max()))
        end = max(self._highest, TIME_MIN + self._bound) - self._bound
        return (("out", self._own(batch, Progress(before, self._bound, end))),)

    def _own(self, batch: Batch, progress: Progress) -> Batch:
        """Return the batch with its progress and codes of the run's symbol table."""
        columns, symbols = batch.columns, self._context.symbols
        if batch.symbols is not symbols and "symbol" in columns:
            translate = self._translation(batch.symbols)
            if translate is not None:
                columns = {**columns, "symbol": translate[columns["symbol"]]}
        return Batch(batch.schema, columns, symbols, progress)

    def _translation(self, theirs: SymbolTable) -> npt.NDArray[np.int32] | None:
        """Return the run's code for each code of another table, None if all are the same."""
        if theirs is not self._known or len(theirs) != self._known_count:
            codes = self._context.symbols.encode(theirs.names)
            self._known, self._known_count = theirs, len(theirs)
            same = np.array_equal(codes, np.arange(len(codes)))
            self._translate = None if same else codes
        return self._translate

    def fraction(self) -> float | None:
        """Return how much was given."""
        return self._context.account.rows_in / self._rows if self._rows else 1.0

    async def close(self) -> None:
        """Do nothing: the batches are the caller's."""


def _cut(batches: Iterable[Batch], rows: int | None) -> Iterable[Batch]:
    for batch in batches:
        if rows is None or len(batch) <= rows:
            yield batch
        else:
            for at in range(0, len(batch), rows):
                yield batch.slice(at, min(at + rows, len(batch)))

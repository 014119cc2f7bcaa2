"""Rows that are already in memory: Arrow tables, data frames, batches."""

from __future__ import annotations

__all__ = ("MemorySource",)

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.records import Schema


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
        return (("out", self._own(batch).with_progress(Progress(before, self._bound, end))),)

    def _own(self, batch: Batch) -> Batch:
        """Return the batch with codes of the run's symbol table."""
        if batch.symbols is self._context.symbols or "symbol" not in batch.schema:
            return Batch(batch.schema, batch.columns, self._context.symbols)
        translate = self._context.symbols.encode(batch.symbols.names)
        columns = {**batch.columns, "symbol": translate[batch.columns["symbol"]]}
        return Batch(batch.schema, columns, self._context.symbols)

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

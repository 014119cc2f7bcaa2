"""Any object with `stream()` as a source of a graph."""

from __future__ import annotations

__all__ = ("StreamedSource",)

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, ClassVar

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, SourceItem
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.objects import (
    OBJECTS,
    TICK,
    awaited,
    batch_of_objects,
    batch_of_quotes,
    epoch_ns,
)
from market_data_pipeline.records import Schema
from market_data_pipeline.source.progress import FeedProgress


@component("streamed")
class StreamedSource:
    """Give what an object streams: quotes, or anything else.

    Its `start()` is called first and its `close()` last, where it has them; either may be a
    coroutine function.

    Backpressure: waits; the object is asked for the next quote when there is room for it.

    Delivery: as the object's own.

    Attributes:
        of: An object with `stream()`, which returns an asynchronous iterator.
        as_ticks: Give symbol, time, price and size as columns, for operators of the engine;
            else the objects themselves, for operators that take them.
        out_of_order: The watermark of columns is the highest event time seen minus this.
    """

    of: Any
    as_ticks: bool = False
    out_of_order: Duration = "1s"

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be streamed.

        Raises:
            ConfigError: If the object has no `stream`.
        """
        if not callable(getattr(self.of, "stream", None)):
            msg = f"a source needs `stream()`, and `{type(self.of).__name__}` has none"
            raise ConfigError(msg, parameter="of")

    def schema(self) -> Schema:
        """Return the columns of ticks, or of objects."""
        return TICK if self.as_ticks else OBJECTS

    async def open(self, context: NodeContext) -> _StreamedReader:
        """Start the object."""
        start = getattr(self.of, "start", None)
        if callable(start):
            await awaited(start())
        stream = await awaited(self.of.stream())
        return _StreamedReader(self, aiter(stream), context)


class _StreamedReader:
    def __init__(
        self, settings: StreamedSource, stream: AsyncIterator[Any], context: NodeContext
    ) -> None:
        self.schema = settings.schema()
        self._settings = settings
        self._stream = stream
        self._context = context
        self._progress = FeedProgress(duration_ns(settings.out_of_order))
        self._highest = TIME_MIN

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        try:
            given = await anext(self._stream)
        except StopAsyncIteration:
            return None
        self._context.account.rows_in += 1
        return (("out", self._batch(given)),)

    def _batch(self, given: Any) -> Batch:
        symbols = self._context.symbols
        if self._settings.as_ticks:
            return self._progress.stamped(batch_of_quotes((given,), symbols))
        moment = getattr(given, "timestamp", None)
        time = epoch_ns(moment) if isinstance(moment, datetime) else max(self._highest, 0)
        before, self._highest = self._highest, max(self._highest, time)
        batch = batch_of_objects((given,), symbols, time=time)
        return batch.with_progress(Progress(before, 0, self._highest))

    def fraction(self) -> None:
        """Return None: a stream does not say how long it is."""

    async def close(self) -> None:
        leave = getattr(self._stream, "aclose", None)
        if leave is not None:
            await leave()
        close = getattr(self._settings.of, "close", None)
        if callable(close):
            await awaited(close())

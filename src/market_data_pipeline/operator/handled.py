"""Any object with `handle(quote)` as an operator of a graph."""

from __future__ import annotations

__all__ = ("Handled",)

from collections.abc import Mapping
from typing import Any, ClassVar

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.objects import OBJECTS, awaited, batch_of_objects, objects_of
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Schema


@component("handled")
class Handled:
    """Give quotes to an object one by one, and pass on what it makes of them.

    Rows it was given are counted as `handled`, what it returned as created. At the end of
    input `flush_all()` is called, where it has one.

    Backpressure: takes no rows while a call is under way, or a channel behind it is full.

    Delivery: every row once, in order.

    Attributes:
        by: An object with `handle(quote)`, plain or a coroutine function, which returns
            one thing, a list of things, or None.
    """

    by: Any

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot handle anything.

        Raises:
            ConfigError: If the object has no `handle`.
        """
        if not callable(getattr(self.by, "handle", None)):
            msg = f"an operator needs `handle(quote)`, and `{type(self.by).__name__}` has none"
            raise ConfigError(msg, parameter="by")

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:  # noqa: ARG002
        """Return the columns of objects."""
        return {"out": OBJECTS}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return all columns: what the object reads is its own affair."""
        return None

    def build(self, context: NodeContext) -> _Handling:
        """Make the running half."""
        return _Handling(self.by, context)


class _Handling(Stateless):
    """The running half: gives each row to the object."""

    def __init__(self, by: Any, context: NodeContext) -> None:
        self._by = by
        self._context = context
        self._time = 0
        self._watermark = TIME_MIN

    async def process(self, batch: Batch) -> Outputs:
        """Give rows to the object; return what it made of them."""
        made: list[tuple[str, Batch]] = []
        times = batch.times
        marks = [TIME_MIN] * len(batch)
        if batch.progress is not None:
            marks = batch.progress.watermarks(times).tolist()
        rows = zip(objects_of(batch), times.tolist(), marks, strict=True)
        for row, self._time, self._watermark in rows:
            made += self._outputs(await awaited(self._by.handle(row)))
        self._context.account.add("handled", len(batch))
        return made

    async def drain(self) -> Outputs:
        """Let the object give up what it holds."""
        flush = getattr(self._by, "flush_all", None)
        return self._outputs(await awaited(flush())) if callable(flush) else ()

    def _outputs(self, result: Any) -> list[tuple[str, Batch]]:
        if result is None:
            return []
        things = list(result) if isinstance(result, list | tuple) else [result]
        if not things:
            return []
        self._context.account.created += len(things)
        batch = batch_of_objects(
            things, self._context.symbols, time=self._time, watermark=self._watermark
        )
        return [("out", batch)]

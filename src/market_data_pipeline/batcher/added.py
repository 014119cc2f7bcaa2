"""Any object with `add(row)` and `flush()` as a batcher of a graph."""

from __future__ import annotations

__all__ = ("Added",)

from collections.abc import Mapping
from typing import Any, ClassVar

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.objects import OBJECTS, awaited, batch_of_objects, objects_of
from market_data_pipeline.records import Schema


@component("added")
class Added:
    """Give rows to an object one by one; what it returns is written together.

    What it holds is asked for by `flush()` at the end of input. Rows that it then has not
    returned are counted as `dropped`.

    Backpressure: takes no rows while a call is under way, or a channel behind it is full.

    Delivery: as the object's own.

    Attributes:
        by: An object with `add(row)` and, if wanted, `flush()`, plain or coroutine
            functions, which return a list or None.
    """

    by: Any

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot gather anything.

        Raises:
            ConfigError: If the object has no `add`.
        """
        if not callable(getattr(self.by, "add", None)):
            msg = f"a batcher needs `add(row)`, and `{type(self.by).__name__}` has none"
            raise ConfigError(msg, parameter="by")

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:  # noqa: ARG002
        """Return the columns of objects."""
        return {"out": OBJECTS}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return all columns: what the object reads is its own affair."""
        return None

    def build(self, context: NodeContext) -> _Adding:
        """Make the running half."""
        return _Adding(self.by, context)


class _Adding:
    """The running half: gives each row to the object."""

    def __init__(self, by: Any, context: NodeContext) -> None:
        self._by = by
        self._context = context
        self._before = TIME_MIN
        self._group = 0

    async def process(self, batch: Batch) -> Outputs:
        """Give rows to the object; return the batches it completed."""
        made: list[tuple[str, Batch]] = []
        account = self._context.account
        if not account.held and batch.progress is not None:
            self._before = batch.progress.before
        for row in objects_of(batch):
            account.held += 1
            made += self._outputs(await awaited(self._by.add(row)))
        return made

    async def drain(self) -> Outputs:
        """Let the object give up what it holds."""
        account = self._context.account
        flush = getattr(self._by, "flush", None)
        made = self._outputs(await awaited(flush())) if callable(flush) else []
        account.add("dropped", account.held)
        account.held = 0
        return made

    def advance(self, watermark: int) -> Outputs:  # noqa: ARG002
        """Return nothing."""
        return ()

    def finish(self) -> Outputs:
        """Return nothing: `drain` has asked for all there was."""
        return ()

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark before the first row that is held."""
        return min(watermark, self._before) if self._context.account.held else watermark

    def snapshot(self) -> Snapshot:
        """Return an empty state: what the object holds, it alone knows."""
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Do nothing: there is no state."""

    def _outputs(self, result: Any) -> list[tuple[str, Batch]]:
        if not result:
            return []
        rows = list(result)
        account = self._context.account
        account.held -= len(rows)
        if account.held < 0:
            account.created -= account.held
            account.held = 0
        self._group += 1
        batch = batch_of_objects(
            rows,
            self._context.symbols,
            time=max(self._before, 0),
            watermark=self._before,
            group=self._group,
        )
        return [("out", batch)]

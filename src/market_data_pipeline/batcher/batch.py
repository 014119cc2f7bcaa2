"""A node that gathers rows into larger batches in front of a sink."""

from __future__ import annotations

__all__ = ("BatchRows",)

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import PositiveInt

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.batcher.thresholds import Batcher
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.records import Schema


@component("batch")
class BatchRows:
    """Gather rows into larger batches, up to a number of rows, of bytes, or a time.

    In front of a sink that is dear per write. The rows themselves stay as they are.

    Backpressure: holds at most one batch.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: every row once, in order; the last ones at the end of input.

    Memory: the rows of the batch under way, fewer than `rows`.

    Attributes:
        rows: Rows of a full batch.
        bytes: Bytes that make a batch ready before that.
        interval: Longest time a row is held, of the machine's clock.
    """

    rows: PositiveInt | None = 100_000
    bytes: PositiveInt | None = 67_108_864
    interval: Duration | None = "1s"

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the input's columns."""
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return what is wanted: no column is read here."""
        return wanted

    def build(self, context: NodeContext) -> _BatchOperator:
        """Make the running half."""
        interval_s = None if self.interval is None else duration_ns(self.interval) / 1e9
        return _BatchOperator(
            Batcher(rows=self.rows, bytes=self.bytes, interval_s=interval_s), context
        )


class _BatchOperator:
    """The running half: the rows gathered so far."""

    def __init__(self, batcher: Batcher, context: NodeContext) -> None:
        self._batcher = batcher
        self._context = context
        self._before = TIME_MIN

    @property
    def due_s(self) -> float | None:
        """Time of the machine's monotonic clock at which what is held must go."""
        return self._batcher.due_s

    def process(self, batch: Batch) -> Outputs:
        """Take rows, and return the batches that are full."""
        if not self._batcher.rows:
            self._before = TIME_MIN if batch.progress is None else batch.progress.before
        ready = self._batcher.add(batch, self._context.clock.monotonic())
        if ready and self._batcher.rows:
            self._before = ready[-1].watermark
        return self._given(ready)

    def status(self, status: Status) -> Outputs:  # noqa: ARG002
        """Return what is held: a state of the input must not overtake it."""
        return self.finish()

    def expire(self) -> Outputs:
        """Return what is held: its time has come."""
        return self.finish()

    def advance(self, watermark: int) -> Outputs:  # noqa: ARG002
        """Return nothing: what is held waits for rows or time."""
        return ()

    def finish(self) -> Outputs:
        """Return what is held."""
        rest = self._batcher.take()
        return self._given([] if rest is None else [rest])

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark before the first row that is held."""
        return min(watermark, self._before) if self._batcher.rows else watermark

    def snapshot(self) -> Snapshot:
        """Return an empty state: what is held must be given up before a snapshot.

        Raises:
            SnapshotError: If rows are held.
        """
        if self._batcher.rows:
            msg = f"`{self._context.node}` holds {self._batcher.rows} rows; call `expire` first"
            raise SnapshotError(msg)
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Take over an empty state.

        Raises:
            SnapshotError: If the state is not empty.
        """
        if snapshot.keyed or snapshot.scalars:
            msg = "the state is of another operator: this one has none"
            raise SnapshotError(msg)

    def _given(self, ready: Sequence[Batch]) -> Outputs:
        self._context.account.held = self._batcher.rows
        return [("out", batch) for batch in ready]

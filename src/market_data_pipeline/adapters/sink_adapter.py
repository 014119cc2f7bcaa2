"""Stores of market_data_store as sinks of a graph, through its write coordinator."""

from __future__ import annotations

__all__ = ("StoreSinkAdapter",)

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Self

import pyarrow as pa
from pydantic import Field

from market_data_pipeline.adapters.acknowledged import AcknowledgedSettings, AcknowledgedWriter
from market_data_pipeline.adapters.coordinator_link import CoordinatorLink, WatchSettings
from market_data_pipeline.adapters.core_records import to_core
from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.adapters.supplied import SuppliedWriter
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, OutputError
from market_data_pipeline.records import Schema

_BATCHES: Final = 64


@component("store_adapter")
class StoreSinkAdapter:
    """Writes through a `WriteCoordinator` of market_data_store; made in Python.

    `from_sink` takes a sink of the store (anything with `write(rows)`) and builds the
    coordinator so that each write is acknowledged. `wrap` takes a coordinator that is
    there already, and watches it: a worker that dies, a stall, and rows that are left at
    the end are errors.

    Backpressure: waits while the queue is full, for as long as somebody writes; tells how
    full it is, from the queue and from the coordinator's feedback events.

    Delivery: at least once; the sink must take rows again that it has. With `wrap`, a batch
    that fails in the workers is lost, and the run fails; it takes no part in checkpoints.

    Attributes:
        sink: The sink, for a coordinator of our own.
        coordinator: The coordinator of somebody else.
        convert: Makes of a batch what the store is given; records of market_data_core
            (`Bar`, `Quote`, `Trade`) by default.
        coord_id: Name of the coordinator, by which its events and counters are told from
            those of others.
        capacity: Batches that may wait in a coordinator of our own.
        workers: How many of them are written at once; more than one loses their order.
        retry_policy: `RetryPolicy` of the store for a coordinator of our own; None for the
            store's defaults. Connection errors and time-outs are tried again as well.
        guard: Whether to keep the workers of somebody else's coordinator from stalling, by
            changing it.
        poll: How often to look whether the coordinator is well.
        stall_after: How long nothing may be written while rows wait.
        stop_timeout: How long it may take to stop.
    """

    sink: Any = None
    coordinator: Any = None
    convert: Callable[[Batch], Sequence[Any]] | None = None
    coord_id: str = "default"
    capacity: int = Field(default=_BATCHES, ge=1)
    workers: int = Field(default=1, ge=1)
    retry_policy: Any = None
    guard: bool = False
    poll: Duration = "100ms"
    stall_after: Duration = "30s"
    stop_timeout: Duration = "10s"

    delivery: ClassVar[Delivery] = "at_least_once"

    def __post_init__(self) -> None:
        """Refuse both a sink and a coordinator, and neither.

        Raises:
            ConfigError: If there is not one of the two.
        """
        if (self.sink is None) == (self.coordinator is None):
            msg = "give either `sink` or `coordinator`; see `from_sink` and `wrap`"
            raise ConfigError(msg, parameter="sink")
        if not callable(getattr(self.sink or self.coordinator, self._call, None)):
            given = type(self.sink or self.coordinator).__name__
            msg = f"a store must have `{self._call}`, and a {given} has none"
            raise ConfigError(msg, parameter="sink" if self.coordinator is None else "coordinator")

    @property
    def _call(self) -> str:
        return "write" if self.coordinator is None else "submit_many"

    @classmethod
    def from_sink(cls, sink: Any, **settings: Any) -> Self:
        """Return a sink that writes through a coordinator of our own.

        Args:
            sink: Anything with `write(rows)`.
            settings: `convert`, `coord_id`, `capacity`, `workers`, `retry_policy`, `poll`,
                `stall_after`, `stop_timeout`.
        """
        return cls(sink=sink, **settings)

    @classmethod
    def wrap(cls, coordinator: Any, **settings: Any) -> Self:
        """Return a sink that submits to a coordinator, one item a row, and stops it at the end.

        Args:
            coordinator: A coordinator that was not stopped yet.
            settings: `convert`, `coord_id`, `guard`, `poll`, `stall_after`, `stop_timeout`.
        """
        return cls(coordinator=coordinator, **settings)

    def check(self) -> None:
        """Look whether the packages are there.

        Raises:
            MissingDependencyError: If one is not installed.
        """
        require_optional("market_data_store", extra="store")
        if self.convert is None:
            require_optional("market_data_core", extra="core")

    async def open(
        self,
        context: NodeContext,
        schema: Schema | None,  # noqa: ARG002  the first batch tells
    ) -> AcknowledgedWriter | SuppliedWriter:
        """Start the coordinator.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            SinkError: If the coordinator cannot run.
            ConfigError: If it cannot be guarded, or not take part in checkpoints.
        """
        watch = WatchSettings(
            duration_ns(self.poll) / 1e9,
            duration_ns(self.stall_after) / 1e9,
            duration_ns(self.stop_timeout) / 1e9,
        )
        convert = self.convert or to_core
        writer: AcknowledgedWriter | SuppliedWriter
        if self.coordinator is None:
            settings = AcknowledgedSettings(
                self.capacity, self.workers, self.coord_id, self.retry_policy, watch
            )
            writer = AcknowledgedWriter(self.sink, convert, settings, context)
        else:
            if context.job is not None:
                msg = (
                    "a coordinator that is supplied does not tell when rows are written, so it "
                    "cannot take part in checkpoints; use `from_sink`"
                )
                raise ConfigError(msg, parameter="coordinator")
            link = CoordinatorLink(self.coordinator, self.coord_id, watch, context.clock)
            writer = SuppliedWriter(
                self.coordinator, link, convert, context.account, guard=self.guard
            )
        await writer.start()
        return writer

    def read(self) -> pa.Table:
        """Refuse: only the store knows what is in it.

        Raises:
            OutputError: Always.
        """
        msg = f"what `{self.coord_id}` has written cannot be read back here; ask the store"
        raise OutputError(msg)

"""A write coordinator that somebody else has made."""

from __future__ import annotations

__all__ = ("SuppliedWriter",)

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

from market_data_pipeline.adapters.coordinator_link import CoordinatorLink
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.errors import ConfigError, SchemaError

_FLOOR_S: Final = 0.05


class SuppliedWriter:
    """Submits rows to a coordinator, one item a row, for as long as it is in health.

    Rows in its queue are `held`; those it has taken out of it count as written, which is
    all that can be known before it has stopped.

    Args:
        coordinator: The coordinator.
        link: What watches it.
        convert: Makes items of rows, one of each.
        account: Where rows are counted.
        guard: Whether to keep its workers from stalling.
    """

    def __init__(
        self,
        coordinator: Any,
        link: CoordinatorLink,
        convert: Callable[[Batch], Sequence[Any]],
        account: Account,
        *,
        guard: bool,
    ) -> None:
        self._coordinator = coordinator
        self._link = link
        self._convert = convert
        self._account = account
        self._submitted = 0
        self._dropped = 0
        if guard:
            _guard(coordinator)

    async def start(self) -> None:
        """Start it, unless it runs."""
        await self._link.start()

    async def write(self, batch: Batch) -> None:
        """Submit rows; wait while the queue is full.

        Raises:
            SinkError: If a worker died, or nothing is written any more.
            SchemaError: If the conversion does not make one item of each row.
        """
        items = list(self._convert(batch))
        if len(items) != len(batch):
            msg = f"`convert` must make one item of each row, made {len(items)} of {len(batch)}"
            raise SchemaError(msg)
        # What is not submitted in the end is held all the same: it is in no store.
        self._account.held += len(batch)
        self._link.check_now_and_then()
        await self._link.guarded(self._coordinator.submit_many(items))
        self._submitted += len(batch)
        self._count()

    async def finish(self) -> None:
        """Wait until nothing waits, stop it, and look what it left.

        Raises:
            SinkError: If a worker died, rows were left, or could not be written.
        """
        await self._link.drain()
        await self._link.stop(drain=True)
        self._link.check_stopped()
        self._count()

    async def abort(self) -> None:
        """Stop it; what waits is given up."""
        await self._link.stop(drain=False)

    def on_pressure(self, listener: Callable[[Pressure], None] | None) -> None:
        """Call a function for each feedback event of the coordinator; None to stop."""
        self._link.on_pressure(listener)

    def pressure(self) -> Pressure:
        """Return how many items wait."""
        return self._link.pressure()

    def _count(self) -> None:
        fresh = self._link.dropped()
        self._dropped += fresh
        self._account.add("dropped", fresh)
        held = min(self._link.waiting, self._submitted - self._dropped)
        self._account.held = held
        self._account.rows_out = self._submitted - self._dropped - held


def _guard(coordinator: Any) -> None:
    """Keep workers from waiting with a time-out of nothing, with which they get nothing.

    Raises:
        ConfigError: If the coordinator is not built as is known.
    """
    queue: Any = getattr(coordinator, "_q", None)
    get: Any = getattr(queue, "get", None)
    if get is None:
        msg = "this coordinator has no queue that could be guarded; set `guard=False`"
        raise ConfigError(msg, parameter="guard")
    warnings.warn(
        "`guard=True` changes how the coordinator waits, through a name that is not public; "
        "build it with `StoreSinkAdapter.from_sink` instead where that is possible",
        RuntimeWarning,
        stacklevel=4,
    )

    async def get_guarded(timeout: float | None = None) -> Any:  # noqa: ASYNC109  the store's own
        return await get(timeout if timeout is None else max(timeout, _FLOOR_S))

    queue.get = get_guarded

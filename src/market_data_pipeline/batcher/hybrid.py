"""Objects gathered one by one: a door to the thresholds of the engine's batcher."""

from __future__ import annotations

__all__ = ("HybridBatcher",)

from datetime import timedelta
from typing import Any, ClassVar

from market_data_pipeline.batcher.batch import BatchRows
from market_data_pipeline.batcher.thresholds import Batcher
from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.errors import BatcherError, ConfigError
from market_data_pipeline.objects import batch_of_objects, objects_of
from market_data_pipeline.symbols import SymbolTable


class HybridBatcher:
    """Gathers bars until there are enough, or the first has waited long enough.

    In a pipeline its settings become a node `batch`; given bars by hand it drives the
    same thresholds. It never drops one: a full batch leaves at once, so no more than
    `max_rows` wait, and there is room for as many whatever `op_queue_max` says.
    """

    drop_policies: ClassVar[tuple[str, ...]] = ("oldest", "newest", "block")

    def __init__(
        self,
        max_rows: int = 500,
        max_bytes: int = 512_000,
        flush_ms: float = 100,
        op_queue_max: int = 8,
        drop_policy: str = "oldest",
        *,
        clock: Clock | None = None,
    ) -> None:
        """Settle the thresholds.

        Args:
            max_rows: Bars of a full batch, > 0.
            max_bytes: Bytes of bars that make a batch ready before that, >= 0; with 0
                each bar is a batch.
            flush_ms: Milliseconds after which `add` gives up what is held, >= 0.
            op_queue_max: Bars that may wait; at least `max_rows` always may.
            drop_policy: What a queue that is full would do; this one never is.
            clock: The time that passes; the machine's by default.

        Raises:
            ConfigError: If there is no such policy.
        """
        if isinstance(drop_policy, str) and drop_policy not in self.drop_policies:
            names = ", ".join(f"`{name}`" for name in self.drop_policies)
            msg = f"`drop_policy` must be one of {names}, was `{drop_policy}`"
            raise ConfigError(msg, parameter="drop_policy")
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.flush_ms = flush_ms
        self.op_queue_max = op_queue_max
        self.drop_policy = drop_policy
        self._clock = clock or SystemClock()
        self._symbols = SymbolTable()
        self._batcher: Batcher | None = None
        self._added = self._flushed = self._given = 0

    def component(self) -> BatchRows:
        """Return the node that gathers the same in a graph."""
        return BatchRows(
            rows=self.max_rows,
            bytes=max(1, self.max_bytes),
            interval=timedelta(milliseconds=self.flush_ms),
        )

    @property
    def capacity(self) -> int:
        """How many bars may wait."""
        return max(self.op_queue_max, self.max_rows)

    async def add(self, bar: Any) -> list[Any] | None:
        """Take a bar; return the batch it completes, or whose time has come, else None.

        Raises:
            BatcherError: If the settings are no thresholds.
        """
        row = batch_of_objects((bar,), self._symbols)
        self._added += 1
        return self._ready(self._thresholds().add(row, self._clock.monotonic()))

    async def flush(self) -> list[Any] | None:
        """Return all that is held, None if that is nothing."""
        rest = self._thresholds().take()
        return self._ready([] if rest is None else [rest])

    def get_metrics(self) -> dict[str, int]:
        """Return what was taken, given and dropped so far."""
        waiting = 0 if self._batcher is None else self._batcher.rows
        return {
            "items_added": self._added,
            "items_flushed": self._given,
            "items_dropped": 0,
            "batches_flushed": self._flushed,
            "queue_depth": waiting,
            "capacity": self.capacity,
        }

    def _thresholds(self) -> Batcher:
        if self._batcher is None:
            try:
                self._batcher = Batcher(
                    rows=self.max_rows,
                    bytes=max(1, self.max_bytes),
                    interval_s=self.flush_ms / 1_000,
                )
            except (TypeError, ConfigError) as err:
                msg = f"the batcher's settings cannot be: {err}"
                raise BatcherError(msg) from err
        return self._batcher

    def _ready(self, batches: list[Any]) -> list[Any] | None:
        given = [item for batch in batches for item in objects_of(batch)]
        if not given:
            return None
        self._flushed += 1
        self._given += len(given)
        return given

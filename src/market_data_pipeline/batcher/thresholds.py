"""Gathering small batches before a sink, up to a number of rows, of bytes, or a time."""

from __future__ import annotations

__all__ = ("Batcher",)

from typing import final

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError


@final
class Batcher:
    """Gathers batches until there are enough rows or bytes, or the first has waited enough.

    It holds no thread, task or clock: whoever drives it calls `take` once `due_s` has
    come. Rows stay in order and none is lost. Rows of another schema never share a batch.

    Attributes:
        due_s: When what is held must go, in the seconds that `add` is told; None if
            nothing is held or no interval is set.
        rows: Rows held.
        bytes: Bytes held.
    """

    __slots__ = ("_bytes_max", "_held", "_interval_s", "_rows_max", "bytes", "due_s", "rows")

    def __init__(
        self,
        *,
        rows: int | None = None,
        bytes: int | None = None,  # noqa: A002
        interval_s: float | None = None,
    ) -> None:
        """Set the thresholds; None for none, and with none at all batches pass through.

        Args:
            rows: Rows of a full batch, > 0; a full batch has exactly as many.
            bytes: Bytes that make a batch ready, > 0; it may be larger by one addition.
            interval_s: Longest time that a row is held, >= 0.

        Raises:
            ConfigError: If a threshold is out of range.
        """
        for name, value in (("rows", rows), ("bytes", bytes)):
            if value is not None and value <= 0:
                msg = f"`{name}` must be positive, was {value}"
                raise ConfigError(msg, parameter=name)
        if interval_s is not None and not interval_s >= 0:
            msg = f"`interval_s` must not be negative, was {interval_s}"
            raise ConfigError(msg, parameter="interval_s")
        self._rows_max = rows
        self._bytes_max = bytes
        self._interval_s = interval_s
        self._held: list[Batch] = []
        self.rows = 0
        self.bytes = 0
        self.due_s: float | None = None

    def add(self, batch: Batch, now_s: float) -> list[Batch]:
        """Take rows and return the batches that are ready, in order.

        Args:
            batch: Rows; not changed.
            now_s: Seconds of the driver's monotonic clock.
        """
        if self._rows_max is None and self._bytes_max is None and self._interval_s is None:
            return [batch]
        ready: list[Batch] = []
        if self._held and not _alike(self._held[0], batch):
            ready += self._taken()
        if len(batch):
            self._hold(batch, now_s)
            ready += self._full(now_s)
        if self.due_s is not None and now_s >= self.due_s:
            ready += self._taken()
        return ready

    def take(self) -> Batch | None:
        """Return all that is held as one batch, or None if that is nothing."""
        if not self._held:
            return None
        batch = Batch.concat(self._held)
        self._reset()
        return batch

    def _taken(self) -> list[Batch]:
        batch = self.take()
        return [] if batch is None else [batch]

    def _hold(self, batch: Batch, now_s: float) -> None:
        self._held.append(batch)
        self.rows += len(batch)
        self.bytes += batch.nbytes
        if self.due_s is None and self._interval_s is not None:
            self.due_s = now_s + self._interval_s

    def _full(self, now_s: float) -> list[Batch]:
        full: list[Batch] = []
        limit = self._rows_max
        if limit is not None and self.rows >= limit:
            rest = Batch.concat(self._held)
            while len(rest) >= limit:
                full.append(rest.slice(0, limit))
                rest = rest.slice(limit, len(rest))
            self._reset()
            if len(rest):
                self._hold(rest, now_s)
        if self._bytes_max is not None and self.bytes >= self._bytes_max:
            full += self._taken()
        return full

    def _reset(self) -> None:
        self._held = []
        self.rows = 0
        self.bytes = 0
        self.due_s = None


def _alike(a: Batch, b: Batch) -> bool:
    same = a.schema is b.schema or a.schema == b.schema
    return same and a.symbols is b.symbols

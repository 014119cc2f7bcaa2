"""Let at most so many rows pass in a second."""

from __future__ import annotations

__all__ = ("Throttle",)

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Final, Literal

import numpy as np

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError, SnapshotError
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Schema

_SECOND_NS: Final = 1_000_000_000
_MOST_UNITS: Final = 1 << 62


@component("throttle")
class Throttle:
    """Let at most so many rows pass in a second: a token bucket.

    The bucket holds `burst` tokens, is full at the start and is refilled at `rate`; a row
    takes one token.

    With `mode: drop` the bucket is refilled by event time, and a row without a token goes
    to the output `dropped` and is counted: which rows pass does not depend on when the
    run takes place. Event time that falls back does not refill the bucket.
    With `mode: delay` the bucket is refilled by the clock, and rows wait for their tokens;
    a batch leaves whole when there are tokens for all of its rows.

    Backpressure: a row that waits keeps the rows behind it waiting, up to the source.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: `delay` lets every row through once; `drop` loses rows by design.

    Memory: one bucket, of two numbers.

    Attributes:
        rate: Rows per second.
        burst: Rows that may pass at once after a pause; by default those of one second, at
            least one.
        mode: What happens to a row without a token.
    """

    rate: float
    burst: int | None = None
    mode: Literal["delay", "drop"] = "delay"

    outputs: ClassVar[tuple[str, ...]] = ("out", "dropped")
    side_outputs: ClassVar[tuple[str, ...]] = ("dropped",)

    def __post_init__(self) -> None:
        """Refuse a bucket that lets nothing pass.

        Raises:
            ConfigError: If `rate` or `burst` is not positive, or too large to be counted.
        """
        if not 0 < self.rate < float("inf"):
            msg = f"`rate` of `throttle` must be positive, was {self.rate}"
            raise ConfigError(msg, parameter="rate")
        if self.burst is not None and self.burst < 1:
            msg = f"`burst` of `throttle` must be at least 1, was {self.burst}"
            raise ConfigError(msg, parameter="burst")
        refill, cost, capacity = self.units()
        if capacity + refill + cost > _MOST_UNITS:
            most = _MOST_UNITS // cost // 2
            msg = f"`burst` of `throttle` must be at most {most} at this rate"
            raise ConfigError(msg, parameter="burst")

    def units(self) -> tuple[int, int, int]:
        """Return the bucket in whole units: refill per nanosecond, cost of a row, capacity."""
        rate = Fraction(repr(self.rate))
        burst = self.burst if self.burst is not None else max(1, int(rate))
        cost = _SECOND_NS * rate.denominator
        return rate.numerator, cost, burst * cost

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns as they come.

        Raises:
            SchemaError: If rows are to be dropped by event time and have none.
        """
        if self.mode == "drop" and not schema.time:
            msg = f"`throttle` drops by event time, and {schema.name} rows have none"
            raise SchemaError(msg, node="throttle")
        return {"out": schema, "dropped": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted of the output."""
        return wanted

    def build(self, context: NodeContext) -> DroppingOperator | DelayingOperator:
        """Make the running half."""
        if self.mode == "drop":
            return DroppingOperator(self, context)
        return DelayingOperator(self, context)


class DroppingOperator(Stateless):
    """The running half of `Throttle` that drops, by event time."""

    def __init__(self, settings: Throttle, context: NodeContext) -> None:
        from market_data_pipeline.kernels.token_bucket import take_tokens

        self._take = take_tokens
        self._refill, self._cost, self._capacity = settings.units()
        self._state = np.array([self._capacity, TIME_MIN], np.int64)
        self._account = context.account
        self._is_read = context.is_read("dropped")

    def process(self, batch: Batch) -> Outputs:
        """Return the rows for which there are tokens, and the others."""
        rows = len(batch)
        if not rows:
            return ()
        keep = np.empty(rows, np.bool_)
        times = np.ascontiguousarray(batch.times)
        kept = self._take(self._state, times, self._refill, self._cost, self._capacity, keep)
        self._account.add("dropped", rows - kept)
        if kept == rows:
            return (("out", batch),)
        if not kept:
            return (("dropped", batch),)
        out = ("out", keep_rows(batch, keep, kept))
        if not self._is_read:
            return (out,)
        return (out, ("dropped", keep_rows(batch, ~keep, rows - kept)))

    def snapshot(self) -> Snapshot:
        """Return what is in the bucket."""
        level, latest = self._state.tolist()
        return Snapshot(scalars={"level": level, "latest": latest})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a bucket.

        Raises:
            SnapshotError: If the state is not one of a bucket.
        """
        if set(snapshot.scalars) != {"level", "latest"}:
            msg = "the state is not one of `throttle`"
            raise SnapshotError(msg)
        level = min(snapshot.scalars["level"], self._capacity)
        self._state[:] = level, snapshot.scalars["latest"]


class DelayingOperator(Stateless):
    """The running half of `Throttle` that delays, by the clock."""

    def __init__(self, settings: Throttle, context: NodeContext) -> None:
        refill, cost, capacity = settings.units()
        self._seconds_per_row = cost / refill / _SECOND_NS
        self._burst_s = capacity / refill / _SECOND_NS
        self._clock = context.clock
        # The time at which the bucket is full again, on the clock; None before the start.
        self._full_at: float | None = None

    async def process(self, batch: Batch) -> Outputs:
        """Return the rows once there are tokens for them."""
        if not len(batch):
            return ()
        now = self._clock.monotonic()
        full_at = now if self._full_at is None else max(now, self._full_at)
        self._full_at = full_at + len(batch) * self._seconds_per_row
        delay = self._full_at - self._burst_s - now
        if delay > 0:
            await self._clock.sleep(delay)
        return (("out", batch),)

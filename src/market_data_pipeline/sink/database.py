"""Bars to a database, in the record layout of version 0.8."""

from __future__ import annotations

__all__ = ("DatabaseSink", "DatabaseSinkSettings")

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from market_data_pipeline.clock import Clock
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.sink.queued import QueuedSink, call, close_writer
from market_data_pipeline.sink.retry import RetryPolicy, is_transient
from market_data_pipeline.sink.write_queue import (
    Counters,
    DeadLetterHook,
    OnFailure,
    queue_policy,
)


@dataclass
class DatabaseSinkSettings:
    """How bars are written to a database.

    Attributes:
        vendor: Where the bars come from, a column of each record.
        timeframe: How long a bar is, a column of each record.
        workers: How many batches are written at a time; with 0, those who call `flush`
            and `close` write.
        queue_max: How many batches may wait.
        backpressure_policy: What to do where there is no room: `block`, `drop_oldest` (or
            `oldest`), `drop_newest` (or `newest`).
        retry_max_attempts: How often a batch is tried at most, the first time included.
        retry_backoff_ms: Milliseconds before the second attempt; then twice as long each.
    """

    vendor: str = "market_data_pipeline"
    timeframe: str = "1s"
    workers: int = 2
    queue_max: int = 200
    backpressure_policy: str = "block"
    retry_max_attempts: int = 5
    retry_backoff_ms: int = 50


class DatabaseSink(QueuedSink):
    """Writes bars to a database, exactly and each row at most once per key.

    Without a processor the bars go to the table `bars` of the PostgreSQL database at
    `database_url` (or `DATABASE_URL`), which is made where it is missing. A record there
    takes the place of one with the same tenant, vendor, symbol, timeframe and time.

    Delivery: at least once, and since records are replaced, effectively once.

    Attributes:
        tenant_id: Who owns the bars, a column of each record.
        settings: As they were given.
    """

    kind = "database"

    def __init__(
        self,
        *,
        tenant_id: str,
        settings: DatabaseSinkSettings | None = None,
        ctx: PipelineContext | None = None,
        processor: Any = None,
        database_url: str | None = None,
        dead_letters: DeadLetterHook | None = None,
        on_failure: OnFailure = "raise",
        close_timeout_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Settle where to write, and how.

        Args:
            tenant_id: Who owns the bars.
            settings: How to write; None for the defaults.
            ctx: Whose pipeline it is.
            processor: What writes: an object with `upsert_bars(records)`, plain or a
                coroutine function, or a `BatchWriter`. None for PostgreSQL.
            database_url: The database, where there is no processor; None for the
                environment variable `DATABASE_URL`.
            dead_letters: Takes batches that could not be written.
            on_failure: Whether `flush` and `close` raise for batches nobody took.
            close_timeout_s: Seconds after which `close` gives up what waits.
            clock: Time; None for the machine's.

        Raises:
            ConfigError: If there is no `tenant_id`, or no such policy. It is a
                `ValueError`.
        """
        if not tenant_id:
            msg = "tenant_id is required"
            raise ConfigError(msg, parameter="tenant_id")
        super().__init__(
            ctx=ctx,
            dead_letters=dead_letters,
            on_failure=on_failure,
            clock=clock,
            close_timeout_s=close_timeout_s,
        )
        self.tenant_id = tenant_id
        self.settings = settings if settings is not None else DatabaseSinkSettings()
        queue_policy(self.settings.backpressure_policy)
        self._processor = processor
        self._database_url = database_url

    def __repr__(self) -> str:
        return f"DatabaseSink(tenant_id={self.tenant_id!r}, settings={self.settings!r})"

    # Names of version 0.8 for what is public elsewhere

    @property
    def _queue(self) -> asyncio.Queue[Sequence[Any]] | None:
        return self._writes.queue if self._writes is not None else None

    @property
    def _workers(self) -> list[asyncio.Task[None]]:
        return self._writes.workers if self._writes is not None else []

    @property
    def _metrics(self) -> Counters:
        return self.counters

    @staticmethod
    def _is_transient(exc: BaseException) -> bool:
        return is_transient(exc)

    async def _commit(self, batch: Sequence[Any]) -> int:
        return await self._deliver(batch)

    async def _process_with_retry(self, batch: Sequence[Any], worker_id: int) -> bool:
        writes = await self._started()
        return await writes.process(batch, worker_id) is None

    # What is its own

    def _queue_settings(self) -> tuple[int, int, object, RetryPolicy]:
        given = self.settings
        retry = RetryPolicy(
            given.retry_max_attempts, given.retry_backoff_ms / 1000, is_transient=is_transient
        )
        return given.queue_max, given.workers, given.backpressure_policy, retry

    def _tenant(self) -> str:
        return self.tenant_id

    async def _open(self) -> None:
        if self._processor is not None:
            return
        url = self._database_url or os.environ.get("DATABASE_URL")
        if not url:
            msg = (
                "`DatabaseSink` needs a database: give it `database_url` or a `processor`, "
                "or set the environment variable `DATABASE_URL`"
            )
            raise ConfigError(msg, parameter="database_url")
        from market_data_pipeline.sink.postgres_bars import PostgresBars

        self._processor = PostgresBars(url, connections=max(1, self.settings.workers))

    async def _deliver(self, batch: Sequence[Any]) -> int:
        records = self._to_records(batch)
        upsert = getattr(self._processor, "upsert_bars", None)
        await call(upsert if upsert is not None else self._processor.write_rows, records)
        return len(records)

    def _to_records(self, batch: Sequence[Any]) -> list[dict[str, Any]]:
        given = self.settings
        return [
            {
                "tenant_id": self.tenant_id,
                "vendor": given.vendor,
                "symbol": bar.symbol,
                "timeframe": given.timeframe,
                "ts": _with_zone(bar.timestamp),
                "open_price": bar.open,
                "high_price": bar.high,
                "low_price": bar.low,
                "close_price": bar.close,
                "volume": bar.volume,
                "trade_count": bar.trade_count,
                "vwap": bar.vwap,
                "metadata": dict(bar.metadata) if bar.metadata else {},
            }
            for bar in batch
        ]

    async def _free(self) -> None:
        if self._processor is not None:
            await close_writer(self._processor)


def _with_zone(time: Any) -> Any:
    """Return a time with its zone; one without is UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time

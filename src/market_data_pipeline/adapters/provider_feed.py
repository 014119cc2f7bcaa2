"""What keeps a provider streaming: a task that pulls, waits, tries again and says so."""

from __future__ import annotations

__all__ = ("FeedLimits", "Mark", "ProviderFeed")

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from market_data_pipeline.adapters.provider_calls import END, ProviderStream
from market_data_pipeline.adapters.retrying import Backoff, OnlyRetryable, retry_after_s
from market_data_pipeline.adapters.throttling import Throttle
from market_data_pipeline.clock import Clock
from market_data_pipeline.errors import SourceError

_CLOSE_S: Final = 30.0


class Mark(Enum):
    """What became of the feed between two records."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """When to wait and when to give up.

    Attributes:
        rows: Records that may wait to be read.
        retries: Failures in a row after which no other try is made.
        stable_s: Seconds a feed must have been up for its failure to be the first again.
    """

    rows: int
    retries: int
    stable_s: float


class ProviderFeed:
    """Pulls records from a provider into a bounded buffer, in a task of its own.

    So the provider is asked for the next record while earlier ones are on their way; once
    the buffer is full it is not asked at all. After a failure that is worth another try
    the stream is closed, and opened again after a delay. A feed that comes up only to fail
    at once is not up: its failures add up until it has stayed up for a while.

    Args:
        stream: The stream to pull.
        name: Name of the provider, for messages.
        limits: When to wait and when to give up.
        backoff: The delays.
        throttle: What each record passes before it is asked for.
        clock: Time for delays.
    """

    def __init__(
        self,
        stream: ProviderStream,
        name: str,
        limits: FeedLimits,
        *,
        backoff: Backoff,
        throttle: Throttle,
        clock: Clock,
    ) -> None:
        self._stream = stream
        self._name = name
        self._limits = limits
        self._backoff = backoff
        self._throttle = throttle
        self._clock = clock
        self._buffer: deque[Any] = deque()
        self._rows = 0
        self._up_since_s: float | None = None
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failures = 0

    @property
    def is_up(self) -> bool:
        """True if the last thing heard of the feed was a record."""
        return self._up_since_s is not None

    async def wait(self) -> bool:
        """Wait for news; return False once all has been taken and no more will come.

        Raises:
            SourceError: If the provider failed for good.
        """
        if self._task is None:
            # Kept, and awaited in `close`: it lives as long as the reader.
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(lambda _: self._news.set())
        await self.news()
        if not self._buffer:
            self._task.result()
        return bool(self._buffer)

    @property
    def has_news(self) -> bool:
        """True if there is something to take, or the feed has ended."""
        return bool(self._buffer) or (self._task is not None and self._task.done())

    async def news(self) -> None:
        """Return once there is something to take, or the feed has ended."""
        while not self.has_news:
            self._news.clear()
            await self._news.wait()

    def take(self) -> list[Any]:
        """Return all that waits: records, and marks between them."""
        taken = list(self._buffer)
        self._buffer.clear()
        self._rows = 0
        self._room.set()
        return taken

    async def close(self) -> int:
        """Stop pulling; return how many records were pulled and not taken.

        Raises:
            SourceError: If the provider does not let go.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CLOSE_S)
            if not self._task.done():
                msg = f"provider `{self._name}` did not stop within {_CLOSE_S:g} s"
                raise SourceError(msg)
            if not self._task.cancelled():
                self._task.exception()  # told by `wait`, or of no interest any more
        rows = self._rows
        self._buffer.clear()
        self._rows = 0
        return rows

    async def _run(self) -> None:
        while True:
            attempt = OnlyRetryable()
            with attempt:
                try:
                    await self._stream.open()
                    await self._pull()
                finally:
                    await self._stream.close()
            if attempt.error is None:
                return
            delay_s = self._failed(attempt.error)
            await self._clock.sleep(delay_s)

    async def _pull(self) -> None:
        take, allow = self._stream.next, self._throttle.allow
        rows_max = self._limits.rows
        while True:
            while self._rows >= rows_max:
                self._room.clear()
                await self._room.wait()
            await allow()
            record = await take()
            if record is END:
                return
            if self._up_since_s is None:
                self._up_since_s = self._clock.monotonic()
                self._buffer.append(Mark.UP)
            self._buffer.append(record)
            self._rows += 1
            self._throttle.saw()
            self._news.set()

    def _failed(self, err: BaseException) -> float:
        """Take a failure; return the delay before the next try."""
        since = self._up_since_s
        if since is not None and self._clock.monotonic() - since >= self._limits.stable_s:
            self.failures = 0
            self._backoff.reset()
        self._up_since_s = None
        self.failures += 1
        if self.failures > self._limits.retries:
            msg = (
                f"provider `{self._name}` failed {self.failures} times in a row, the last time "
                f"with {type(err).__name__}: {err}; raise `retries` to go on for longer"
            )
            raise SourceError(msg) from err
        if not (self._buffer and self._buffer[-1] is Mark.DOWN):
            self._buffer.append(Mark.DOWN)
            self._news.set()
        return max(self._backoff.next_s(), retry_after_s(err))

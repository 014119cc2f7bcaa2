"""Several sources of quotes as one."""

from __future__ import annotations

__all__ = ("RetryableError", "SourceRouter")

import inspect
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from market_data_pipeline.clock import Clock
from market_data_pipeline.errors import ConfigError, RetryableError
from market_data_pipeline.source.base import SourceStatus
from market_data_pipeline.source.capabilities import SourceCapabilities
from market_data_pipeline.source.routing import Lost, Routing, Strategy, strategy_of

_RETRYABLE = (RetryableError, ConnectionError, TimeoutError)


class SourceRouter:
    """Gives the quotes of one of several sources, and of another one when it fails.

    A source has `stream()` and `close()`; `start`, `symbols` and `capabilities` are used
    where there are any. A `RetryableError`, a lost connection or a time-out makes another
    source take over; any other error is raised. What two sources both give may come twice
    where one takes over from the other.

    Args:
        sources: The sources, the preferred one first.
        strategy: `first`, `failover` (which goes back to an earlier one once it works
            again), `round_robin` or `fastest`.
        max_retries: How often a source that keeps failing is tried again.
        fail_back_sec: With `failover`, seconds until an earlier source is tried again.
        clock: The time that passes; the machine's by default.

    Attributes:
        sources: The sources.
    """

    def __init__(
        self,
        sources: Sequence[Any],
        strategy: Strategy | str = "first",
        max_retries: int = 3,
        *,
        fail_back_sec: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self.sources = list(sources)
        self.strategy = strategy
        self.max_retries = max_retries
        self._fail_back_s = fail_back_sec
        self._clock = clock
        self._turn = 0
        self._active: Any = None
        self._started: list[Any] = []
        self._routing()  # so that settings that cannot be are refused here

    def _routing(self) -> Routing[Any]:
        sources = self.sources
        if self.strategy == "round_robin" and sources:
            at = self._turn % len(sources)
            sources = sources[at:] + sources[:at]
        return Routing(
            [source.stream for source in sources],
            strategy_of(self.strategy),
            self.max_retries,
            fail_back_s=self._fail_back_s,
            retryable=_RETRYABLE,
            clock=self._clock,
        )

    @property
    def symbols(self) -> list[str]:
        """The symbols of all sources, each once."""
        found = (getattr(source, "symbols", None) or () for source in self.sources)
        return list(dict.fromkeys(symbol for symbols in found for symbol in symbols))

    @property
    def capabilities(self) -> SourceCapabilities:
        """What any of the sources can give."""
        found = SourceCapabilities(0)
        for source in self.sources:
            own = getattr(source, "capabilities", None)
            if isinstance(own, SourceCapabilities):
                found |= own
        return found

    def add_source(self, source: Any) -> None:
        """Add a source; it is used from the next `stream` on."""
        self.sources.append(source)

    def remove_source(self, source: Any) -> None:
        """Take a source out; from the next `stream` on it is not used.

        Raises:
            ConfigError: If it is not there.
        """
        if source not in self.sources:
            msg = f"the source {type(source).__name__} is none of the router's"
            raise ConfigError(msg, parameter="source")
        self.sources.remove(source)

    async def start(self) -> None:
        """Start the sources that can be started and are not."""
        for source in self.sources:
            start = getattr(source, "start", None)
            if callable(start) and not any(source is other for other in self._started):
                self._started.append(source)
                await _awaited(start())

    async def stream(self) -> AsyncGenerator[Any, None]:
        """Give the quotes.

        Raises:
            SourceError: If all sources have failed as often as they may.
            ConfigError: If there are no sources.
        """
        await self.start()
        routing = self._routing()
        streams = [source.stream for source in self.sources]
        items = routing.stream()
        try:
            async for item in items:
                if isinstance(item, Lost):
                    continue
                if routing.active is not None:
                    at = self._turn if self.strategy == "round_robin" else 0
                    self._active = self.sources[(routing.active + at) % len(streams)]
                yield item
        finally:
            self._turn += 1
            await items.aclose()

    async def status(self) -> SourceStatus:
        """Return whether a source gives quotes, and which."""
        if self._active is None:
            return SourceStatus(connected=False, detail="no source is read")
        return SourceStatus(connected=True, detail=f"reads {type(self._active).__name__}")

    async def close(self) -> None:
        """Close every source, whatever closing another one may raise."""
        self._active = None
        self._started.clear()
        failed: Exception | None = None
        for source in self.sources:
            try:
                await _awaited(source.close())
            except (OSError, RuntimeError) as err:
                failed = failed or err
        if failed is not None:
            raise failed


async def _awaited(result: Any) -> None:
    if inspect.isawaitable(result):
        await result

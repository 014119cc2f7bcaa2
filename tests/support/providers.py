"""Providers for tests: the two shapes a call may have, failures by script, and records."""

from __future__ import annotations

__all__ = ("START", "START_NS", "FakeProvider", "Quote", "TransientError", "quote")

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

START = datetime(2024, 5, 6, 13, 30, tzinfo=UTC)
START_NS = 1_715_002_200_000_000_000


class TransientError(Exception):
    """A failure that is worth another try."""

    retryable = True

    def __init__(self, retry_after_sec: float | None = None) -> None:
        super().__init__("for now")
        self.retry_after_sec = retry_after_sec


@dataclass(frozen=True)
class Quote:
    symbol: str | None
    timestamp: Any
    bid: Any = Decimal("1.25")
    ask: Any = Decimal("1.75")
    bid_size: int | None = 1
    ask_size: int | None = 2
    last: Any = None
    volume: int = 0


def quote(at_s: float = 0, symbol: str | None = "A", **values: Any) -> Quote:
    """Return a quote so many seconds after the start."""
    return Quote(symbol, START + timedelta(seconds=at_s), **values)


class FakeProvider:
    """Plays one script for each time it is asked; the last one again and again.

    What stands in a script is given; an exception is raised, a number is slept on, `...`
    waits for ever.

    Attributes:
        log: What happened to it.
    """

    name = "fake"

    def __init__(
        self,
        *scripts: Iterable[Any],
        shape: Literal["generator", "coroutine", "list", "iterator"] = "generator",
    ) -> None:
        self._scripts = [list(script) for script in scripts]
        self._shape = shape
        self.log: list[str] = []
        self.asked: list[Any] = []
        self.given = 0

    def stream_quotes(self, instruments: list[Any]) -> Any:
        return self._stream(instruments)

    def stream_bars(self, resolution: str, instruments: list[Any]) -> Any:
        return self._stream(resolution, instruments)

    async def stream_trades(self, instruments: list[Any]) -> Any:
        raise NotImplementedError

    def _stream(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        self.log.append("asked")
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        if self._shape == "list":
            return script
        if self._shape == "iterator":
            return iter(script)
        return self._soon(script) if self._shape == "coroutine" else self._play(script)

    async def _soon(self, script: list[Any]) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        return self._play(script)

    async def _play(self, script: list[Any]) -> AsyncIterator[Any]:
        try:
            for item in script:
                if isinstance(item, Exception):
                    raise item
                if item is ...:
                    await asyncio.get_running_loop().create_future()
                elif callable(item):
                    item()
                else:
                    self.given += 1
                    yield item
        finally:
            self.log.append("stream closed")

    async def close(self) -> None:
        self.log.append("provider closed")

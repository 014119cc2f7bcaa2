"""The figures twice a second, read once for everyone who looks on."""

from __future__ import annotations

__all__ = ("LiveFeed",)

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator
from typing import Any, Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.redaction import redacted
from market_data_pipeline.server.figures import Observer

_RETRY_MS: Final = 1_000

_log = logging.getLogger("market_data_pipeline.server")


class LiveFeed:
    """Server-sent events: one snapshot at a time, the newest; a slow reader misses some.

    Args:
        observer: What is looked through.
        every_s: Seconds between two looks.
        clock: Time outside the data.
    """

    def __init__(self, observer: Observer, every_s: float, clock: Clock) -> None:
        self._observer = observer
        self._every_s = every_s
        self._clock = clock
        self._snapshot = b""
        self._news = asyncio.Event()
        self._closed = False
        self._failed = False

    def look(self) -> dict[str, Any]:
        """Return the figures as they are now."""
        return self._observer.look()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                self._snapshot = _encoded(self._observer.look())
            except Exception as err:  # noqa: BLE001 - what looks on must not end what runs
                self._complain(err)
            else:
                self._failed = False
                self._tell()
            await self._clock.sleep(self._every_s)

    def close(self) -> None:
        """End all streams, so that a server can stop."""
        self._closed = True
        self._tell()

    async def events(self) -> AsyncIterator[bytes]:
        """Give the events of one reader; the first brings the history."""
        yield b"retry: %d\n\n" % _RETRY_MS
        first = {**self._observer.look(), "history": self._observer.history()}
        yield _event(_encoded(first))
        while not self._closed:
            await self._news.wait()
            if not self._closed:
                yield _event(self._snapshot)

    def _complain(self, err: Exception) -> None:
        if not self._failed:
            trace = "".join(traceback.format_exception(err))
            _log.error("the live figures cannot be read: %s", redacted(trace))
        self._failed = True

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()


def _encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"

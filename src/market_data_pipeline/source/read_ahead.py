"""A worker thread that makes the next things while the engine works on the last."""

from __future__ import annotations

__all__ = ("ReadAhead",)

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Calls a blocking function in one thread, at most `depth` results ahead.

    Args:
        make: Returns the next thing, None at the end; not called again after that, nor
            after an error. Never called from two threads at once.
        depth: Most results that wait to be taken.
    """

    def __init__(self, make: Callable[[], T | None], depth: int) -> None:
        self._make = make
        self._depth = depth
        self._made: deque[T | BaseException | None] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
        self._thread.start()

    async def get(self) -> T | None:
        """Return the next thing, None at the end and ever after.

        Nothing is lost if this is cancelled.

        Raises:
            BaseException: What `make` raised.
        """
        while True:
            with self._change:
                if self._made:
                    return self._taken()
                self._waiter = self._loop.create_future()
            await self._waiter

    def _taken(self) -> T | None:
        made = self._made[0]
        if made is None:
            return None
        if isinstance(made, BaseException):
            raise made
        self._made.popleft()
        self._change.notify()
        return made

    async def close(self) -> None:
        """Stop the thread and wait for it; what was not taken is thrown away."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while True:
            made: T | BaseException | None
            try:
                made = self._make()
            except BaseException as err:  # noqa: BLE001 - raised again where it is awaited
                made = err
            with self._change:
                self._made.append(made)
                waiter, self._waiter = self._waiter, None
                if waiter is not None and not self._closed:
                    self._loop.call_soon_threadsafe(_wake, waiter)
                if made is None or isinstance(made, BaseException):
                    return
                while len(self._made) >= self._depth and not self._closed:
                    self._change.wait()
                if self._closed:
                    return


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

"""Whose turn it is: batches that touch the same keys are written one after the other."""

from __future__ import annotations

__all__ = ("Turn", "Turns")

import asyncio
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, final


@final
class Turn:
    """The turn of one batch."""

    __slots__ = ("_before", "_done", "_keys", "_last")

    def __init__(
        self,
        keys: Collection[Hashable],
        last: dict[Hashable, asyncio.Future[None]],
    ) -> None:
        self._keys = keys
        self._last = last
        self._before: set[asyncio.Future[None]] = set()
        self._done: asyncio.Future[None] | None = None
        if keys:
            self._before = {last[key] for key in keys if key in last}
            self._done = asyncio.get_running_loop().create_future()
            last.update(dict.fromkeys(keys, self._done))

    async def come(self) -> None:
        """Return once all batches before this one that share a key are out of the way."""
        if self._before:
            # Not `await` on the futures themselves: cancelling this must not cancel them.
            await asyncio.wait(self._before)

    def leave(self) -> None:
        """Let those behind go on."""
        if self._done is not None:
            self._done.set_result(None)
            for key in self._keys:
                if self._last.get(key) is self._done:
                    del self._last[key]


@final
class Turns:
    """Gives turns in the order in which they are asked for."""

    def __init__(self, keys: Callable[[Sequence[Any]], Collection[Hashable]] | None) -> None:
        """Settle what tells batches apart.

        Args:
            keys: Returns the keys of a batch; None if any batches may overtake each other.
        """
        self._keys = keys
        self._last: dict[Hashable, asyncio.Future[None]] = {}

    def enter(self, items: Sequence[Any]) -> Turn:
        """Return the turn of a batch."""
        return Turn(self._keys(items) if self._keys is not None else (), self._last)

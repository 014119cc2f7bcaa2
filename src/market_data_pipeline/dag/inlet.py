"""What reads several channels: waits for any of them, and can be woken."""

from __future__ import annotations

__all__ = ("Inlet",)

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.messages import NOTHING_NEW, Watermark

M = TypeVar("M")


class Inlet(ABC, Generic[M]):
    """Reads several channels as one.

    Args:
        channels: The channels, in the order of the node's inputs.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._nudged = False
        for channel in channels:
            channel.on_ready = self._wake

    def nudge(self) -> None:
        """Make `receive` return `NOTHING_NEW` once, if it has nothing else to return."""
        self._nudged = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> M | Watermark:
        """Return the next message.

        Raises:
            BrokenChannelError: If a sender went away without sending the end.
        """
        while True:
            message = self._poll()
            if message is not None:
                return message
            if self._nudged:
                self._nudged = False
                return NOTHING_NEW
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    @abstractmethod
    def _poll(self) -> M | None:
        """Return the next message if there is one."""

    @abstractmethod
    def progress(self) -> dict[str, Any]:
        """Return what is known of the inputs, as plain data; rows that are held are not in it."""

    @abstractmethod
    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Take over what was known of those inputs that are still there."""

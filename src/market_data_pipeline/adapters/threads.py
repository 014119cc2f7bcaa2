"""Blocking calls in a thread, whose end is waited for also by who is cancelled."""

from __future__ import annotations

__all__ = ("in_thread",)

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """Return what a call gives that blocks; it is never left running."""
    done = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise

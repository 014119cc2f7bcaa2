"""Blocking work beside the event loop, waited for whatever happens."""

from __future__ import annotations

__all__ = ("in_thread",)

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, called in a thread.

    A caller that is cancelled waits for it all the same: what it does to the disk must not
    go on behind the back of whoever cleans up.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # looked at, or the loop complains that nobody did
        raise

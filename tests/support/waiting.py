"""Waiting in the event loop for what is so, not for time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

_TURNS_MAX = 1_000_000


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    for _ in range(_TURNS_MAX):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came to that")

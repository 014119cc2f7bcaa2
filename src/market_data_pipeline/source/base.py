"""What a source of quotes must be for version 0.8's pipelines."""

from __future__ import annotations

__all__ = ("SourceStatus", "TickSource")

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class SourceStatus:
    """Whether a source is connected.

    Attributes:
        connected: True while it can give quotes.
        detail: What is worth saying of it, empty if nothing is.
    """

    connected: bool
    detail: str = ""


@runtime_checkable
class TickSource(Protocol):
    """Gives quotes as they come.

    It may have besides: `symbols`, `capabilities`, `start()`, `health()`.
    """

    def stream(self) -> AsyncIterator[Any]:
        """Return the quotes, to be iterated over once."""
        ...

    async def status(self) -> SourceStatus:
        """Return whether it is connected."""
        ...

    async def close(self) -> None:
        """Free what it holds. Called again it does nothing."""
        ...

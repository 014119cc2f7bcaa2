"""What an operator must be for version 0.8's pipelines."""

from __future__ import annotations

__all__ = ("EventTimePolicy", "ObjectOperator", "StatefulOperator")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class EventTimePolicy:
    """What event time means to an operator.

    Attributes:
        allowed_lateness_sec: Seconds past the end of its window in which a row is taken.
        drop_late: Leave out rows that come later, and count them.
    """

    allowed_lateness_sec: float = 0.0
    drop_late: bool = True


@runtime_checkable
class ObjectOperator(Protocol):
    """Takes quotes one by one and makes something of some of them."""

    async def handle(self, quote: Any) -> Any | None:
        """Take one quote; return what it completed, or None."""
        ...


@runtime_checkable
class StatefulOperator(ObjectOperator, Protocol):
    """An operator that holds something until more has come."""

    async def flush_symbol(self, symbol: str) -> Any | None:
        """Give up what is held of one symbol."""
        ...

    async def flush_all(self) -> Sequence[Any]:
        """Give up all that is held."""
        ...

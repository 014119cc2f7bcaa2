"""Quotes that say nothing new."""

from __future__ import annotations

__all__ = ("Unchanged",)

from collections.abc import Mapping, Sequence
from typing import Any, Final

_SAID: Final = ("bid", "ask", "last", "bid_size", "ask_size", "volume")


class Unchanged:
    """Remembers what the last quote of each symbol said, its time apart."""

    def __init__(self) -> None:
        self._last: dict[Any, tuple[Any, ...]] = {}

    def left_out(self, records: Sequence[Any]) -> list[Any]:
        """Return the quotes that say something else than the one before of their symbol."""
        kept = []
        for record in records:
            symbol, *said = (_value(record, name) for name in ("symbol", *_SAID))
            said_now = tuple(said)
            if self._last.get(symbol) != said_now:
                self._last[symbol] = said_now
                kept.append(record)
        return kept


def _value(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name, None)

"""What a sink for bars must be, and what it writes to."""

from __future__ import annotations

__all__ = ("BatchWriter", "Row", "Sink")

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

Row: TypeAlias = Mapping[str, Any]
"""One record: values by column."""


@runtime_checkable
class Sink(Protocol):
    """Takes batches of bars.

    It may have besides: `capabilities`, `start()`, `flush()`, `health()`, `get_metrics()`.
    """

    async def write(self, batch: Sequence[Any]) -> None:
        """Take a batch; it may be written later."""
        ...

    async def close(self, drain: bool = True) -> None:  # noqa: FBT001, FBT002
        """Write what waits, or with `drain=False` give it up, and free what is held."""
        ...


@runtime_checkable
class BatchWriter(Protocol):
    """Where a sink with a queue writes to: a database, a broker, a test's list.

    It may have `aclose()` or `close()`, which the sink calls last.
    """

    async def write_rows(self, rows: Sequence[Row]) -> object:
        """Write all rows, or raise and write none of them.

        Called again with the same rows where it raised something transient, so rows
        that are there already must be replaced, not doubled.
        """
        ...

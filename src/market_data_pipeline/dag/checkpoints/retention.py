"""Lets sources forget what no checkpoint needs any more."""

from __future__ import annotations

__all__ = ("Retention",)

from collections.abc import Iterable

from market_data_pipeline.dag.boundary import boundary
from market_data_pipeline.dag.endpoints import RunningSource
from market_data_pipeline.dag.epochs import Position, RetainingReader


class Retention:
    """What sources that keep their rows gave up to each checkpoint of this run."""

    def __init__(self) -> None:
        self._kept: dict[int, list[tuple[RunningSource, Position]]] = {}

    def note(self, epoch: int, sources: Iterable[RunningSource]) -> None:
        """Note where sources stand at a checkpoint; called as they are at its barrier."""
        self._kept.setdefault(epoch, []).extend(
            (source, source.reader.position())
            for source in sources
            if isinstance(source.reader, RetainingReader)
        )

    async def release(self, oldest: int) -> None:
        """Let sources forget what lies before the oldest checkpoint that is kept.

        One that was taken by a run before this is not known here; what it needs is kept.

        Raises:
            NodeError: If a source cannot.
        """
        for source, position in self._kept.get(oldest, ()):
            with boundary(source.node):
                if isinstance(source.reader, RetainingReader):
                    await source.reader.release(position)
        self._kept = {epoch: at for epoch, at in self._kept.items() if epoch > oldest}

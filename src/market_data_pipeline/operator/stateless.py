"""What operators without state have in common."""

from __future__ import annotations

__all__ = ("Stateless",)

from market_data_pipeline.dag.nodes import Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError


class Stateless:
    """The part of an operator that has nothing to remember, hold or give up late."""

    def advance(self, watermark: int) -> Outputs:  # noqa: ARG002
        """Return nothing: progress without rows changes nothing."""
        return ()

    def finish(self) -> Outputs:
        """Return nothing: nothing is held."""
        return ()

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark as it came: no row is held back."""
        return watermark

    def snapshot(self) -> Snapshot:
        """Return an empty state."""
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Take over an empty state.

        Raises:
            SnapshotError: If the state is not empty.
        """
        if snapshot.keyed or snapshot.scalars:
            msg = "the state is of another operator: this one has none"
            raise SnapshotError(msg)

"""Where a source stands, and going on from there in one that gives the same rows again.

A source that is opened a second time reads what it read before and drops as much as it had
given. So everything that follows from the rows - watermarks, what is too far in the future,
which states come between which rows - comes out as it would have, at the price of reading
once more.
"""

from __future__ import annotations

__all__ = ("Standing", "check_columns", "check_files", "describe_files")

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import SourceItem
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.source.feed import Given

_PROBE_BYTES: Final = 65_536


@dataclass(slots=True)
class Standing:
    """How much a source has given, or must still drop.

    Attributes:
        rows: Rows on `out`.
        told: States, watermarks and the like between them.
        filtered: Rows counted as `filtered`.
        rejected: Rows on `rejected`.
    """

    rows: int = 0
    told: int = 0
    filtered: int = 0
    rejected: int = 0

    @staticmethod
    def at(position: Mapping[str, Any] | None) -> Standing:
        """Return what stands in a position, or the beginning if there is none."""
        if position is None:
            return Standing()
        return Standing(**{name: int(position[name]) for name in Standing.__slots__})

    def position(self) -> dict[str, int]:
        """Return it as plain data."""
        return asdict(self)

    @property
    def is_none(self) -> bool:
        """True if nothing is left to drop."""
        return not (self.rows or self.told or self.filtered or self.rejected)

    def without(self, step: Given) -> Given:
        """Return what is left of a step, once what is still to be dropped has been."""
        if self.is_none:
            return step
        items: list[SourceItem] = []
        for item in step.items:
            if isinstance(item, Batch):
                dropped = min(self.rows, len(item))
                self.rows -= dropped
                if dropped < len(item):
                    items.append(item.slice(dropped, len(item)) if dropped else item)
            elif self.told:
                self.told -= 1
            else:
                items.append(item)
        filtered = min(self.filtered, step.filtered)
        self.filtered -= filtered
        rejected = step.rejected
        if rejected is not None and self.rejected:
            dropped = min(self.rejected, len(rejected))
            self.rejected -= dropped
            left = dropped < len(rejected)
            rejected = rejected.slice(dropped, len(rejected)) if left else None
        return replace(step, items=items, filtered=step.filtered - filtered, rejected=rejected)


def describe_files(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what tells whether files are still the same, without reading all of them."""
    return [_described(path, path.stat().st_size) for path in files]


def check_files(found: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that the files a position was taken in are still the first, and the same.

    Args:
        found: What `describe_files` says now.
        known: What it said then.

    Raises:
        CheckpointError: If one is gone or has changed, or others came before or between them.
    """
    for place, was in enumerate(known):
        path = str(was["path"])
        if place >= len(found) or found[place]["path"] != path:
            there = (
                f"`{found[place]['path']}` is in its place" if place < len(found) else "is gone"
            )
            msg = (
                f"the file was number {place + 1} of the input when the checkpoint was taken, and "
                f"{there}; bring the files back, or begin anew with `--from-scratch`"
            )
            raise CheckpointError(msg, path=path)
        if found[place] != was:
            msg = (
                "the file has changed since the checkpoint was taken, so nobody knows which of "
                "its rows are in the output; begin anew with `--from-scratch`"
            )
            raise CheckpointError(msg, path=path)


def check_columns(found: Sequence[str] | None, known: Sequence[str] | None) -> None:
    """Make sure that the same columns are read: whether a row can be taken depends on them.

    Raises:
        CheckpointError: If they differ.
    """
    if found != known:
        odd = sorted(set(found or ()) ^ set(known or ()))
        names = ", ".join(f"`{name}`" for name in odd) or "all of them"
        msg = (
            f"the pipeline reads other columns of its files than when the checkpoint was taken "
            f"({names}), so rows cannot be counted off; begin anew with `--from-scratch`"
        )
        raise CheckpointError(msg)


def _described(path: Path, size: int) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_PROBE_BYTES))
        file.seek(max(size - _PROBE_BYTES, 0))
        digest.update(file.read(_PROBE_BYTES))
    return {"path": str(path), "bytes": size, "ends": digest.hexdigest()}

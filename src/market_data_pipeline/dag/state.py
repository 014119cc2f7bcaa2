"""The state of a stateful operator, as named arrays, split by key group."""

from __future__ import annotations

__all__ = ("Snapshot", "stack", "unstack")

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from market_data_pipeline.errors import SnapshotError

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an operator must remember to go on as if it had never stopped.

    Keyed rows belong to one key each and can be spread over other workers by key group;
    they hold names, never symbol codes, since codes have no meaning outside a run.

    Attributes:
        key_groups: (n,) int16, the key group of each keyed row.
        keyed: Arrays of n rows each.
        scalars: What belongs to the operator as a whole; equal in every worker.
    """

    key_groups: npt.NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    keyed: Arrays = field(default_factory=dict)
    scalars: Mapping[str, int] = field(default_factory=dict)

    def only(self, groups: Iterable[int]) -> Snapshot:
        """Return the part that belongs to some key groups."""
        mask = np.isin(self.key_groups, np.fromiter(groups, np.int16))
        keyed = {name: array[mask] for name, array in self.keyed.items()}
        return Snapshot(self.key_groups[mask], keyed, self.scalars)

    @staticmethod
    def merge(parts: Iterable[Snapshot]) -> Snapshot:
        """Return the parts of one operator as one snapshot.

        Raises:
            SnapshotError: If there are no parts, or they are not of one operator.
        """
        parts = list(parts)
        if not parts:
            msg = "a snapshot needs at least one part"
            raise SnapshotError(msg)
        # A worker that has seen no row has no state to tell, or does not know all of it.
        parts = [part for part in parts if part.scalars or part.keyed] or parts[:1]
        parts = [part for part in parts if len(part.key_groups)] or parts
        first = parts[0]
        if any(
            part.scalars != first.scalars or part.keyed.keys() != first.keyed.keys()
            for part in parts[1:]
        ):
            msg = "the parts are not snapshots of one operator at one point"
            raise SnapshotError(msg)
        groups = np.concatenate([part.key_groups for part in parts])
        keyed = {
            name: np.concatenate([part.keyed[name] for part in parts]) for name in first.keyed
        }
        return Snapshot(groups, keyed, first.scalars)


_TABLE = "table"


def stack(parts: Mapping[str, Snapshot]) -> Snapshot:
    """Return several tables of one operator as one snapshot, whose parts can be taken apart.

    Args:
        parts: Snapshots by a name without a slash, always the same names in the same order.
    """
    groups = np.concatenate([part.key_groups for part in parts.values()])
    lengths = [len(part.key_groups) for part in parts.values()]
    starts = np.cumsum([0, *lengths]).tolist()
    keyed: dict[str, npt.NDArray[Any]] = {
        _TABLE: np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    }
    scalars: dict[str, int] = {}
    for start, length, (name, part) in zip(starts, lengths, parts.items(), strict=False):
        for column, values in part.keyed.items():
            whole = np.zeros((len(groups), *values.shape[1:]), values.dtype)
            whole[start : start + length] = values
            keyed[f"{name}/{column}"] = whole
        scalars.update({f"{name}/{key}": value for key, value in part.scalars.items()})
    return Snapshot(groups, keyed, scalars)


def unstack(snapshot: Snapshot, names: Iterable[str]) -> dict[str, Snapshot]:
    """Return the tables that `stack` put together.

    Args:
        snapshot: What `stack` gave, or parts of it merged.
        names: The names, as they were given to `stack`.

    Raises:
        SnapshotError: If it is no such snapshot.
    """
    table = snapshot.keyed.get(_TABLE)
    if table is None:
        msg = "the state is not one of several tables"
        raise SnapshotError(msg)
    found = {}
    for number, name in enumerate(names):
        mask, start = table == number, f"{name}/"
        keyed = {
            column.removeprefix(start): values[mask]
            for column, values in snapshot.keyed.items()
            if column.startswith(start)
        }
        scalars = {
            key.removeprefix(start): value
            for key, value in snapshot.scalars.items()
            if key.startswith(start)
        }
        found[name] = Snapshot(snapshot.key_groups[mask], keyed, scalars)
    return found

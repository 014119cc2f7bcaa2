"""A table of keys and when each expires, of a size that follows the keys alive."""

from __future__ import annotations

__all__ = ("KeyTable",)

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN
from market_data_pipeline.kernels.dedupe import (
    drop_expired,
    find_duplicates,
    insert_groups,
)

_LEAST_GROUPS: Final = 256
# When all groups are in use, those expired are dropped. A table that is then a third full
# spreads that work over twice as many groups as it moves. It is left as it is while it is
# between a sixth and a half full: new memory costs more than the work.
_TARGET: Final = 3
_LEAST_FREE: Final = 2
_MOST_FREE: Final = 6
_ROWS_AT_ONCE: Final = 128
_KEYS_AT_ONCE: Final = 65_536
_SLOTS_PER_GROUP: Final = 8
_SLOTS_PER_KEY: Final = 4
# Eight neighbouring values are a group.
_NEIGHBOURS: Final = 3
# Keys alive in a group, on average: with fewer, each key gets an entry of its own; with
# more, they are grouped again.
_KEYS_TO_STAY: Final = 1.5
_KEYS_TO_GROUP: Final = 2.5
# Whether neighbours pay is looked at whenever the table moves, and besides every so often.
_LOOK_EVERY: Final = 8
# Fewer groups say little of how keys neighbour each other, and take little room.
_TELLING_GROUPS: Final = 16_384
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)

Int64s = npt.NDArray[np.int64]


class KeyTable:
    """Keys of two int64 with their expiries.

    Neighbouring keys share a group where that pays: keys that count up fill their groups,
    keys that are spread would leave them empty but for one. Which it is, is seen from the
    keys alive, and the layout changes with it.

    Attributes:
        slots: (s,) uint32 as in `find_duplicates`.
        groups: (c, w) int64 as in `find_duplicates`.
        duplicates: How many were found by the last call of `mark`.
    """

    def __init__(self, *, spread: bool) -> None:
        """Make an empty table.

        Args:
            spread: Whether keys are known to have no neighbours, as hashes have none.
        """
        self._spread = spread
        self._bits = 0 if spread else _NEIGHBOURS
        self.groups: Int64s = np.empty((0, 0), np.int64)
        self.slots: npt.NDArray[np.uint32] = np.empty(0, np.uint32)
        # Groups in use, duplicates found by the last call, watermark reached.
        self._counts = np.array([0, 0, TIME_MIN], np.int64)
        self._scratch = np.empty((2, _ROWS_AT_ONCE), np.uint64)
        self._cleared = 0
        self._loading = False
        self._make_room(0)

    @property
    def duplicates(self) -> int:
        """How many were found by the last call of `mark`."""
        return int(self._counts[1])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.slots.nbytes + self.groups.nbytes

    def mark(
        self,
        halves: tuple[npt.NDArray[Any], Int64s],
        times: Int64s,
        watermarks: tuple[Int64s, int, int],
        ttl: int,
        keep: npt.NDArray[np.bool_],
    ) -> None:
        """Mark the rows whose key is not in the table, and put their keys in.

        Args:
            halves: The keys, (n,) int32 or int64 and (n,) int64.
            times: (n,) int64 event times.
            watermarks: As `watermarks_of` gives them.
            ttl: Nanoseconds a key is remembered.
            keep: (n,) bool or longer, written.
        """
        column, highest, bound = watermarks
        counts = self._counts
        counts[1] = 0
        row = 0
        while True:
            row = find_duplicates(
                *(self.slots, self.groups, counts, *halves, times, column),
                *(highest, bound, ttl, self._bits, row, keep, self._scratch),
            )
            if row == len(times):
                return
            highest = int(counts[2]) + bound
            self._clear()

    def keys(self) -> tuple[Int64s, Int64s, Int64s]:
        """Return the keys alive in two halves, and their expiries, each (m,) int64."""
        groups = self.groups[: self._counts[0]]
        places, members = np.nonzero(groups[:, 2:] > self._counts[2])
        second = (groups[places, 1] << self._bits) | members
        return groups[places, 0], second, groups[places, 2 + members]

    def load(self, first: Int64s, second: Int64s, expires: Int64s) -> None:
        """Take over keys that are all different, in the place of those that are there."""
        # In the layout that they will stay in: to change it is to put most keys in twice.
        groups = self._groups_of(first, second)
        few = groups < _TELLING_GROUPS
        grouped = not self._spread and (few or len(first) >= _KEYS_TO_STAY * groups)
        self._bits = _NEIGHBOURS if grouped else 0
        self._replace(first, second, expires, groups if grouped else len(first))

    def _replace(self, first: Int64s, second: Int64s, expires: Int64s, groups: int) -> None:
        """Put in keys that need about so many groups, in the place of those that are there."""
        watermark = self._counts[2]
        self._counts[0], self._counts[2] = 0, TIME_MIN
        # All room at once: to grow on the way, too, is to put most keys in twice.
        self._make_room(0, groups)
        # A key that was never seen is put in with its time plus `ttl`.
        never = np.full(_KEYS_AT_ONCE, TIME_MIN)
        keep = np.empty(_KEYS_AT_ONCE, np.bool_)
        # The layout is not changed for a part of the keys.
        self._loading = True
        for part in _parts(len(expires)):
            times = expires[part]
            marks = (never[: len(times)], TIME_MIN, 0)
            self.mark((first[part], second[part]), times, marks, 0, keep)
        if self._counts[0] == len(self.groups):
            self._clear()
        self._loading = False
        self._counts[2] = watermark

    def _clear(self) -> None:
        """Drop what is expired, and make the room and the layout fit what is left."""
        counts = self._counts
        used = counts[0] = drop_expired(self.groups, int(counts[0]), int(counts[2]))
        self._cleared += 1
        fits = used * _LEAST_FREE <= len(self.groups) <= max(used * _MOST_FREE, _LEAST_GROUPS)
        looks = not fits or self._cleared % _LOOK_EVERY == 0
        looks &= not self._loading
        if looks and used >= _TELLING_GROUPS and self._neighbours_pay() != (self._bits > 0):
            duplicates, (first, second, expires) = counts[1], self.keys()
            self._bits = 0 if self._bits else _NEIGHBOURS
            groups = self._groups_of(first, second) if self._bits else len(first)
            self._replace(first, second, expires, groups)
            counts[1] = duplicates
            return
        if fits:
            self.slots[:] = 0
        else:
            self._make_room(used)
        insert_groups(self.slots, self.groups, used)

    def _make_room(self, used: int, expected: int = 0) -> None:
        """Move to new memory, with all slots free and more room than for what is expected."""
        width = 2 + (1 << self._bits)
        room = max(used * _TARGET, expected * _LEAST_FREE)
        groups = np.empty((max(_LEAST_GROUPS, room), width), np.int64)
        if used:
            groups[:used] = self.groups[:used]
        self.groups = groups
        per_group = _SLOTS_PER_GROUP if self._bits else _SLOTS_PER_KEY
        # Slots are touched all over: as many as what is expected needs, not the room for more,
        # which is taken when it comes to that.
        wanted = max(_LEAST_GROUPS, expected or len(groups))
        self.slots = np.zeros(1 << (wanted * per_group - 1).bit_length(), np.uint32)

    def _neighbours_pay(self) -> bool:
        """Tell whether groups of neighbours hold, or would hold, enough keys alive."""
        if self._spread:
            return False
        groups = self.groups[: self._counts[0]]
        if self._bits:
            alive = np.count_nonzero(groups[:, 2:] > self._counts[2])
            return bool(alive >= _KEYS_TO_STAY * len(groups))
        chosen = _one_in_sixteen(groups[:, 0], groups[:, 1])
        return len(chosen) >= _KEYS_TO_GROUP * len(np.unique(chosen))

    def _groups_of(self, first: Int64s, second: Int64s) -> int:
        """Return about how many groups of neighbours keys are of."""
        chosen = [_one_in_sixteen(first[part], second[part]) for part in _parts(len(first))]
        return 16 * len(np.unique(np.concatenate(chosen))) if chosen else 0


def _parts(count: int) -> Iterator[slice]:
    """Give slices that are small, as memory for a part is used again by the next one."""
    for begin in range(0, count, _KEYS_AT_ONCE):
        yield slice(begin, begin + _KEYS_AT_ONCE)


def _one_in_sixteen(first: Int64s, second: Int64s) -> npt.NDArray[np.uint64]:
    """Return the groups of neighbours that keys are of, as hashes; of one in sixteen, all keys."""
    mixed = first.view(np.uint64) * _MIX
    mixed ^= mixed >> np.uint64(32)
    mixed += (second >> _NEIGHBOURS).view(np.uint64)
    mixed *= _MIX
    chosen: npt.NDArray[np.uint64] = mixed[mixed >> np.uint64(60) == 0]
    return chosen

"""What is known of a feed's states over time, for those who must say how complete rows are."""

from __future__ import annotations

__all__ = ("FeedLog",)

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.records import FeedState
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]
_Changes = list[tuple[int, int]]

STATES: Final = (
    FeedState.LIVE,
    FeedState.QUIET,
    FeedState.CLOSED,
    FeedState.HALTED,
    FeedState.DISCONNECTED,
)
"""From best to worst."""
_RANKS: Final[Mapping[str, int]] = {state: rank for rank, state in enumerate(STATES)}
_WORDS: Final = ("time", "rank")
_CUT_OFF: Final = _RANKS[FeedState.DISCONNECTED]


class FeedLog:
    """The states of a feed as a whole and of its symbols, each a list of changes in time.

    A feed of which nothing was said is live. State: 16 bytes for each change that a window
    still open can see. Several readers may share it.
    """

    def __init__(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._changes: dict[str | None, _Changes] = {}
        self._sights: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._changes)

    def take(self, status: Status) -> None:
        """Take a change; one that goes back in time changes what came after it too."""
        changes = self._changes.setdefault(status.key, [])
        while changes and changes[-1][0] >= status.time:
            changes.pop()
        changes.append((status.time, _RANKS[status.state]))

    def forget(self, before: int) -> None:
        """Forget what no window can see that starts at `before` or later.

        What is left does not depend on when else something was forgotten.
        """
        for key, changes in list(self._changes.items()):
            while len(changes) > 1 and changes[1][0] <= before:
                del changes[0]
            while changes and changes[0][1] == 0:  # a feed of which nothing was said is live
                del changes[0]
            if not changes:
                del self._changes[key]

    def join(self) -> int:
        """Return the number of a new reader, who can see everything."""
        self._sights.append(TIME_MIN)
        return len(self._sights) - 1

    def forget_of(self, reader: int, before: int) -> None:
        """Forget what no window of any reader can see; `before` is where this one's begin."""
        self._sights[reader] = before
        self.forget(min(self._sights))

    def seen(
        self, codes: npt.NDArray[np.int32], opens: Int64s, closes: Int64s
    ) -> tuple[Int64s, Int64s]:
        """Return for how long windows were cut off, and the rank of the worst state in them.

        Args:
            codes: (n,) symbol codes.
            opens: (n,) first instants of the windows.
            closes: (n,) first instants after them.

        Returns:
            (n,) nanoseconds and (n,) indices of `STATES`.
        """
        gaps = np.zeros(len(codes), np.int64)
        ranks = np.zeros(len(codes), np.int64)
        common = self._changes.get(None, ())
        keyed = {key: changes for key, changes in self._changes.items() if key is not None}
        known: dict[tuple[int, int, str | None], tuple[int, int]] = {}
        names = self._symbols.names
        rows = zip(codes.tolist(), opens.tolist(), closes.tolist(), strict=True)
        for place, (code, start, stop) in enumerate(rows):
            name = names[code] if keyed and names[code] in keyed else None
            window = (start, stop, name)
            if window not in known:
                known[window] = _seen(_merged(common, keyed.get(name or "", ())), start, stop)
            gaps[place], ranks[place] = known[window]
        return gaps, ranks

    def cut_off(
        self, codes: npt.NDArray[np.int32], opens: Int64s, closes: Int64s
    ) -> npt.NDArray[np.bool_]:
        """Tell for which windows of which symbols the feed was cut off, if only for a part.

        Args:
            codes: (k,) symbol codes.
            opens: (n,) first instants of the windows.
            closes: (n,) first instants after them.

        Returns:
            (n, k) bool.
        """
        mask = np.zeros((len(opens), len(codes)), np.bool_)
        names = self._symbols.names
        columns = {names[code]: place for place, code in enumerate(codes.tolist())}
        for key, changes in self._changes.items():
            if key is not None and key not in columns:
                continue
            hit = np.zeros(len(opens), np.bool_)
            for (since, rank), (until, _) in pairwise([*changes, (TIME_MAX, 0)]):
                if rank == _CUT_OFF:
                    hit |= (opens < until) & (closes > since)
            if key is None:
                mask |= hit[:, None]
            else:
                mask[:, columns[key]] |= hit
        return mask

    def scalars(self) -> dict[str, int]:
        """Return the changes as scalars of a snapshot: every worker knows them all."""
        return {
            f"feed.{word}.{place}.{'' if key is None else f'={key}'}": value
            for key, changes in self._changes.items()
            for place, change in enumerate(changes)
            for word, value in zip(_WORDS, change, strict=True)
        }

    def restore(self, scalars: Mapping[str, int]) -> None:
        """Take over the changes among the scalars of a snapshot."""
        self._changes = {}
        for name, value in scalars.items():
            if name.startswith("feed.time."):
                key = name.removeprefix("feed.time.")
                _, _, symbol = key.partition(".")
                rank = scalars[f"feed.rank.{key}"]
                changes = self._changes.setdefault(symbol[1:] if symbol else None, [])
                changes.append((value, rank))


def _merged(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> _Changes:
    """Return the changes of the worse of two states."""
    if not a or not b:
        return list(a or b)
    merged: _Changes = []
    for time in sorted({change[0] for change in (*a, *b)}):
        rank = max(_rank_at(a, time), _rank_at(b, time))
        merged.append((time, rank))
    return merged


def _rank_at(changes: Sequence[tuple[int, int]], time: int) -> int:
    return next((rank for since, rank in reversed(changes) if since <= time), 0)


def _seen(changes: _Changes, start: int, stop: int) -> tuple[int, int]:
    gap = worst = 0
    since, rank = TIME_MIN, 0
    for time, following in [*changes, (TIME_MAX, 0)]:
        first, last = max(since, start), min(time, stop)
        if first < last:
            worst = max(worst, rank)
            gap += last - first if rank == _CUT_OFF else 0
        since, rank = time, following
    return gap, worst

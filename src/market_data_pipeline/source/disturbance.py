"""Rows as a bad line brings them: lost, doubled, moved, delayed, misdated, with outages."""

from __future__ import annotations

__all__ = ("LOST", "TRUTH", "Disturbance", "Disturbed", "Fate", "Odds")

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.messages import Idle, Status
from market_data_pipeline.dag.nodes import SourceItem
from market_data_pipeline.records import FeedState, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Int64s: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

TRUTH: Final = Schema(
    "truth",
    (
        Field("ts_event", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        Field("kind", Kind.ARROW, arrow=pa.string()),
        Field("row", Kind.INT),
    ),
)
"""What was done to a row: its event time as it was, the kind, its number from 1."""


class Fate(IntEnum):
    """What becomes of a row."""

    NONE = 0
    DROP = 1
    DUPLICATE = 2
    REORDER = 3
    DELAY = 4
    SKEW = 5
    DISCONNECT = 6


LOST: Final = {Fate.DROP: "dropped", Fate.DISCONNECT: "disconnected"}
"""Fates of rows that do not come at all, and the reason under which they are counted."""

# Where an item stands among those of one place: the row of the place itself is at 4.
_BACK, _CUT, _HELD_UP, _OWN, _MOVED, _COPY = 1, 2, 3, 4, 5, 6
_SLOTS: Final = 8
_NEVER: Final = TIME_MAX // _SLOTS


@dataclass(frozen=True, slots=True)
class Odds:
    """How likely what is, and how much of it.

    Attributes:
        seed: Says which of all possible outcomes it is.
        shares: Probability of the fates from `DROP` to `SKEW`, of each row.
        cuts: Probability that the line is cut at a row.
        places: Most rows by which a row or a copy is moved back.
        delay: Event time by which a delayed row comes late.
        skew: What is added to the event time of a misdated row.
        outage: Event time for which the line is cut.
        leaves_out: Whether others need not wait while the line is cut.
    """

    seed: int
    shares: tuple[float, float, float, float, float]
    cuts: float
    places: int
    delay: int
    skew: int
    outage: int
    leaves_out: bool


@dataclass(slots=True)
class Disturbed:
    """What comes of some rows.

    Attributes:
        items: What comes through, in order.
        truth: What was done, by the order in which it shows; None if nothing.
        arrived: Rows that came, copies left out.
        copies: Copies that came.
        lost: Rows that will not come, by fate.
    """

    items: list[SourceItem]
    truth: Batch | None
    arrived: int
    copies: int
    lost: Mapping[Fate, int]


@dataclass(slots=True)
class _Queue:
    """Rows to be given, each with its number, place, slot in the place, fate and due time.

    `twin` is 1 for a copy, 0 for the row itself.
    """

    rows: Batch
    number: Int64s
    place: Int64s
    slot: Int64s
    fate: Int64s
    due: Int64s
    twin: Int64s

    def __len__(self) -> int:
        return len(self.number)

    def take(self, chosen: Int64s | Bools) -> _Queue:
        at: Int64s = np.arange(len(self.number))[chosen]
        return _Queue(
            self.rows.reorder(at),
            self.number[at],
            self.place[at],
            self.slot[at],
            self.fate[at],
            self.due[at],
            self.twin[at],
        )

    @staticmethod
    def joined(parts: Sequence[_Queue]) -> _Queue:
        def one(name: str) -> Int64s:
            return np.concatenate([getattr(part, name) for part in parts])

        names = ("number", "place", "slot", "fate", "due", "twin")
        return _Queue(Batch.concat([part.rows for part in parts]), *map(one, names))


@dataclass(slots=True)
class _Outages:
    """The spans of a batch in which the line was cut, and the states that tell of them."""

    lost: Bools
    until: Int64s
    told: list[tuple[int, Status]] = field(default_factory=list)


class Disturbance:
    """Disturbs rows, in the same way however they are cut into batches.

    What becomes of a row is a function of the seed and of its number alone. A row has one
    fate at most, and none while the line is cut. Watermarks are those of the rows as they
    came in, so a delayed row is late; while the line is cut they stand still.
    """

    def __init__(self, odds: Odds, symbols: SymbolTable) -> None:
        self._odds = odds
        self._symbols = symbols
        self._count = 0
        self._highest = TIME_MIN
        self._mark = TIME_MIN
        self._given_mark = TIME_MIN
        self._newest = -1
        self._cut_until: int | None = None
        self._waiting: _Queue | None = None

    @property
    def is_cut(self) -> bool:
        """True while the line is cut."""
        return self._cut_until is not None

    def take(self, batch: Batch) -> Disturbed:
        """Take rows with progress, at least one; return what comes by then."""
        base, count = self._count, len(batch)
        numbers = np.arange(base, base + count)
        highs = np.maximum.accumulate(np.maximum(batch.times, self._highest))
        outages = self._outages(highs, numbers)
        marks = self._marks(batch, outages.lost)
        fate = self._fates(numbers)
        fate[outages.lost] = Fate.DISCONNECT
        queue = self._queued(batch, numbers, fate)
        self._settle_delays(queue, highs, base)
        _hold_up(queue, outages, base)
        self._count, self._highest = base + count, int(highs[-1])
        due = queue.place < self._count
        self._waiting = queue.take(~due) if not due.all() else None
        lost = np.flatnonzero((fate == Fate.DROP) | (fate == Fate.DISCONNECT))
        done = self._given(queue.take(due), marks, base, outages.told)
        self._mark = int(marks[-1])
        places = numbers[lost] * _SLOTS + _OWN
        return self._told(done, batch.take(lost), numbers[lost], fate[lost], places)

    def raise_to(self, watermark: int) -> None:
        """Take progress that was made without rows, and was told."""
        self._mark = max(self._mark, watermark)
        self._given_mark = max(self._given_mark, watermark)

    def finish(self) -> Disturbed | None:
        """Return what is still to come, None if nothing is."""
        queue, self._waiting = self._waiting, None
        if queue is None:
            return None
        told: list[tuple[int, Status]] = []
        if self._cut_until is not None:
            told.append((self._count * _SLOTS, Status(FeedState.LIVE, self._highest)))
            self._cut_until = None
        # Those without a place come by the time at which they would have been due.
        order = np.lexsort((queue.number, queue.due, queue.place))
        queue = queue.take(order)
        queue.place = self._count + np.arange(len(queue))
        marks = np.full(len(queue), self._mark)
        done = self._given(queue, marks, self._count, told)
        empty = np.empty(0, np.int64)
        return self._told(done, queue.rows.slice(0, 0), empty, empty, empty)

    # What becomes of a row

    def _fates(self, numbers: Int64s) -> Int64s:
        edges = np.cumsum(self._odds.shares)
        drawn = _uniform(self._odds.seed, 1, numbers)
        fate = np.searchsorted(edges, drawn, side="right") + 1
        return np.where(fate > len(edges), int(Fate.NONE), fate)

    def _outages(self, highs: Int64s, numbers: Int64s) -> _Outages:
        count, base = len(highs), int(numbers[0])
        found = _Outages(np.zeros(count, np.bool_), np.full(count, base + count))
        starts = np.flatnonzero(_uniform(self._odds.seed, 2, numbers) < self._odds.cuts).tolist()
        at = 0
        while True:
            if self._cut_until is not None:
                end = int(np.searchsorted(highs, self._cut_until))
                found.lost[at:end] = True
                found.until[at:end] = base + end
                at = end
                if end == count:
                    return found
                self._cut_until = None
                back = Status(FeedState.LIVE, int(highs[end]))
                found.told.append(((base + end) * _SLOTS + _BACK, back))
            start = next((start for start in starts if start >= at), None)
            if start is None:
                return found
            at = start
            self._cut_until = int(highs[start]) + self._odds.outage
            cut = Status(FeedState.DISCONNECTED, int(highs[start]))
            found.told.append(((base + start) * _SLOTS + _CUT, cut))

    def _marks(self, batch: Batch, lost: Bools) -> Int64s:
        """Return the watermark after each row, which stands still while the line is cut."""
        progress = batch.progress
        if progress is None:
            return np.full(len(batch), self._mark)
        marks = progress.watermarks(batch.times)
        return np.maximum.accumulate(np.maximum(np.where(lost, TIME_MIN, marks), self._mark))

    # When a row comes

    def _queued(self, batch: Batch, numbers: Int64s, fate: Int64s) -> _Queue:
        odds = self._odds
        moves = _uniform(odds.seed, 3, numbers)
        slot = np.full(len(batch), _OWN)
        place = numbers.copy()
        moved = fate == Fate.REORDER
        place[moved] += 1 + (moves[moved] * odds.places).astype(np.int64)
        slot[moved | (fate == Fate.DELAY)] = _MOVED
        due = np.zeros(len(batch), np.int64)
        delayed = fate == Fate.DELAY
        due[delayed] = batch.times[delayed] + odds.delay
        place[delayed] = _NEVER
        bare = Batch(batch.schema, batch.columns, batch.symbols)
        whole = _Queue(bare, numbers, place, slot, fate, due, np.zeros(len(batch), np.int64))
        parts = [] if self._waiting is None else [self._waiting]
        parts.append(whole.take((fate != Fate.DROP) & (fate != Fate.DISCONNECT)))
        twice = np.flatnonzero(fate == Fate.DUPLICATE)
        if len(twice):
            copies = whole.take(twice)
            copies.place += (moves[twice] * (odds.places + 1)).astype(np.int64)
            copies.slot[:] = _COPY
            copies.twin[:] = 1
            parts.append(copies)
        return _Queue.joined(parts)

    def _settle_delays(self, queue: _Queue, highs: Int64s, base: int) -> None:
        at = np.flatnonzero(queue.place == _NEVER)
        place = np.searchsorted(highs, queue.due[at])
        # Not in front of itself, also where its own time lies far behind.
        place = np.maximum(place + base, queue.number[at])
        queue.place[at] = np.where(place < base + len(highs), place, _NEVER)

    # What comes

    def _given(
        self, queue: _Queue, marks: Int64s, base: int, told: list[tuple[int, Status]]
    ) -> tuple[_Queue, Int64s, list[SourceItem]]:
        """Return rows that come in order, their keys, and the messages with states between."""
        keys = queue.place * _SLOTS + queue.slot
        order = np.lexsort((queue.number, keys))
        queue, keys = queue.take(order), keys[order]
        rows = self._misdated(queue)
        # What was held up comes before the row of its place.
        after = np.concatenate([[self._mark], marks])
        known = after[queue.place - base + (queue.slot != _HELD_UP)]
        known = np.maximum(known, self._given_mark)
        items: list[SourceItem] = []
        first = 0
        for key, status in [*told, (TIME_MAX, None)]:
            stop = int(np.searchsorted(keys, key))
            if stop > first:
                part = known[first:stop]
                progress = Progress(self._given_mark, 0, int(part[-1]), part)
                self._given_mark = progress.end
                items.append(rows.slice(first, stop).with_progress(progress))
            first = stop
            if status is not None:
                items.append(status)
                if status.state == FeedState.DISCONNECTED and self._odds.leaves_out:
                    items.append(Idle())
        return queue, keys, items

    def _misdated(self, queue: _Queue) -> Batch:
        rows, wrong = queue.rows, queue.fate == Fate.SKEW
        if not wrong.any():
            return rows
        times = rows.times.copy()
        times[wrong] += self._odds.skew
        return Batch(rows.schema, {**rows.columns, rows.schema.time: times}, rows.symbols)

    def _told(
        self,
        done: tuple[_Queue, Int64s, list[SourceItem]],
        lost: Batch,
        lost_numbers: Int64s,
        lost_fates: Int64s,
        lost_keys: Int64s,
    ) -> Disturbed:
        queue, keys, items = done
        newest = np.maximum.accumulate(np.append(self._newest, queue.number))
        self._newest = int(newest[-1])
        copied = queue.twin == 1
        # A row that was to be moved and yet came before all that follow it was not moved.
        moved = (queue.fate == Fate.REORDER) | (queue.fate == Fate.DELAY)
        shown = (moved & (newest[:-1] > queue.number)) | copied | (queue.fate == Fate.SKEW)
        changed = queue.take(shown)
        bare = Batch(lost.schema, lost.columns, lost.symbols)
        rows = Batch.concat([changed.rows, bare])
        fates = np.concatenate([changed.fate, lost_fates])
        numbers = np.concatenate([changed.number, lost_numbers])
        order = np.lexsort((numbers, np.concatenate([keys[shown], lost_keys])))
        truth = None
        if len(order):
            symbols = (
                rows["symbol"][order]
                if "symbol" in rows.schema
                else np.full(len(order), self._symbols.code(""), np.int32)
            )
            kinds = [Fate(fate).name.lower() for fate in fates[order].tolist()]
            columns = {
                "ts_event": rows.times[order],
                "symbol": symbols,
                "kind": pa.array(kinds, pa.string()),
                "row": numbers[order] + 1,
            }
            truth = Batch(TRUTH, columns, self._symbols)
        copies = int(copied.sum())
        counts = {fate: int((lost_fates == fate).sum()) for fate in LOST}
        return Disturbed(items, truth, len(queue) - copies, copies, counts)


def _hold_up(queue: _Queue, outages: _Outages, base: int) -> None:
    """Let what would come while the line is cut come once it is back."""
    known = np.flatnonzero((queue.place >= base) & (queue.place < base + len(outages.lost)))
    cut = known[outages.lost[queue.place[known] - base]]
    queue.place[cut] = outages.until[queue.place[cut] - base]
    queue.slot[cut] = _HELD_UP


def _uniform(seed: int, stream: int, numbers: Int64s) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each row number: SplitMix64 of seed, stream and number.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators".
    """
    start = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    x = _mixed(np.array([start], np.uint64)) + (numbers.astype(np.uint64) + np.uint64(1)) * (
        np.uint64(0x9E3779B97F4A7C15)
    )
    drawn: npt.NDArray[np.float64] = (_mixed(x) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""Several files as one stream in order of event time, in bounded memory.

Each file keeps its own order. The merge key of a row is the highest event time of its
file so far, and rows go by (key, place of the file in the list). So disorder within a
file stays what it is, and the result does not depend on how the files are cut into
batches.

A file that goes on where those before it in the list end is not merged with them but
read after them, so one recording gives the same rows in the same order whether it is one
file or several, also where the cut runs through rows that are out of order. Such a file
begins in the second half of the others' time, overlaps them by no more than `joint`, and
has reached their end within its first few rows. Files of a common time are merged.
"""

from __future__ import annotations

__all__ = ("MergedReader", "Part")

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.errors import InputError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.reader import FileReader
from market_data_pipeline.symbols import SymbolTable

_OPEN_LIMIT: Final = 512
_LEAST_ROWS: Final = 1_024
_LOOK_AHEAD_ROWS: Final = 4_194_304


@dataclass(frozen=True, slots=True)
class Part:
    """One of the files to merge.

    Attributes:
        place: Its name, for messages.
        open: Opens it; takes the most rows of a batch.
        starts: A time that no merge key of it lies below: it need not be open before
            the others have come that far.
        reaches: The highest event time among its first few rows.
    """

    place: str
    open: Callable[[int], FileReader]
    starts: int = TIME_MIN
    reaches: int = TIME_MIN


class _Run:
    """An open part: its current batch, and how far that is used up."""

    __slots__ = ("at", "batch", "ended", "keys", "part", "reached", "reader")

    def __init__(self, part: int, reader: FileReader) -> None:
        self.part = part
        self.reader = reader
        self.batch: Batch | None = None
        self.keys: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.at = 0
        self.ended = False
        self.reached = TIME_MIN

    @property
    def waiting(self) -> int:
        """Rows that are read but not yet given."""
        return len(self.keys) - self.at

    def fill(self) -> bool:
        """Have at least one row waiting; False at the end."""
        while self.at == len(self.keys):
            batch = self._next()
            if batch is None:
                return False
            self.batch, self.keys, self.at = batch, self._keys(batch), 0
        return True

    def _next(self) -> Batch | None:
        """Return the next rows of the file, None at its end."""
        while not self.ended:
            batch = self.reader.read()
            if batch is None:
                self.ended = True
            elif len(batch):
                return batch
        return None

    def _keys(self, batch: Batch) -> npt.NDArray[np.int64]:
        keys = np.maximum.accumulate(batch.times)
        np.maximum(keys, self.reached, out=keys)
        self.reached = int(keys[-1])
        return keys

    def ends_by(self, key: int) -> bool:
        """Tell whether no row of the file has a key above `key`, reading on to know it."""
        batches = [] if self.batch is None else [self.batch.slice(self.at, len(self.batch))]
        keys = [self.keys[self.at :]]
        rows = self.waiting
        while self.reached <= key and rows < _LOOK_AHEAD_ROWS:
            batch = self._next()
            if batch is None:
                break
            batches.append(batch)
            keys.append(self._keys(batch))
            rows += len(batch)
        if len(keys) > 1:
            self.batch, self.keys, self.at = Batch.concat(batches), np.concatenate(keys), 0
        return self.ended and self.reached <= key

    def take(self, stop: int) -> Batch:
        """Return waiting rows up to a position; the batch itself if that is all of it."""
        batch, start = self.batch, self.at
        assert batch is not None  # noqa: S101 - fill() came before
        self.at = stop
        return batch if start == 0 and stop == len(batch) else batch.slice(start, stop)


class MergedReader:
    """Merges parts; a `FileReader` itself.

    Args:
        parts: What to merge; order decides between rows of one key.
        schema: The columns, the same in all parts.
        symbols: The run's symbols.
        batch_rows: Most rows in one batch.
        joint: How much of event time, in nanoseconds, a part that goes on where others end
            may have in common with them; None to merge all parts that overlap at all.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        schema: Schema,
        symbols: SymbolTable,
        *,
        batch_rows: int = 65_536,
        joint: int | None = None,
    ) -> None:
        self.schema = schema
        self._symbols = symbols
        self._batch_rows = batch_rows
        self._joint = joint
        self._after: int | None = None
        self._count = len(parts)
        self._parts = parts
        # The parts that are not open yet, the next to be opened last.
        order = sorted(range(len(parts)), key=lambda i: (parts[i].starts, i), reverse=True)
        self._ahead = order
        self._runs: list[_Run] = []
        self._ready: list[Batch] = []
        self._rejected: list[Batch] = []
        self._finished_rows = 0
        self._finished = 0

    @property
    def rows_read(self) -> int:
        """Rows given or rejected so far; rows that wait for others do not count yet."""
        reading = sum(run.reader.rows_read - run.waiting for run in self._runs)
        return self._finished_rows + reading - sum(len(batch) for batch in self._ready)

    def read(self) -> Batch | None:
        """Return the next rows in merge order; None at the end.

        Raises:
            InputError: If a file is damaged, or too many would have to be open at once.
        """
        if not self._ready:
            merged = self._round()
            if merged is None:
                return None
            rows = self._batch_rows
            self._ready = [merged] if len(merged) <= rows else _cut(merged, rows)
        return self._ready.pop(0)

    def _round(self) -> Batch | None:
        self._runs = [run for run in self._runs if self._filled(run)]
        limiting = self._limiting()
        if limiting is None:
            return None
        limit = int(limiting.keys[-1])
        chosen: list[tuple[_Run, int]] = []
        for run in self._runs:
            # A part before the limiting one may give rows of that very key, one after
            # it must wait, since the limiting part may have more of them.
            side: Literal["left", "right"] = "right" if run.part <= limiting.part else "left"
            stop = int(np.searchsorted(run.keys, limit, side))
            if stop > run.at:
                chosen.append((run, stop))
        if len(chosen) == 1:
            run, stop = chosen[0]
            return run.take(stop)
        chosen.sort(key=lambda choice: choice[0].part)
        keys = np.concatenate([run.keys[run.at : stop] for run, stop in chosen])
        # A stable sort of ascending runs is a merge, and ties keep the order of parts.
        order = np.argsort(keys, kind="stable")
        return Batch.concat([run.take(stop) for run, stop in chosen]).reorder(order)

    def _limiting(self) -> _Run | None:
        """Return the run whose rows are known the least far; opens parts that are due."""
        while True:
            run = min(self._runs, key=lambda run: (int(run.keys[-1]), run.part), default=None)
            if not self._ahead:
                return run
            following = self._ahead[-1]
            starts = self._parts[following].starts
            if run is not None and (starts > int(run.keys[-1]) or self._goes_on(following)):
                return run
            self._open(self._ahead.pop())

    def _goes_on(self, index: int) -> bool:
        """Tell whether a part goes on where all that are open end.

        Asked when every part that is open has come to where this one starts, so it is
        the same parts whatever the batches; and once, before any of them comes to its end.
        """
        if self._after == index:
            return True
        if self._joint is None or any(run.part > index for run in self._runs):
            return False
        part = self._parts[index]
        begun = min(self._parts[run.part].starts for run in self._runs)
        overlap = min(self._joint, part.starts - begun)
        limit = min(part.starts + overlap, part.reaches)
        if not all(run.ends_by(limit) for run in self._runs):
            return False
        self._after = index
        return True

    def _open(self, index: int) -> None:
        part = self._parts[index]
        if len(self._runs) == _OPEN_LIMIT:
            msg = (
                f"is one of more than {_OPEN_LIMIT} files that overlap in time, too many to "
                "merge at once; join some of them first, or read with `order: sequence`"
            )
            raise InputError(msg, place=part.place)
        share = self._batch_rows // (1 + len(self._runs))
        reader = part.open(min(self._batch_rows, max(_LEAST_ROWS, share)))
        run = _Run(index, reader)
        self._runs.append(run)
        if not self._filled(run):
            self._runs.remove(run)

    def _filled(self, run: _Run) -> bool:
        """Have rows of a run waiting; at its end close it and return False."""
        if run.waiting:
            return True
        more = run.fill()
        rejected = run.reader.take_rejected()
        if rejected is not None:
            self._rejected.append(rejected)
        if not more:
            self._finished_rows += run.reader.rows_read
            self._finished += 1
            run.reader.close()
        return more

    def take_rejected(self) -> Batch | None:
        """Return the rows rejected since the last call, or None."""
        rejected, self._rejected = self._rejected, []
        return Batch.concat(rejected) if rejected else None

    def fraction(self) -> float:
        """Return how much of the files is read, 0 to 1."""
        reading = sum(run.reader.fraction() for run in self._runs)
        return (self._finished + reading) / max(self._count, 1)

    def close(self) -> None:
        """Close the files that are open."""
        for run in self._runs:
            run.reader.close()
        self._runs = []


def _cut(batch: Batch, rows: int) -> list[Batch]:
    return [batch.slice(at, min(at + rows, len(batch))) for at in range(0, len(batch), rows)]

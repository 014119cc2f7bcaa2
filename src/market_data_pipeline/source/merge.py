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
    """An open part: its current batch, and how far that is used up.

    Attributes:
        part: Place of the part in the list.
        reader: Reads it.
        reached: The merge key of the last row that is waiting.
    """

    __slots__ = (
        "_at",
        "_batch",
        "_before",
        "_ended",
        "_keys",
        "_rows",
        "part",
        "reached",
        "reader",
    )

    def __init__(self, part: int, reader: FileReader) -> None:
        self.part = part
        self.reader = reader
        self.reached = TIME_MIN
        self._batch: Batch | None = None
        self._rows = self._at = 0
        self._before = TIME_MIN
        self._keys: npt.NDArray[np.int64] | None = None
        self._ended = False

    @property
    def waiting(self) -> int:
        """Rows that are read but not yet given."""
        return self._rows - self._at

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """The merge keys of the rows that are waiting; most batches are never asked."""
        if self._keys is None:
            assert self._batch is not None  # noqa: S101 - fill() came before
            self._keys = np.maximum.accumulate(self._batch.times)
            np.maximum(self._keys, self._before, out=self._keys)
        return self._keys[self._at :]

    def fill(self) -> bool:
        """Have at least one row waiting; False at the end."""
        if not self.waiting:
            batch = self._next()
            if batch is None:
                return False
            self._hold(batch, self.reached)
        return True

    def _next(self) -> Batch | None:
        """Return the next rows of the file, None at its end."""
        while not self._ended:
            batch = self.reader.read()
            if batch is None:
                self._ended = True
            elif len(batch):
                return batch
        return None

    def _hold(self, batch: Batch, before: int) -> None:
        self._batch, self._rows, self._at = batch, len(batch), 0
        self._before, self._keys = before, None
        self.reached = max(before, int(batch.times.max()))

    def ends_by(self, key: int) -> bool:
        """Tell whether no row of the file has a key above `key`, reading on to know it."""
        parts: list[Batch] = []
        rows, reached = self.waiting, self.reached
        while reached <= key and rows < _LOOK_AHEAD_ROWS:
            batch = self._next()
            if batch is None:
                break
            parts.append(batch)
            rows += len(batch)
            reached = max(reached, int(batch.times.max()))
        if parts:
            before = self._before if self._at == 0 else int(self.keys[0])
            self._hold(Batch.concat([self.take(self.waiting), *parts]), before)
        return self._ended and reached <= key

    def take(self, rows: int) -> Batch:
        """Return the first rows that wait; the batch itself if that is all of it."""
        batch, start = self._batch, self._at
        assert batch is not None  # noqa: S101 - fill() came before
        self._at = stop = start + rows
        return batch if rows == len(batch) else batch.slice(start, stop)


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
        if len(self._runs) == 1:
            return limiting.take(limiting.waiting)
        chosen: list[tuple[_Run, int]] = []
        for run in self._runs:
            # A part before the limiting one may give rows of that very key, one after
            # it must wait, since the limiting part may have more of them.
            side: Literal["left", "right"] = "right" if run.part <= limiting.part else "left"
            rows = int(np.searchsorted(run.keys, limiting.reached, side))
            if rows:
                chosen.append((run, rows))
        if len(chosen) == 1:
            run, rows = chosen[0]
            return run.take(rows)
        chosen.sort(key=lambda choice: choice[0].part)
        keys = np.concatenate([run.keys[:rows] for run, rows in chosen])
        # A stable sort of ascending runs is a merge, and ties keep the order of parts.
        order = np.argsort(keys, kind="stable")
        return Batch.concat([run.take(rows) for run, rows in chosen]).reorder(order)

    def _limiting(self) -> _Run | None:
        """Return the run whose rows are known the least far; opens parts that are due."""
        while True:
            run = min(self._runs, key=lambda run: (run.reached, run.part), default=None)
            if not self._ahead:
                return run
            following = self._ahead[-1]
            starts = self._parts[following].starts
            if run is not None and (starts > run.reached or self._goes_on(following)):
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

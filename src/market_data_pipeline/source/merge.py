"""Several files as one stream in order of event time, in bounded memory.

Each file keeps its own order. The merge key of a row is the highest event time of its
file so far, and rows go by (key, place of the file in the list). So disorder within a
file stays what it is, and the result does not depend on how the files are cut into
batches.
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


@dataclass(frozen=True, slots=True)
class Part:
    """One of the files to merge.

    Attributes:
        place: Its name, for messages.
        open: Opens it; takes the most rows of a batch.
        starts: A time that no merge key of it lies below: it need not be open before
            the others have come that far.
    """

    place: str
    open: Callable[[int], FileReader]
    starts: int = TIME_MIN


class _Run:
    """An open part: its current batch, and how far that is used up."""

    __slots__ = ("at", "batch", "keys", "part", "reached", "reader")

    def __init__(self, part: int, reader: FileReader) -> None:
        self.part = part
        self.reader = reader
        self.batch: Batch | None = None
        self.keys: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.at = 0
        self.reached = TIME_MIN

    @property
    def waiting(self) -> int:
        """Rows that are read but not yet given."""
        return len(self.keys) - self.at

    def fill(self) -> bool:
        """Have at least one row waiting; False at the end."""
        while self.at == len(self.keys):
            batch = self.reader.read()
            if batch is None:
                return False
            if not len(batch):
                continue
            keys = np.maximum.accumulate(batch.times)
            np.maximum(keys, self.reached, out=keys)
            self.batch, self.keys, self.at, self.reached = batch, keys, 0, int(keys[-1])
        return True

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
    """

    def __init__(
        self,
        parts: Sequence[Part],
        schema: Schema,
        symbols: SymbolTable,
        *,
        batch_rows: int = 65_536,
    ) -> None:
        self.schema = schema
        self._symbols = symbols
        self._batch_rows = batch_rows
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
            if run is not None and self._parts[following].starts > int(run.keys[-1]):
                return run
            self._open(self._ahead.pop())

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

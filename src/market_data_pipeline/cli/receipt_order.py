"""How event time runs over several streams that were received together."""

from __future__ import annotations

__all__ = ("order_of_receipt",)

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.cli.file_profile import TimeProfile
from market_data_pipeline.source.reader import FileReader

_Int64s = npt.NDArray[np.int64]


class _Stream:
    """One reader, and what of it is not merged yet."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self._times = self._received = np.empty(0, np.int64)
        self.end = TIME_MIN
        """The last time of receipt read; no row to come is below it."""

    def read_on(self) -> None:
        """Read more rows, or learn that there are none."""
        batch = self._reader.read()
        self._reader.take_rejected()
        if batch is None:
            self.end = TIME_MAX
        elif len(batch):
            self._times = np.concatenate([self._times, batch.times])
            self._received = np.concatenate([self._received, batch["ts_recv"]])
            self.end = int(self._received[-1])

    def take(self, before: int) -> tuple[_Int64s, _Int64s]:
        """Return the rows received before a time, all of them if it is the last of times."""
        count = len(self._times)
        if before != TIME_MAX:
            count = int(np.searchsorted(self._received, before))
        taken = self._times[:count], self._received[:count]
        self._times, self._received = self._times[count:], self._received[count:]
        return taken


def order_of_receipt(readers: Sequence[FileReader]) -> TimeProfile | None:
    """Return how event time runs over the rows of several readers; None without rows.

    Rows are taken in the order of `ts_recv`, in which each reader's rows must be; those of
    one instant in the order of the readers.
    """
    from market_data_pipeline.kernels.profile_times import WORDS, profile_times

    profile = np.zeros((2, WORDS), np.int64)
    streams = [_Stream(reader) for reader in readers]
    end = TIME_MIN
    while end != TIME_MAX:
        for stream in streams:
            if stream.end == end:
                stream.read_on()
        # Rows of the instant itself may still come.
        end = min(stream.end for stream in streams)
        taken = [stream.take(end) for stream in streams]
        times, received = (np.concatenate(columns) for columns in zip(*taken, strict=True))
        times = times[np.argsort(received, kind="stable")]
        profile_times(times, np.zeros(len(times), np.int32), profile)
    return TimeProfile(*profile[0].tolist()) if profile[0, 0] else None

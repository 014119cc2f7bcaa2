"""How event time runs over several streams that were received together."""

from __future__ import annotations

__all__ = ("order_of_receipt",)

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from market_data_pipeline.cli.file_profile import TimeProfile
from market_data_pipeline.source.reader import FileReader

_Int64s = npt.NDArray[np.int64]


class _Stream:
    """One reader, and what of it is not merged yet."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self.times: _Int64s = np.empty(0, np.int64)
        self.received = self.times
        self.is_over = False

    def fill(self) -> None:
        """Read on if nothing is left."""
        while not len(self.times) and not self.is_over:
            batch = self._reader.read()
            self._reader.take_rejected()
            if batch is None:
                self.is_over = True
            elif len(batch):
                self.times, self.received = batch.times, batch["ts_recv"]

    def take(self, until: int) -> tuple[_Int64s, _Int64s]:
        """Return the rows up to the last one that was received by then."""
        count = int(np.searchsorted(self.received, until, side="right"))
        taken = self.times[:count], self.received[:count]
        self.times, self.received = self.times[count:], self.received[count:]
        return taken


def order_of_receipt(readers: Sequence[FileReader]) -> TimeProfile | None:
    """Return how event time runs over the rows of several readers; None without rows.

    Rows are taken in the order of `ts_recv`, in which each reader's rows must be.
    """
    from market_data_pipeline.kernels.profile_times import WORDS, profile_times

    profile = np.zeros((2, WORDS), np.int64)
    streams = [_Stream(reader) for reader in readers]
    while True:
        for stream in streams:
            stream.fill()
        ends = [int(stream.received[-1]) for stream in streams if not stream.is_over]
        if not ends:
            break
        taken = [stream.take(min(ends)) for stream in streams]
        times, received = (np.concatenate(columns) for columns in zip(*taken, strict=True))
        times = times[np.argsort(received, kind="stable")]
        profile_times(times, np.zeros(len(times), np.int32), profile)
    return TimeProfile(*profile[0].tolist()) if profile[0, 0] else None

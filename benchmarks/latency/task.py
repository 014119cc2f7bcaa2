"""What the engine and the loop written by hand have in common when latency is measured."""

from __future__ import annotations

__all__ = ("LEAST_SIZE", "Arrivals", "LatencyTask")

import socket
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.answers import Bars, Difference
from benchmarks.latency.producer import rows_of, start_producer
from benchmarks.tasks import Task

RATE = 50_000
LEAST_SIZE = 100
WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Arrivals:
    """What came to the sink.

    Attributes:
        trade_ids: (n,) the rows, in order.
        latencies: (n,) nanoseconds from when each row was due.
    """

    trade_ids: npt.NDArray[np.int64]
    latencies: npt.NDArray[np.int64]


class LatencyTask(Task):
    """Rows from a socket -> dedupe -> filter -> sink."""

    def run(self) -> Arrivals:
        """Take the rows as they come."""
        reading, process = start_producer(self.ticks.rows, RATE)
        try:
            return self.serve(reading)
        finally:
            reading.close()
            process.terminate()
            process.wait()

    @abstractmethod
    def serve(self, reading: socket.socket) -> Arrivals:
        """Take rows from a socket until it is closed."""

    def bars(self, answer: Any) -> Bars:
        """Do nothing: this is not about bars."""
        raise NotImplementedError

    def check(self, answer: Any) -> Difference:
        """Compare the rows that came with those that should have."""
        rows = rows_of(self.ticks.rows)
        ids = np.unique(rows["trade_id"][rows["size"] >= LEAST_SIZE * 1_000_000_000])
        same = np.array_equal(np.sort(answer.trade_ids), ids)
        text = f"{len(answer.trade_ids):,} rows came instead of {len(ids):,}, or others"
        return Difference("" if same else text, ())

    def figures(self, answer: Any) -> dict[str, Any]:
        """Return percentiles in microseconds, without the first rows."""
        latencies = answer.latencies[int(len(answer.latencies) * WARM_UP_SHARE) :] / 1_000
        p50, p99, p999 = np.percentile(latencies, [50, 99, 99.9]).tolist()
        return {"p50_us": p50, "p99_us": p99, "p999_us": p999}

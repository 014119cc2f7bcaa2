"""A process that sends rows on a schedule that waits for nobody.

Row i is due at `start + i * period`, and carries that time as its event time. Where the
producer or its reader falls behind, later rows are still due when they were: what they
wait is part of their latency, so nothing is omitted.
"""

from __future__ import annotations

__all__ = ("ROW", "rows_of", "start_producer")

import socket
import subprocess
import sys
import time

import numpy as np
import numpy.typing as npt

ROW = np.dtype(
    [(name, "<i8") for name in ("ts_event", "code", "price", "size", "trade_id")], align=False
)
SYMBOLS = 100
_START_AFTER_NS = 300_000_000


def rows_of(count: int) -> npt.NDArray[np.void]:
    """Return the rows, 1 % of them duplicates, without their times."""
    rng = np.random.default_rng(7)
    rows = np.zeros(count, ROW)
    rows["code"] = rng.integers(0, SYMBOLS, count)
    rows["price"] = rng.integers(10_000, 20_000, count) * 10_000_000
    rows["size"] = rng.integers(1, 1_000, count) * 1_000_000_000
    rows["trade_id"] = np.arange(count)
    again = rng.choice(np.arange(1, count), count // 100, replace=False)
    for name in ("code", "price", "size", "trade_id"):
        rows[name][again] = rows[name][again - 1]
    return rows


def start_producer(count: int, rate: int) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the process; return the reading end of its socket, and the process."""
    reading, writing = socket.socketpair()
    number = writing.fileno()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.latency.producer", str(number), str(count), str(rate)],
        pass_fds=[number],
    )
    writing.close()
    reading.setblocking(False)
    return reading, process


def main() -> None:
    """Send the rows."""
    number, count, rate = map(int, sys.argv[1:4])
    sock = socket.socket(fileno=number)
    period = 1_000_000_000 // rate
    rows = rows_of(count)
    start = time.monotonic_ns() + _START_AFTER_NS
    rows["ts_event"] = start + period * np.arange(count)
    data = memoryview(rows.tobytes())
    due = start
    now = time.monotonic_ns
    for at in range(0, len(data), ROW.itemsize):
        while now() < due:
            pass
        sock.sendall(data[at : at + ROW.itemsize])
        due += period
    sock.close()


if __name__ == "__main__":
    main()

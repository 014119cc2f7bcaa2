"""The loop people write by hand: a task for each step, a queue for each hop."""

from __future__ import annotations

__all__ = ("QueueLoopLatency",)

import asyncio
import socket
import struct
import time
from collections import deque
from typing import Any

import numpy as np

from benchmarks.latency.producer import ROW
from benchmarks.latency.task import LEAST_SIZE, Arrivals, LatencyTask
from benchmarks.ticks import SECOND_NS

_FORMAT = struct.Struct("<5q")
_LEAST = LEAST_SIZE * 1_000_000_000
_QUEUE_SIZE = 10_000

Tick = tuple[int, int, int, int, int]
Queue = asyncio.Queue[Tick | None]


async def _source(reading: socket.socket, to_dedupe: Queue) -> None:
    stream, writer = await asyncio.open_connection(sock=reading)
    rest = b""
    while data := await stream.read(65_536):
        data = rest + data
        whole = len(data) - len(data) % ROW.itemsize
        rest = data[whole:]
        for tick in _FORMAT.iter_unpack(data[:whole]):
            await to_dedupe.put(tick)
    await to_dedupe.put(None)
    writer.close()


async def _dedupe(to_dedupe: Queue, to_filter: Queue) -> None:
    seen: set[tuple[int, int]] = set()
    order: deque[tuple[int, tuple[int, int]]] = deque()
    while (tick := await to_dedupe.get()) is not None:
        time_ns, key = tick[0], (tick[1], tick[4])
        while order and order[0][0] <= time_ns:
            seen.discard(order.popleft()[1])
        if key not in seen:
            seen.add(key)
            order.append((time_ns + SECOND_NS, key))
            await to_filter.put(tick)
    await to_filter.put(None)


async def _filter(to_filter: Queue, to_sink: Queue) -> None:
    while (tick := await to_filter.get()) is not None:
        if tick[3] >= _LEAST:
            await to_sink.put(tick)
    await to_sink.put(None)


async def _sink(to_sink: Queue) -> Arrivals:
    ids: list[int] = []
    latencies: list[int] = []
    now = time.monotonic_ns
    while (tick := await to_sink.get()) is not None:
        latencies.append(now() - tick[0])
        ids.append(tick[4])
    return Arrivals(np.array(ids, np.int64), np.array(latencies, np.int64))


async def _run(reading: socket.socket) -> Arrivals:
    """Run the four tasks until the socket is closed."""
    to_dedupe, to_filter, to_sink = (Queue(_QUEUE_SIZE) for _ in range(3))
    async with asyncio.TaskGroup() as group:
        group.create_task(_source(reading, to_dedupe))
        group.create_task(_dedupe(to_dedupe, to_filter))
        group.create_task(_filter(to_filter, to_sink))
        stored = group.create_task(_sink(to_sink))
    return stored.result()


class QueueLoopLatency(LatencyTask):
    """The loop written by hand."""

    def serve(self, reading: socket.socket) -> Any:
        """Run the loop."""
        return asyncio.run(_run(reading))

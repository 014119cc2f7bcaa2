"""What the task of a source does: read it, and give what it gives to who reads it."""

from __future__ import annotations

__all__ = ("run_source",)

import asyncio
from typing import Final

from market_data_pipeline.batch import Batch
from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.boundary import boundary
from market_data_pipeline.dag.checkpoints.coordinator import Coordinator
from market_data_pipeline.dag.endpoints import RunningSource
from market_data_pipeline.dag.messages import END, Idle, Watermark

_SHARE_LOOP_EVERY_S: Final = 0.02
"""A source that never has to wait lets other tasks run at least this often."""


async def run_source(source: RunningSource, clock: Clock, coordinator: Coordinator | None) -> None:
    """Read a source until its end, or until the run is stopped, and send the end.

    Args:
        source: The source.
        clock: Time outside the data.
        coordinator: What takes the checkpoints, None in a run without.

    Raises:
        NodeError: If the source failed.
    """
    with boundary(source.node):
        if not source.ended:
            await _read(source, clock, coordinator)
        if coordinator is not None:
            coordinator.cut_source(source)
        for channels in source.outlets.values():
            for channel in channels:
                await channel.send(END)
        source.meter.ended = True


async def _cut(source: RunningSource, coordinator: Coordinator | None) -> None:
    """Send the barrier that was asked for; where the run is stopped, wait for one."""
    while coordinator is not None:
        barrier = source.barrier
        if barrier is not None:
            coordinator.cut_source(source)
            for channels in source.outlets.values():
                for channel in channels:
                    await channel.send(barrier)
        if not source.stopped:
            return
        if source.barrier is None:
            source.asked.clear()
            await source.asked.wait()


async def _read(source: RunningSource, clock: Clock, coordinator: Coordinator | None) -> None:
    main = [port for port in source.node.outputs if port not in source.node.side_outputs]
    account, read, monotonic = source.account, source.reader.read, clock.monotonic
    meter = source.meter
    shared = monotonic()
    while True:
        if source.barrier is not None or source.stopped:
            await _cut(source, coordinator)
            if source.stopped:
                break
        try:
            source.reading = True
            given = await read()
        except asyncio.CancelledError:
            if not source.was_woken():
                raise
            continue
        finally:
            source.reading = False
        if given is None:
            source.ended = True
            break
        for port, item in given:
            if isinstance(item, Batch) and port in main:
                account.rows_out += len(item)
                source.watermark = max(source.watermark, item.watermark)
                meter.progress = item.progress
                meter.idle = False
            elif isinstance(item, Watermark) and port in main:
                source.watermark = max(source.watermark, item.time)
            elif isinstance(item, Idle):
                meter.idle = True
            for channel in source.outlets.get(port, ()):
                if not channel.send_nowait(item):
                    meter.block()
                    await channel.send(item)
                    meter.unblock()
        if monotonic() - shared > _SHARE_LOOP_EVERY_S:
            await asyncio.sleep(0)
            shared = monotonic()

"""What the task of a sink does: write what comes, and make it durable where that is asked."""

from __future__ import annotations

__all__ = ("run_sink",)

from time import perf_counter_ns

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.boundary import boundary
from market_data_pipeline.dag.checkpoints.coordinator import Coordinator
from market_data_pipeline.dag.endpoints import RunningSink
from market_data_pipeline.dag.messages import Barrier, End, Idle


async def run_sink(sink: RunningSink, coordinator: Coordinator | None) -> None:
    """Write to a sink until the end of data; what was written is not published yet.

    Args:
        sink: The sink.
        coordinator: What takes the checkpoints, None in a run without.

    Raises:
        NodeError: If the sink failed.
    """
    with boundary(sink.node):
        account, receive, write = sink.account, sink.inlet.receive, sink.writer.write
        meter = sink.meter
        while True:
            message = await receive()
            if isinstance(message, Batch):
                account.rows_in += len(message)
                meter.busy_since = began = perf_counter_ns()
                await write(message)
                meter.busy_since = 0
                # As `Meter.took`, without the call: a batch may be one row.
                spent = perf_counter_ns() - began
                meter.busy_ns += spent
                meter.buckets[spent.bit_length()] += 1
                meter.progress = message.progress
                meter.idle = False
            elif isinstance(message, Idle):
                meter.idle = True
            elif isinstance(message, Barrier):
                if coordinator is not None:
                    await coordinator.cut_sink(sink)
            elif isinstance(message, End):
                sink.ended = True
                if coordinator is not None:
                    await coordinator.cut_sink(sink)
                return

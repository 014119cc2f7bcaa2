"""A sink a hundred times slower than its source: memory flat, every row accounted for.

`MDP_SOAK_SECONDS` sets how long each policy runs; a minute is the figure that counts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.flow import Dag
from market_data_pipeline.records import QUOTE, Schema

SECONDS = float(os.environ.get("MDP_SOAK_SECONDS", "3"))
SCHEMA = QUOTE.only(["ts_event", "symbol", "bid_price", "ask_price"])
BATCH_ROWS = 1_000
CAPACITY = 20_000


@component("endless")
class EndlessSource:
    """Gives batches as fast as they are taken."""

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        return SCHEMA

    async def open(self, context: NodeContext) -> EndlessReader:
        return EndlessReader(context)


class EndlessReader:
    schema = SCHEMA

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._at = 0
        self._codes = context.symbols.encode(f"S{i}" for i in range(100))

    async def read(self) -> Sequence[tuple[str, Batch]] | None:
        times = np.arange(self._at, self._at + BATCH_ROWS)
        columns = {
            "ts_event": times,
            "symbol": self._codes[times % 100],
            "bid_price": times * 2,
            "ask_price": times * 2 + 1,
        }
        progress = Progress(self._at - 1 if self._at else TIME_MIN, 0, int(times[-1]))
        # What feeds the source would go on in the meantime.
        await asyncio.sleep(0)
        self._at += BATCH_ROWS
        self._context.account.rows_in += BATCH_ROWS
        batch = Batch(SCHEMA, columns, self._context.symbols, progress)
        return (("out", batch),)

    def fraction(self) -> float | None:
        return None

    async def close(self) -> None:
        pass


@component("slow")
class SlowSink:
    """Takes a batch, then a hundred times as long as the source takes to make one."""

    log: Any

    def check(self) -> None:
        pass

    async def open(self, context: NodeContext, schema: Schema | None) -> SlowWriter:
        return SlowWriter(self.log, context)

    def read(self) -> pa.Table:
        return pa.table({})


class SlowWriter:
    def __init__(self, log: list[int], context: NodeContext) -> None:
        self._log = log
        self._context = context

    async def write(self, batch: Batch) -> None:
        # About 20 us a batch at the source, so 2 ms for as many rows here.
        await asyncio.sleep(0.002 * max(1.0, len(batch) / BATCH_ROWS))
        self._log.append(int(batch.columns["bid_price"][-1]))
        self._context.account.rows_out += len(batch)

    async def finish(self) -> None:
        pass

    async def abort(self) -> None:
        pass


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def drive(policy: Any, log: list[int]) -> tuple[RunResult, list[int]]:
    dag = Dag("slow")
    dag.source(EndlessSource(), name="feed").edge(policy=policy, rows=CAPACITY).sink(
        SlowSink(log), name="store"
    )
    loop = asyncio.get_running_loop()
    running = Run(dag)
    task = loop.create_task(running.run())
    end = loop.time() + SECONDS
    memory: list[int] = []
    while loop.time() < end and not task.done():
        await asyncio.sleep(SECONDS / 30)
        memory.append(resident_bytes())
    running.stop()
    return await task, memory


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest", "conflate"])
def test_memory_is_flat_and_counts_add_up(policy: Any) -> None:
    """Each policy holds its bound, does what it says, and loses nothing uncounted."""
    log: list[int] = []
    result, memory = asyncio.run(drive(policy, log))
    edge = result.edges["store", ("feed", "out")]
    store = result.ledger["store"]
    dropped = store.reasons.get("dropped", 0)
    assert edge.rows_queued_max <= CAPACITY
    assert store.rows_in == result.rows_read == store.rows_out + dropped
    assert result.ledger.balanced
    assert log == sorted(log)
    if policy == "block":
        assert dropped == 0
        assert edge.waits > 0
    else:
        assert dropped > store.rows_out
        assert edge.waits == 0
    settled = memory[len(memory) // 3]
    assert max(memory[len(memory) // 3 :]) - settled < 16 * 1024 * 1024

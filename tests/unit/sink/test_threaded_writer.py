"""The thread behind a blocking sink: order, pressure, failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import OutputError
from market_data_pipeline.sink.writer import PENDING_ROWS_MAX, ThreadedWriter
from support.sink_rows import bars, context


class _Output:
    """Keeps what it is given; stands still while its gate is closed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.counts: list[int] = []
        self.failure: Exception | None = None

    def write(self, batches: Sequence[Batch]) -> None:
        self.gate.wait()
        self.calls.append("write")
        self.threads.add(threading.get_ident())
        for batch in batches:
            self.counts += batch["count"].tolist()
        if self.failure is not None:
            raise self.failure

    def complete(self) -> None:
        self.gate.wait()
        self.calls.append("complete")

    def publish(self) -> None:
        self.calls.append("publish")
        self.threads.add(threading.get_ident())

    def discard(self) -> None:
        self.calls.append("discard")


def test_rows_reach_the_output_in_order_and_in_one_thread() -> None:
    """However batches are gathered on the way, rows keep their order."""
    output = _Output()
    batches = [bars(3, seed=seed) for seed in range(200)]

    async def run() -> None:
        writer = ThreadedWriter(output, context())
        for batch in batches:
            await writer.write(batch)
        await writer.finish()

    asyncio.run(run())
    assert output.counts == np.concatenate([batch["count"] for batch in batches]).tolist()
    assert len(output.threads) == 1
    assert threading.get_ident() not in output.threads
    assert output.calls[-1] == "publish"


def test_batches_that_wait_are_written_together() -> None:
    """A slow output is called less often, not later."""
    output = _Output()
    output.gate.clear()

    async def run() -> None:
        writer = ThreadedWriter(output, context())
        for seed in range(50):
            await writer.write(bars(1, seed=seed))
        output.gate.set()
        await writer.finish()

    asyncio.run(run())
    assert output.calls == ["write", "write", "complete", "publish"]
    assert len(output.counts) == 50


def test_rows_that_wait_are_written_though_no_others_come() -> None:
    """The last rows of a feed that falls quiet do not wait for the next ones."""
    output = _Output()

    async def run() -> None:
        given = context()
        writer = ThreadedWriter(output, given)
        output.gate.clear()
        await writer.write(bars(1))
        await writer.write(bars(2))
        output.gate.set()
        async with asyncio.timeout(10):
            while given.account.rows_out < 3:  # noqa: ASYNC110  it has no event
                await asyncio.sleep(0)
        assert given.account.held == 0
        await writer.abort()

    asyncio.run(run())
    assert output.calls[:2] == ["write", "write"]


def test_writer_waits_when_too_many_rows_wait_and_the_loop_goes_on() -> None:
    """A blocked output makes its sender wait, and nobody else."""
    output = _Output()
    output.gate.clear()
    batch = bars(PENDING_ROWS_MAX // 2)

    async def run() -> None:
        given = context()
        writer = ThreadedWriter(output, given)
        await writer.write(batch)  # taken by the thread
        await writer.write(batch)  # waits beside it
        third = asyncio.create_task(writer.write(batch))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not third.done()
        assert given.account.held == 3 * len(batch)
        output.gate.set()
        await third
        await writer.finish()
        assert given.account.rows_out == 3 * len(batch)
        assert given.account.held == 0

    asyncio.run(run())


def test_failure_is_raised_by_the_next_call() -> None:
    """A failure in the thread is not lost, and nothing is written after it."""
    output = _Output()
    output.failure = OutputError("no space", path="out.parquet")

    async def run() -> None:
        writer = ThreadedWriter(output, context())
        await writer.write(bars(1))
        with pytest.raises(OutputError, match="no space"):
            await writer.finish()
        with pytest.raises(OutputError, match="no space"):
            await writer.write(bars(1))
        await writer.abort()

    asyncio.run(run())
    assert output.calls == ["write", "discard"]


def test_abort_waits_for_the_running_job() -> None:
    """The output is deleted after the thread let go of it, not under its hands."""
    output = _Output()
    output.gate.clear()

    async def run() -> None:
        writer = ThreadedWriter(output, context())
        await writer.write(bars(1))
        aborting = asyncio.create_task(writer.abort())
        for _ in range(10):
            await asyncio.sleep(0)
        assert output.calls == []
        output.gate.set()
        await aborting

    asyncio.run(run())
    assert output.calls == ["write", "discard"]


def test_cancelled_write_keeps_its_rows_in_the_account() -> None:
    """Rows of a write that was cancelled while it waited are held, then aborted."""
    output = _Output()
    output.gate.clear()
    batch = bars(PENDING_ROWS_MAX)

    async def run() -> None:
        given = context()
        writer = ThreadedWriter(output, given)
        await writer.write(batch)
        waiting = asyncio.create_task(writer.write(batch))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        output.gate.set()
        await writer.abort()
        assert (given.account.held, given.account.rows_out) == (2 * len(batch), 0)

    asyncio.run(run())


def test_abort_after_finish_keeps_the_output() -> None:
    """What is published stays, though another node fails later."""
    output = _Output()

    async def run() -> None:
        writer = ThreadedWriter(output, context())
        await writer.write(bars(1))
        await writer.finish()
        await writer.abort()

    asyncio.run(run())
    assert output.calls == ["write", "complete", "publish"]


def test_cancelled_finish_publishes_nothing() -> None:
    """Who gives up while the output is completed finds nothing, not a surprise."""
    output = _Output()

    async def run() -> None:
        writer = ThreadedWriter(output, context())
        await writer.write(bars(1))
        while "write" not in output.calls:  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0)
        output.gate.clear()
        finishing = asyncio.create_task(writer.finish())
        for _ in range(10):
            await asyncio.sleep(0)
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        output.gate.set()
        await writer.abort()

    asyncio.run(run())
    assert output.calls[0] == "write"
    assert output.calls[-1] == "discard"
    assert "publish" not in output.calls

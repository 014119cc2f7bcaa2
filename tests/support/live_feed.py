"""A feed of the present: rows with the wall clock's time, until it is told to stop."""

from __future__ import annotations

__all__ = ("LiveSource", "TellingSink", "runs_in_thread")

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import PipelineError
from market_data_pipeline.records import Schema
from support.nodes import SCHEMA, RecordingSink, RecordingWriter, trades


@component("live")
class LiveSource:
    """Gives a batch of the present every few milliseconds.

    Attributes:
        rows: Rows of a batch.
        every_s: Seconds between two.
        stalled: Whether its watermark stands still.
        fail_after: Batches after which it fails; None for never.
    """

    rows: int = 200
    every_s: float = 0.02
    stalled: bool = False
    fail_after: int | None = None

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        return SCHEMA

    async def open(self, context: NodeContext) -> LiveReader:
        return LiveReader(self, context)


class LiveReader:
    """The running half; a source that is paced, with its whole budget."""

    def __init__(self, settings: LiveSource, context: NodeContext) -> None:
        self.schema = SCHEMA
        self.provider = "live"
        self.budget_scale = 1.0
        self.pacing_waits = 0
        self._settings = settings
        self._context = context
        self._began_ns = context.clock.now_ns()
        self._last_ns = self._began_ns
        self._batches = 0

    async def read(self) -> Sequence[tuple[str, Batch]] | None:
        settings, context = self._settings, self._context
        self.pacing_waits += 1
        await asyncio.sleep(settings.every_s)
        self._batches += 1
        if settings.fail_after is not None and self._batches > settings.fail_after:
            msg = "cannot reach postgresql://mdp:hunter2@db/ticks"
            raise OSError(msg)
        before, now_ns = self._last_ns, context.clock.now_ns()
        self._last_ns = now_ns
        times = [before + (now_ns - before) * i // settings.rows for i in range(settings.rows)]
        batch = trades(times, context.symbols, names=("A", "B", "C"))
        context.account.rows_in += len(batch)
        # The watermark is the newest time less the bound; one that stands still is that of
        # an input whose bound grows with time.
        bound = now_ns - self._began_ns if settings.stalled else 0
        progress = Progress(now_ns if settings.stalled else before, bound, now_ns - bound)
        return (("out", batch.with_progress(progress)),)

    def position(self) -> dict[str, int]:
        return {"batches": self._batches}

    def throttle(self, scale: float) -> None:
        self.budget_scale = scale

    def fraction(self) -> float | None:
        return None

    async def close(self) -> None:
        pass


@component("telling")
class TellingSink(RecordingSink):
    """Forgets rows, and tells how full it is.

    Attributes:
        pending: What it says is not durable yet, of a hundred.
    """

    pending: int = 3

    async def open(self, context: NodeContext, schema: Schema | None) -> TellingWriter:
        return TellingWriter(self, context)


class TellingWriter(RecordingWriter):
    def __init__(self, settings: TellingSink, context: NodeContext) -> None:
        super().__init__(settings, context)
        self._pending = settings.pending

    def pressure(self) -> Pressure:
        return Pressure(self._pending, 100, commit_s=0.01)


@contextmanager
def runs_in_thread(runs: Sequence[Run]) -> Iterator[None]:
    """Run graphs in an event loop of a thread while the context lasts, then stop them."""
    failures: list[BaseException] = []
    begun, stop = threading.Event(), threading.Event()

    async def one(run: Run) -> None:
        with suppress(PipelineError):
            await run.run()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(run)) for run in runs]
            begun.set()
            while not stop.is_set():  # noqa: ASYNC110  it is a thread's event
                await asyncio.sleep(0.05)
            for run in runs:
                run.stop()
            await asyncio.wait(tasks, timeout=5)
            for task in tasks:
                task.cancel()

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as err:  # noqa: BLE001  shown by the assertion
            failures.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(30)
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not failures, failures

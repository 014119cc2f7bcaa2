"""Run a graph from a script, a notebook or a thread: `run`."""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.checkpoints.settings import Checkpoint, Resume
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run

_Interrupt: TypeAlias = Future[Callable[[], None]]
"""What interrupts a run, once it is under way."""


def run(
    dag: Dag,
    *,
    progress: Callable[[Run], None] | None = None,
    clock: Clock | None = None,
    checkpoint: Checkpoint | None = None,
    resume: Resume | None = None,
    notify: Callable[[str], None] | None = None,
) -> RunResult:
    """Run a graph to its end and return what it did.

    Works in a script, and where an event loop is running already, as in a notebook: the
    graph then runs in a thread of its own while this call waits. Inside a coroutine use
    `await run_dag(dag)` instead, which does not block the loop.

    The first SIGINT (Ctrl-C) or SIGTERM stops the sources, and what was read goes
    through to the sinks; the second stops at once and leaves no half-written output.

    Args:
        dag: The graph.
        progress: Called about ten times a second with the run, for display.
        clock: Time outside the data; the machine's by default.
        checkpoint: Where checkpoints go; None for what the graph says. With checkpoints the
            first signal takes one more, and the next run goes on from there.
        resume: Which checkpoint to go on from; by default from the newest, if there is one.
        notify: Is told, in words, that it goes on from a checkpoint, and what of it is odd.

    Raises:
        GraphError: If the graph cannot run.
        CheckpointError: If the checkpoints cannot be used, or none comes about.
        NodeError: If a node failed.
        LedgerError: If rows are missing at the end.
        KeyboardInterrupt: If it was interrupted twice.
    """
    running = Run(dag, clock=clock, checkpoint=checkpoint, resume=resume, notify=notify)
    if _inside_a_loop():
        return _run_in_thread(running, progress)
    interrupt: _Interrupt = Future()

    def on_signal(*_: object) -> None:
        if interrupt.done():
            interrupt.result()()
        else:
            running.stop()

    with _handled(on_signal):
        return asyncio.run(_run(running, progress, interrupt))


@contextmanager
def _handled(on_signal: Callable[..., None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call a function, if this is the thread that is told of them.

    They are set before there is a loop: what a loop sets and takes back for itself costs
    more than opening the nodes of a small graph.
    """
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set from Python, and not to be set from it
                signal.signal(number, handler)


def _run_in_thread(running: Run, progress: Callable[[Run], None] | None) -> RunResult:
    outcome: Future[RunResult] = Future()
    interrupt: _Interrupt = Future()

    def work() -> None:
        try:
            outcome.set_result(asyncio.run(_run(running, progress, interrupt)))
        except BaseException as err:  # noqa: BLE001  handed to the thread that waits
            outcome.set_exception(err)

    thread = threading.Thread(target=work, name=f"mdp-{running.dag.name}", daemon=True)
    thread.start()
    while True:
        try:
            return outcome.result()
        except KeyboardInterrupt:
            # Ctrl-C comes to this thread, and the graph runs in the other.
            if outcome.done():
                raise
            interrupt.result()()


def _inside_a_loop() -> bool:
    # Apart from `run`, or what fails in the run would be told as a consequence of this.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _run(
    running: Run, progress: Callable[[Run], None] | None, interrupt: _Interrupt
) -> RunResult:
    """Run a graph, once it is known how to interrupt it from any thread, or in a signal."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    killed = False

    def on_signal() -> None:
        nonlocal killed
        if not running.interrupted:
            running.stop()
        elif task is not None:
            killed = True
            task.cancel()

    def on_interrupt() -> None:
        with suppress(RuntimeError):  # the loop is closed: the run has just ended
            loop.call_soon_threadsafe(on_signal)

    interrupt.set_result(on_interrupt)
    try:
        return await running.run(progress)
    except asyncio.CancelledError:
        if killed:
            raise KeyboardInterrupt from None
        raise

"""Run a graph from a script, a notebook or a thread: `run`."""

from __future__ import annotations

__all__ = ("run",)

import asyncio
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future

from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run


def run(
    dag: Dag,
    *,
    progress: Callable[[Run], None] | None = None,
    clock: Clock | None = None,
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

    Raises:
        GraphError: If the graph cannot run.
        NodeError: If a node failed.
        LedgerError: If rows are missing at the end.
        KeyboardInterrupt: If it was interrupted twice.
    """
    if not _inside_a_loop():
        return asyncio.run(_run(dag, progress, clock))
    outcome: Future[RunResult] = Future()

    def work() -> None:
        try:
            outcome.set_result(asyncio.run(_run(dag, progress, clock)))
        except BaseException as err:  # noqa: BLE001  handed to the thread that waits
            outcome.set_exception(err)

    thread = threading.Thread(target=work, name=f"mdp-{dag.name}", daemon=True)
    thread.start()
    return outcome.result()


def _inside_a_loop() -> bool:
    # Apart from `run`, or what fails in the run would be told as a consequence of this.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _run(dag: Dag, progress: Callable[[Run], None] | None, clock: Clock | None) -> RunResult:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    running = Run(dag, clock=clock)
    killed = False

    def on_signal() -> None:
        nonlocal killed
        if not running.interrupted:
            running.stop()
        elif task is not None:
            killed = True
            task.cancel()

    handled: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, on_signal)
            except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt as usual
                break
            handled.append(number)
    try:
        return await running.run(progress)
    except asyncio.CancelledError:
        if killed:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)

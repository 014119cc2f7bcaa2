"""The pipelines of a runtime: started in the background, watched, drained and stopped."""

from __future__ import annotations

__all__ = ("JobTable",)

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import (
    DuplicateJobError,
    JobStoppedError,
    TooManyJobsError,
    UnknownJobError,
)
from market_data_pipeline.orchestration.intake import Plan
from market_data_pipeline.orchestration.jobs import JobState, JobStatus
from market_data_pipeline.redaction import redacted

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    plan: Plan
    run: Run
    state: JobState
    since_ns: int
    task: asyncio.Task[RunResult] = field(init=False)
    error: str | None = None
    is_told_to_stop: bool = False
    not_drained_s: float | None = None


class JobTable:
    """Pipelines by key.

    Each runs in a task that the table owns; a failure stays with its pipeline, with its
    cause, until the key is used again or many others have ended since.

    Args:
        most: How many may run at once.
        kept: How many that are over are remembered.
        drain_s: Seconds a pipeline that is stopped may take for what it has read.
        clock: Time outside the data.
        around: What is entered before a run and left after it, as a feedback loop.
    """

    def __init__(
        self,
        *,
        most: int,
        kept: int,
        drain_s: float,
        clock: Clock | None = None,
        around: Callable[[str, Run], AbstractAsyncContextManager[object]] | None = None,
    ) -> None:
        self._most = most
        self._kept = kept
        self._drain_s = drain_s
        self._clock = clock or SystemClock()
        self._around = around
        self._entries: dict[str, _Entry] = {}

    def start(self, plan: Plan) -> str:
        """Start a pipeline in the background; return its key.

        Raises:
            DuplicateJobError: If one of this key runs.
            TooManyJobsError: If as many run as may.
        """
        key = plan.key
        if key in self._entries and not self._entries[key].task.done():
            msg = f"the pipeline `{key}` is running; stop it, or give this one another key"
            raise DuplicateJobError(msg, key=key)
        running = sum(not entry.task.done() for entry in self._entries.values())
        if running >= self._most:
            msg = (
                f"the pipeline `{key}` is one too many: {running} run, and "
                f"`max_concurrent_pipelines` is {self._most}"
            )
            raise TooManyJobsError(msg, key=key)
        self._entries.pop(key, None)
        entry = _Entry(plan, Run(plan.dag, clock=self._clock), "starting", self._clock.now_ns())
        self._entries[key] = entry
        entry.task = asyncio.get_running_loop().create_task(self._run(entry), name=f"mdp {key}")
        entry.task.add_done_callback(lambda _: self._ended(entry))
        _log.info("started", extra={"pipeline": key})
        return key

    async def wait(self, key: str) -> RunResult:
        """Return what a pipeline did once it is over; it goes on if the caller is cancelled.

        Raises:
            UnknownJobError: If there is none of this key.
            JobStoppedError: If it was stopped without being drained.
            PipelineError: What made it fail.
        """
        entry = self._entry(key)
        await asyncio.wait([entry.task])
        if entry.task.cancelled():
            msg = f"the pipeline `{key}` was stopped: {entry.error or 'not drained'}"
            raise JobStoppedError(msg, key=key)
        return entry.task.result()

    async def stop(self, keys: Iterable[str], *, drain: bool = True) -> None:
        """Stop pipelines and return once they are over.

        Args:
            keys: Which; those that are over are left as they are.
            drain: Let what was read go through to the sinks, for as long as that may
                take; else end at once, leaving no output half-written.

        Raises:
            UnknownJobError: If there is none of a key; then nothing is stopped.
        """
        entries = [self._entry(key) for key in keys]
        going = [entry for entry in entries if not entry.task.done()]
        tasks = [entry.task for entry in going]
        for entry in going:
            entry.is_told_to_stop = True
            self._set(entry, "stopping")
            entry.run.stop()
        try:
            if drain and tasks:
                await asyncio.wait(tasks, timeout=self._drain_s)
                for entry in going:
                    if not entry.task.done():
                        entry.not_drained_s = self._drain_s
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def plan(self, key: str) -> Plan:
        """Return what a pipeline was started as.

        Raises:
            UnknownJobError: If there is none of this key.
        """
        return self._entry(key).plan

    def status(self, key: str) -> JobStatus:
        """Return how a pipeline is.

        Raises:
            UnknownJobError: If there is none of this key.
        """
        return self._status(self._entry(key))

    def statuses(self) -> tuple[JobStatus, ...]:
        """Return how all are, in the order in which they were started."""
        return tuple(self._status(entry) for entry in self._entries.values())

    def forget(self, key: str) -> None:
        """Forget a pipeline that is over.

        Raises:
            UnknownJobError: If there is none of this key.
            DuplicateJobError: If it runs.
        """
        if not self._entry(key).task.done():
            msg = f"the pipeline `{key}` is running; stop it first"
            raise DuplicateJobError(msg, key=key)
        del self._entries[key]

    def _entry(self, key: str) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            raise UnknownJobError(key, self._entries)
        return entry

    def _status(self, entry: _Entry) -> JobStatus:
        plan, state = entry.plan, entry.state
        if state == "starting" and entry.run.phase != "starting":
            self._set(entry, "running")
        return JobStatus(
            plan.key,
            plan.dag.name,
            plan.kind,
            entry.state,
            entry.since_ns,
            entry.error,
            entry.run,
        )

    def _set(self, entry: _Entry, state: JobState) -> None:
        entry.state = state
        entry.since_ns = self._clock.now_ns()

    async def _run(self, entry: _Entry) -> RunResult:
        plan = entry.plan
        async with AsyncExitStack() as stack:
            if self._around is not None:
                await stack.enter_async_context(self._around(plan.key, entry.run))
            if plan.duration_s is not None:
                await stack.enter_async_context(_Stopper(entry.run, plan.duration_s, self._clock))
            return await entry.run.run()

    def _ended(self, entry: _Entry) -> None:
        task = entry.task
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            entry.error = redacted(str(failure) or type(failure).__name__)
            self._set(entry, "failed")
        elif entry.not_drained_s is not None and task.cancelled():
            entry.error = (
                f"what it had read was not through after {entry.not_drained_s:g} s "
                "(`drain_timeout_s`); its outputs were not published"
            )
            self._set(entry, "failed")
        elif entry.is_told_to_stop or task.cancelled():
            self._set(entry, "stopped")
        else:
            self._set(entry, "finished")
        _tell(entry)
        over = [key for key, other in self._entries.items() if other.task.done()]
        for key in over[: max(0, len(over) - self._kept)]:
            del self._entries[key]


def _tell(entry: _Entry) -> None:
    """Log how a pipeline ended: nobody may be waiting for it."""
    ledger, nodes = entry.run.ledger(), entry.plan.dag.nodes.values()
    rows = sum(ledger[node.name].rows_in for node in nodes if node.kind == "source")
    told = {"pipeline": entry.plan.key, "rows": rows}
    if entry.state != "failed":
        _log.info(entry.state, extra=told)
    elif _log.hasHandlers():
        _log.error("failed: %s", entry.error, extra=told)


class _Stopper:
    """Stops a run's sources after a time."""

    def __init__(self, run: Run, seconds: float, clock: Clock) -> None:
        self._run = run
        self._seconds = seconds
        self._clock = clock
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> None:
        await self._group.__aenter__()
        self._task = self._group.create_task(self._stop())

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await self._group.__aexit__(None, None, None)

    async def _stop(self) -> None:
        await self._clock.sleep(self._seconds)
        self._run.stop()

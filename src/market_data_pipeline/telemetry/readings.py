"""One look at the running pipelines, of which all that is told of them is made."""

from __future__ import annotations

__all__ = ("JobReading", "JobStatusLike", "JobsLike", "Observer", "Observable")

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.channel_statistics import ChannelStatistics
from market_data_pipeline.dag.checkpoints.figures import CheckpointFigures
from market_data_pipeline.dag.figures import NodeFigures
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.telemetry.scaling import Scaling, ScalingWindow

_ENDED_SHOWN: Final = 10
_OVER: Final = frozenset({"finished", "stopped", "failed", "ended"})


class JobStatusLike(Protocol):
    """A pipeline as a runtime tells of it."""

    @property
    def key(self) -> str:
        """Its key."""
        ...

    @property
    def state(self) -> str:
        """What it does."""
        ...

    @property
    def run(self) -> Run | None:
        """The graph that runs, None before there is one."""
        ...


@runtime_checkable
class JobsLike(Protocol):
    """Whoever runs pipelines: a `PipelineRuntime`."""

    def list(self) -> tuple[Any, ...]:
        """Return the pipelines, those that are over included."""
        ...


Observable: TypeAlias = Run | JobsLike | Callable[[], Sequence[Run | JobStatusLike]]
"""What can be observed: a run, a runtime with many, or a function that returns some."""


@dataclass(frozen=True, slots=True)
class JobReading:
    """What one look at a pipeline gave.

    Attributes:
        key: What it is called.
        state: starting, running, stopping, finished, stopped or failed.
        dag: Its graph.
        seconds: How long it has run.
        nodes: The figures of its nodes.
        edges: The figures of its channels, by reading node and port read from.
        pressures: How full its sinks are, of those that tell it.
        scaling: What an autoscaler may look at.
        checkpoint: Figures of its checkpoints; None if it has none.
    """

    key: str
    state: str
    dag: Dag
    seconds: float
    nodes: Mapping[str, NodeFigures]
    edges: Mapping[tuple[str, tuple[str, str]], ChannelStatistics]
    pressures: Mapping[str, Pressure]
    scaling: Scaling
    checkpoint: CheckpointFigures | None

    @property
    def is_over(self) -> bool:
        """True once nothing of it runs."""
        return self.state in _OVER


class Observer:
    """Looks at pipelines, and remembers of each what rates are made of.

    May be asked from any thread, by one at a time.

    Args:
        jobs: A run, a runtime, or a function that returns runs or statuses of pipelines.
        clock: Time outside the data; the machine's by default.
    """

    def __init__(self, jobs: Observable, *, clock: Clock | None = None) -> None:
        self._jobs = jobs
        self._clock = clock or SystemClock()
        self._windows: dict[str, tuple[Run, ScalingWindow]] = {}

    def look(self) -> list[JobReading]:
        """Return how all pipelines are: those that run, and the last ten that are over."""
        runs: dict[str, tuple[str, Run]] = {}
        for key, state, run in self._listed():
            runs[key] = (state, run)
        over = [key for key, (state, _) in runs.items() if state in _OVER]
        for key in over[:-_ENDED_SHOWN]:
            del runs[key]
        for key in self._windows.keys() - runs.keys():
            del self._windows[key]
        return [self._read(key, state, run) for key, (state, run) in runs.items()]

    def _listed(self) -> list[tuple[str, str, Run]]:
        jobs = self._jobs
        several = jobs.list if isinstance(jobs, JobsLike) else jobs
        listed: list[tuple[str, str, Run]] = []
        for item in several() if callable(several) else [several]:
            if isinstance(item, Run):
                state = "finished" if item.phase == "ended" else item.phase
                listed.append((item.dag.name, state, item))
            elif item.run is not None:
                listed.append((item.key, item.state, item.run))
        return listed

    def _read(self, key: str, state: str, run: Run) -> JobReading:
        known = self._windows.get(key)
        if known is None or known[0] is not run:
            known = self._windows[key] = (run, ScalingWindow())
        nodes, pressures = run.nodes(), run.pressures()
        return JobReading(
            key=key,
            state=state,
            dag=run.dag,
            seconds=run.seconds(),
            nodes=nodes,
            edges=run.edges(),
            pressures=pressures,
            scaling=known[1].look(self._clock.monotonic(), nodes, pressures),
            checkpoint=run.checkpoints(),
        )

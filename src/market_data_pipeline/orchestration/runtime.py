"""One runtime for many pipelines: graphs, pipeline files and version 0.8 specs alike."""

from __future__ import annotations

__all__ = ("PipelineRuntime",)

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal, Self, TypeAlias

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.errors import JobError
from market_data_pipeline.orchestration.coordinated import CoordinatedSource
from market_data_pipeline.orchestration.coordinator import RateCoordinator
from market_data_pipeline.orchestration.feedback import FeedbackLoop
from market_data_pipeline.orchestration.intake import Job, plan_of
from market_data_pipeline.orchestration.job_table import JobTable
from market_data_pipeline.orchestration.jobs import JobState, JobStatus, RuntimeHealth
from market_data_pipeline.orchestration.registry import SourceRegistry
from market_data_pipeline.orchestration.router import SourceRouter
from market_data_pipeline.orchestration.service import PipelineService
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings, ProviderSettings
from market_data_pipeline.redaction import redacted

_Keys: TypeAlias = list[str]
"""`list` is a method below."""
_Life: TypeAlias = Literal["new", "open", "shut"]


class PipelineRuntime:
    """Runs many pipelines at once, each in the background, and looks after them.

    Use it as `async with PipelineRuntime() as runtime:`; the end of the block stops what
    still runs and lets it drain. `await PipelineRuntime().run_dag(dag)` alone works too.

    Attributes:
        settings: Its settings.
        registry: The sources it knows by name.
        service: Its pipelines as version 0.8 sees them.
        coordinator: The budgets of the providers; None if they are not coordinated.
        feedback: The loop from the stores back to the providers; None if it is switched off.
    """

    def __init__(
        self, settings: PipelineRuntimeSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        """Make a runtime; nothing runs yet, and no event loop is needed.

        Args:
            settings: Its settings; None for the defaults.
            clock: Time outside the data; the machine's by default.
        """
        self.settings = settings if settings is not None else PipelineRuntimeSettings()
        self._clock = clock or SystemClock()
        self._life: _Life = "new"
        self.registry = SourceRegistry()
        self.coordinator = self._make_coordinator()
        self.feedback: FeedbackLoop | None = None
        if self.coordinator is not None and self.settings.dag.feedback.enabled:
            feedback = self.settings.dag.feedback
            self.feedback = FeedbackLoop(self.coordinator, feedback, clock=self._clock)
        self._jobs = JobTable(
            most=self.settings.max_concurrent_pipelines,
            kept=self.settings.dag.finished_kept,
            drain_s=self.settings.dag.drain_timeout_s,
            clock=self._clock,
            around=None if self.feedback is None else self.feedback.watch,
        )
        self.service = PipelineService(self.settings.pipeline, jobs=self._jobs)

    @property
    def _initialized(self) -> bool:
        return self._life == "open"

    async def initialize(self) -> None:
        """Get ready to run pipelines; does nothing if it is."""
        self._life = "open"
        await self.service.start()

    async def shutdown(self) -> None:
        """Stop every pipeline and let it drain; does nothing if it is shut down."""
        self._life = "shut"
        await self.service.stop()

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.shutdown()

    # Pipelines of any kind

    async def start(self, job: Job, *, key: str | None = None) -> str:
        """Start a pipeline in the background; return its key.

        Args:
            job: A `Dag`, a version 0.8 `PipelineSpec`, a mapping with the content of a
                pipeline file, or the path of one: of a graph, or of a version 0.8 spec, in
                YAML or JSON.
            key: What to call it; None for the graph's name, or `tenant:pipeline`.

        Raises:
            ConfigError: If it cannot run, or its name cannot be one.
            DuplicateJobError: If a pipeline of this key runs.
            TooManyJobsError: If as many run as may.
        """
        await self._open(key)
        plan = await plan_of(job, key=key, config=self.settings.pipeline)
        await self._open(plan.key)  # it may have been shut down while the file was read
        return self._jobs.start(plan)

    async def wait(self, key: str) -> RunResult:
        """Return what a pipeline did, once it is over.

        Raises:
            UnknownJobError: If there is none of this key.
            JobStoppedError: If it was stopped without being drained.
            PipelineError: What made it fail.
        """
        return await self._jobs.wait(key)

    async def stop(self, key: str, *, drain: bool = True) -> None:
        """Stop a pipeline, and return once it is over.

        Args:
            key: Which.
            drain: Let what was read go through to the sinks, for as long as
                `drain_timeout_s`; else end at once, with no output left half-written.

        Raises:
            UnknownJobError: If there is none of this key.
        """
        await self._jobs.stop([key], drain=drain)

    async def restart(self, key: str) -> str:
        """Stop a pipeline, if it runs, and start it anew from what it was made from.

        A file is read again first; if it cannot run any more, the pipeline is left alone.

        Raises:
            UnknownJobError: If there is none of this key.
            ConfigError: If it cannot run.
        """
        await self._open(key)
        plan = await plan_of(self._jobs.plan(key).origin, key=key, config=self.settings.pipeline)
        await self._jobs.stop([key])
        await self._open(key)
        return self._jobs.start(replace(plan, key=key))

    def list(self) -> tuple[JobStatus, ...]:
        """Return how all pipelines are, those that are over included."""
        return self._jobs.statuses()

    def status(self, key: str) -> JobStatus:
        """Return how a pipeline is.

        Raises:
            UnknownJobError: If there is none of this key.
        """
        return self._jobs.status(key)

    def health(self) -> RuntimeHealth:
        """Return how the runtime is as a whole."""
        statuses = self._jobs.statuses()
        states: Counter[JobState] = Counter(status.state for status in statuses)
        problems = [
            f"the pipeline `{status.key}` failed: {status.error}"
            for status in statuses
            if status.state == "failed"
        ]
        if self.feedback is not None and self.feedback.failure is not None:
            failure = redacted(str(self.feedback.failure))
            problems.append(f"the loop from the stores to the providers failed: {failure}")
        if self._life == "new":
            problems.append("the runtime is not initialized")
        elif self._life == "shut":
            problems.append("the runtime is shut down")
        return RuntimeHealth(
            self._life == "open", self._life != "shut", dict(states), tuple(problems)
        )

    # The two doors by name

    async def run_dag(self, dag: Job, *, key: str | None = None) -> RunResult:
        """Run a graph, or a pipeline file, to its end; it ends at once if the caller does.

        Raises:
            ConfigError: If it cannot run.
            PipelineError: What made it fail.
        """
        key = await self.start(dag, key=key)
        is_over = False
        try:
            result = await self._jobs.wait(key)
            is_over = True
            return result
        finally:
            if not is_over:
                await self._jobs.stop([key], drain=False)

    async def run_pipeline(self, spec: Job) -> str:
        """Start a version 0.8 pipeline in the background; return its key; as `start`."""
        return await self.start(spec)

    async def stream_quotes(
        self, symbols: Sequence[str], source_priority: Sequence[str] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Give quotes of symbols from the first source that works.

        With rate coordination each quote draws on its provider's budget, and a provider
        that fails too often is left alone for a while.

        Args:
            symbols: The symbols.
            source_priority: Names in the registry, the preferred one first; None for
                `synthetic`.

        Raises:
            ImportError: If there is no source of a name.
            SourceError: If all sources have failed.
        """
        await self._open(None)
        names = list(source_priority or ("synthetic",))
        sources = [self.registry.load(name)(symbols=list(symbols)) for name in names]
        if self.coordinator is not None:
            for name in set(names) - set(self.coordinator.providers):
                allowed = ProviderSettings(capacity=1_000, refill_rate=1_000)
                self._register(self.coordinator, name, allowed)
            sources = [
                CoordinatedSource(name, source, self.coordinator)
                for name, source in zip(names, sources, strict=True)
            ]
        router = SourceRouter(sources, "failover")
        wanted = set(symbols)
        try:
            async with aclosing(router.stream()) as quotes:
                async for quote in quotes:
                    if quote.symbol in wanted:
                        yield quote
        finally:
            await router.close()

    async def list_pipelines(self) -> _Keys:
        """Return the keys of the pipelines that run."""
        return [status.key for status in self._jobs.statuses() if not status.is_over]

    async def stop_pipeline(self, key: str) -> None:
        """Stop a pipeline and let it drain; as `stop`."""
        await self.stop(key)

    def _make_coordinator(self) -> RateCoordinator | None:
        settings = self.settings
        if not (settings.orchestration_enabled and settings.enable_rate_coordination):
            return None
        coordinator = RateCoordinator(clock=self._clock)
        for name, provider in settings.budgets().items():
            self._register(coordinator, name, provider)
        return coordinator

    def _register(
        self, coordinator: RateCoordinator, name: str, provider: ProviderSettings
    ) -> None:
        settings = self.settings
        threshold, timeout = provider.breaker_threshold, provider.breaker_timeout
        coordinator.register_provider(
            name,
            provider.capacity,
            provider.refill_rate,
            provider.cooldown_sec,
            settings.circuit_breaker_threshold if threshold is None else threshold,
            settings.circuit_breaker_timeout_sec if timeout is None else timeout,
            cooldowns=provider.cooldowns,
        )

    async def _open(self, key: str | None) -> None:
        if self._life == "shut":
            msg = "the runtime is shut down; call `initialize` to use it again"
            raise JobError(msg, key=key or "")
        if self._life == "new":
            await self.initialize()

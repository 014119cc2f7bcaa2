"""Pipelines as version 0.8 sees them: by `tenant:pipeline`, made from a spec."""

from __future__ import annotations

__all__ = ("PipelineService",)

from typing import Any

from market_data_pipeline.errors import JobError
from market_data_pipeline.orchestration.intake import Job, plan_of
from market_data_pipeline.orchestration.job_table import JobTable
from market_data_pipeline.orchestration.jobs import JobStatus
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings


class PipelineService:
    """Makes pipelines from specs, runs them in the background, and forgets them again.

    A `PipelineRuntime` has one, which is a second door to its pipelines; one made alone
    has pipelines of its own.

    Args:
        config: Defaults of the pipelines; None for those of the environment.
        jobs: Where the pipelines are; None for a place of its own.

    Attributes:
        running: True between `start` and `stop`.
    """

    def __init__(self, config: Any = None, *, jobs: JobTable | None = None) -> None:
        defaults = PipelineRuntimeSettings()
        self.config = config
        self.running = False
        self._jobs = jobs or JobTable(
            most=defaults.max_concurrent_pipelines,
            kept=defaults.dag.finished_kept,
            drain_s=defaults.dag.drain_timeout_s,
        )

    @property
    def pipelines(self) -> dict[str, JobStatus]:
        """How its pipelines are, by key."""
        return {status.key: status for status in self._jobs.statuses()}

    async def start(self) -> None:
        """Take pipelines from now on; does nothing if it does."""
        self.running = True

    async def stop(self) -> None:
        """Stop all pipelines and let them drain."""
        self.running = False
        await self._jobs.stop([status.key for status in self._jobs.statuses()])

    async def create_pipeline(self, spec: Job) -> str:
        """Start a pipeline; return its key, `tenant:pipeline`.

        Args:
            spec: A `PipelineSpec`, or whatever `PipelineRuntime.start` takes.

        Raises:
            ConfigError: If it cannot run.
            JobError: If the service is not started, or has too many pipelines or one of
                this key.
        """
        plan = await plan_of(spec, config=self.config)
        if not self.running:
            msg = "the service is not started; call `start` first"
            raise JobError(msg, key=plan.key)
        return self._jobs.start(plan)

    async def delete_pipeline(self, key: str) -> None:
        """Stop a pipeline, let it drain, and forget it.

        Raises:
            UnknownJobError: If there is none of this key.
        """
        await self._jobs.stop([key])
        self._jobs.forget(key)

    async def list_pipelines(self) -> list[str]:
        """Return the keys of its pipelines, those that are over included."""
        return [status.key for status in self._jobs.statuses()]

    async def get_pipeline_status(self, key: str) -> dict[str, Any]:
        """Return what a pipeline is and whether it runs, as plain data.

        Raises:
            UnknownJobError: If there is none of this key.
        """
        status = self._jobs.status(key)
        return {
            **self._jobs.plan(key).facts,
            "running": not status.is_over,
            "state": status.state,
            "error": status.error,
        }

"""Run a graph on behalf of a command, and tell what came of it."""

from __future__ import annotations

__all__ = ("execute", "interruption", "result_dict")

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from market_data_pipeline.cli.metrics_page import exporting, serving
from market_data_pipeline.cli.output import format_time
from market_data_pipeline.cli.progress import RunWatch, watching
from market_data_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from market_data_pipeline.dag.checkpoints.settings import Resume
    from market_data_pipeline.dag.graph import Dag
    from market_data_pipeline.dag.results import RunResult
    from market_data_pipeline.dag.runtime import Run

_log: Final = logging.getLogger(__name__)


def execute(
    dag: Dag,
    *,
    metrics: tuple[str, int] | None = None,
    served_at: tuple[str, int] | None = None,
    duration_s: float | None = None,
    resume: Resume | None = None,
    otel: bool = False,
) -> tuple[RunResult, int | None]:
    """Run a graph, showing its progress on a terminal.

    Args:
        dag: The graph.
        metrics: Host and port where to serve its metrics meanwhile; None for nowhere.
        otel: Whether to send its figures by OTLP meanwhile.
        served_at: Where to serve the live page meanwhile; None for nowhere.
        duration_s: Seconds after which its sources are stopped, which is its regular end;
            None to let them end.
        resume: Which checkpoint to go on from; None for the newest.

    Returns:
        The result, and up to which event time the sources were read.

    Raises:
        PipelineError: If the graph cannot run or a node failed.
        KeyboardInterrupt: If it was interrupted twice.
    """
    from market_data_pipeline.running import run

    is_told = served_at is None  # else by the runtime that serves it
    if is_told:
        _log.info("started", extra={"pipeline": dag.name})
    try:
        with watching() as watch, serving(watch, metrics), exporting(watch, on=otel):
            until = _Until(watch, duration_s)
            if served_at is None:
                result = run(dag, progress=until, resume=resume, notify=_notify)
            else:
                result = _run_served(dag, served_at, until)
    except PipelineError as err:
        if is_told and _log.hasHandlers():
            _log.error("failed: %s", err, extra={"pipeline": dag.name})
        raise
    if until.is_over:
        result = dataclasses.replace(result, interrupted=False)
    if is_told:
        _log.info(
            "interrupted" if result.interrupted else "finished",
            extra={
                "pipeline": dag.name,
                "rows": result.rows_read,
                "seconds": round(result.seconds, 3),
            },
        )
    return result, watch.covered


class _Until:
    """Stops a run that has had its time; called about ten times a second."""

    def __init__(self, watch: RunWatch, duration_s: float | None) -> None:
        self._watch = watch
        self._duration_s = duration_s
        self._began_s: float | None = None
        self.is_over = False

    def __call__(self, run: Run) -> None:
        self._watch(run)
        now_s = time.monotonic()
        began_s = self._began_s = now_s if self._began_s is None else self._began_s
        due = self._duration_s is not None and now_s - began_s >= self._duration_s
        if due and not run.interrupted:
            self.is_over = self._watch.is_expected = True
            run.stop()


def _run_served(
    dag: Dag, served_at: tuple[str, int], progress: Callable[[Run], None]
) -> RunResult:
    import asyncio

    from market_data_pipeline.server.process import run_served
    from market_data_pipeline.server.settings import ServerSettings
    from market_data_pipeline.server.token import token_of

    host, port = served_at
    settings = ServerSettings(host=host, port=port, token=token_of())

    def told(url: str) -> None:
        click.echo(f"live page: {url}", err=True)

    return asyncio.run(run_served(dag, settings, progress=progress, told=told))


def _notify(text: str) -> None:
    click.echo(text, err=True)


def interruption(result: RunResult, covered_ns: int | None) -> str:
    """Return what an interrupted run's output does and does not hold."""
    covered = format_time(covered_ns)
    if result.checkpoints is not None:
        return (
            f"interrupted: all that was read is in checkpoint {result.checkpoints.last_epoch}; "
            f"run it again to go on"
        )
    if covered is None:
        return "interrupted: the output holds what was read until then"
    return (
        f"interrupted: the output covers event time up to {covered}; "
        "what it holds of later times is incomplete"
    )


def result_dict(result: RunResult, covered_ns: int | None) -> dict[str, Any]:
    """Return what a run did as plain data, for `--json`."""
    rows, seconds = result.rows_read, result.seconds
    nodes = result.dag.nodes.values()
    return {
        "rows_in": rows,
        "rows_out": sum(result.ledger[n.name].rows_out for n in nodes if n.kind == "sink"),
        "late": result.ledger.total("late"),
        "rejected": result.ledger.total("rejected"),
        "seconds": round(seconds, 6),
        "rows_per_second": round(rows / seconds) if seconds > 0 else None,
        "interrupted": result.interrupted,
        "covers_up_to": format_time(covered_ns) if result.interrupted else None,
        "balanced": result.ledger.balanced,
        **_checkpoints(result),
        "ledger": result.ledger.to_dicts(),
    }


def _checkpoints(result: RunResult) -> dict[str, Any]:
    figures = result.checkpoints
    if figures is None:
        return {}
    return {
        "complete": result.was_complete or not result.interrupted,
        "did_nothing": result.was_complete,
        "resumed_from": figures.resumed_from,
        "checkpoint": figures.last_epoch or figures.resumed_from,
        "delivery": dict(figures.delivery),
    }

"""Run a graph on behalf of a command, and tell what came of it."""

from __future__ import annotations

__all__ = ("execute", "interruption", "result_dict")

from typing import TYPE_CHECKING, Any

import click

from market_data_pipeline.cli.metrics_page import serving
from market_data_pipeline.cli.output import format_time
from market_data_pipeline.cli.progress import RunWatch, watching

if TYPE_CHECKING:
    from market_data_pipeline.dag.graph import Dag
    from market_data_pipeline.dag.results import RunResult


def execute(
    dag: Dag,
    *,
    metrics: tuple[str, int] | None = None,
    served_at: tuple[str, int] | None = None,
) -> tuple[RunResult, int | None]:
    """Run a graph, showing its progress on a terminal.

    Args:
        dag: The graph.
        metrics: Host and port where to serve its metrics meanwhile; None for nowhere.
        served_at: Where to serve the live page meanwhile; None for nowhere.

    Returns:
        The result, and up to which event time the sources were read.

    Raises:
        PipelineError: If the graph cannot run or a node failed.
        KeyboardInterrupt: If it was interrupted twice.
    """
    from market_data_pipeline.running import run

    with watching() as watch, serving(watch, metrics):
        if served_at is None:
            result = run(dag, progress=watch)
        else:
            result = _run_served(dag, served_at, watch)
    return result, watch.covered


def _run_served(dag: Dag, served_at: tuple[str, int], watch: RunWatch) -> RunResult:
    import asyncio

    from market_data_pipeline.server.process import run_served
    from market_data_pipeline.server.settings import ServerSettings
    from market_data_pipeline.server.token import token_of

    host, port = served_at
    settings = ServerSettings(host=host, port=port, token=token_of())

    def told(url: str) -> None:
        click.echo(f"live page: {url}", err=True)

    return asyncio.run(run_served(dag, settings, progress=watch, told=told))


def interruption(covered_ns: int | None) -> str:
    """Return what an interrupted run's output does and does not hold."""
    covered = format_time(covered_ns)
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
        "ledger": result.ledger.to_dicts(),
    }

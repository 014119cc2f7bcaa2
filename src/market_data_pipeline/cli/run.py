"""`mdp run`: run a pipeline that is written down in YAML."""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path
from typing import TYPE_CHECKING

import click

from market_data_pipeline.cli.codes import INTERRUPTED
from market_data_pipeline.cli.metrics_page import TOKEN_VARIABLE, address
from market_data_pipeline.cli.output import print_json

if TYPE_CHECKING:
    from market_data_pipeline.dag.graph import Dag

_EPILOG = """\b
Exit codes:
  0    it ran to its end; the outputs are published
  1    a node failed; nothing half-written is left
  2    the pipeline cannot run; nothing was run
  130  interrupted: what was read went through and is published (Ctrl-C again stops
       at once and publishes nothing)

\b
Examples:
  mdp run pipeline.yaml
  mdp run pipeline.yaml --serve 8083
  mdp run pipeline.yaml --set bars.every=1min --set 'ticks.path=data/*.csv' --json
  mdp run pipeline.yaml --metrics 9464
"""


@click.command(epilog=_EPILOG, short_help="Run a pipeline that is written down in YAML.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NODE.KEY=VALUE",
    help="Replace a setting; may be given several times.",
)
@click.option(
    "--metrics",
    type=address,
    metavar="[HOST:]PORT",
    help=(
        "Serve /metrics for Prometheus while it runs. Where others can reach the address, "
        f"clients must bring the token in {TOKEN_VARIABLE}."
    ),
)
@click.option("--dry-run", is_flag=True, help="Check everything and show the graph; run nothing.")
@click.option(
    "--serve",
    "served_at",
    type=address,
    metavar="[HOST:]PORT",
    help="Serve the live page while it runs; a host others can reach needs MDP_SERVER_TOKEN.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on the last line.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    overrides: tuple[str, ...],
    metrics: tuple[str, int] | None,
    dry_run: bool,  # noqa: FBT001
    served_at: tuple[str, int] | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run the pipeline in FILE, and print where every row went.

    FILE is a graph, or a spec of version 0.8, in YAML or JSON.
    """
    from market_data_pipeline.cli.executing import execute, interruption, result_dict
    from market_data_pipeline.cli.spec_files import pipeline_in
    from market_data_pipeline.cli.summary import format_ledger, format_rate
    from market_data_pipeline.spec.loader import load_file

    pipeline = None if overrides else pipeline_in(file)
    dag: Dag = load_file(file, overrides=overrides) if pipeline is None else pipeline.dag()
    duration_s = None if pipeline is None else pipeline.duration_sec
    if dry_run:
        _dry_run(dag, as_json=as_json)
        return
    result, covered = execute(dag, metrics=metrics, served_at=served_at, duration_s=duration_s)
    if as_json:
        print_json({"name": dag.name, **result_dict(result, covered)})
    else:
        click.echo(f"{dag.name}: {format_rate(result.rows_read, result.seconds)}\n")
        click.echo(format_ledger(result.ledger))
    if result.interrupted:
        click.echo(interruption(covered), err=True)
        ctx.exit(INTERRUPTED)


def _dry_run(dag: Dag, *, as_json: bool) -> None:
    from market_data_pipeline.cli.checking import check_outputs
    from market_data_pipeline.spec.drawing import draw

    check_outputs(dag)
    if as_json:
        print_json({"name": dag.name, "dry_run": True, "nodes": list(dag.nodes)})
        return
    click.echo(draw(dag, "text"), nl=False)
    click.echo("\nit could run; nothing was run")

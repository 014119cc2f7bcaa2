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
    from market_data_pipeline.dag.checkpoints.settings import Resume
    from market_data_pipeline.dag.graph import Dag

_EPILOG = """\b
Exit codes:
  0    it ran to its end; the outputs are published
  1    a node failed; nothing half-written is left
  2    the pipeline cannot run; nothing was run
  130  interrupted: what was read went through and is published (Ctrl-C again stops
       at once and publishes nothing)

With `checkpoint: {path: FOLDER}` in the file, a run that was killed or interrupted goes on
from its last checkpoint when it is run again; one that has come to its end does nothing.

\b
Examples:
  mdp run pipeline.yaml
  mdp run pipeline.yaml --serve 8083
  mdp run pipeline.yaml --set bars.every=1min --set 'ticks.path=data/*.csv' --json
  mdp run pipeline.yaml --metrics 9464
  mdp run pipeline.yaml --from-scratch
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
@click.option(
    "--from-scratch", is_flag=True, help="Begin at the beginning, whatever checkpoints there are."
)
@click.option(
    "--from-checkpoint",
    type=click.IntRange(1),
    metavar="N",
    help="Go on from this checkpoint instead of the newest.",
)
@click.option(
    "--rewind",
    is_flag=True,
    help="Go on although sinks have later rows, which are then written again.",
)
@click.option(
    "--drop-state",
    multiple=True,
    metavar="NODE",
    help="Let a node begin without its state; may be given several times.",
)
@click.option(
    "--otel",
    is_flag=True,
    help="Send its figures by OTLP, to where OTEL_EXPORTER_OTLP_ENDPOINT says (extra otel).",
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
    from_scratch: bool,  # noqa: FBT001
    from_checkpoint: int | None,
    rewind: bool,  # noqa: FBT001
    drop_state: tuple[str, ...],
    otel: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    served_at: tuple[str, int] | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run the pipeline in FILE, and print where every row went.

    FILE is a graph, or a spec of version 0.8, in YAML or JSON.
    """
    from market_data_pipeline.cli.executing import execute, interruption, result_dict
    from market_data_pipeline.cli.spec_files import pipeline_in
    from market_data_pipeline.cli.summary import format_checkpoints, format_ledger, format_rate
    from market_data_pipeline.spec.loader import load_file

    pipeline = None if overrides else pipeline_in(file)
    dag: Dag = load_file(file, overrides=overrides) if pipeline is None else pipeline.dag()
    duration_s = None if pipeline is None else pipeline.duration_sec
    if dry_run:
        _dry_run(dag, as_json=as_json)
        return
    resume = _resume(
        dag,
        from_scratch=from_scratch,
        from_checkpoint=from_checkpoint,
        rewind=rewind,
        drop_state=drop_state,
    )
    if resume is not None and served_at is not None:
        msg = "`--serve` goes on from the newest checkpoint; leave out which one to go on from"
        raise click.UsageError(msg)
    result, covered = execute(
        dag,
        metrics=metrics,
        served_at=served_at,
        duration_s=duration_s,
        resume=resume,
        otel=otel,
    )
    if as_json:
        print_json({"name": dag.name, **result_dict(result, covered)})
    elif result.was_complete:
        click.echo(f"{dag.name}: complete; an earlier run came to its end, nothing was done\n")
        click.echo(format_ledger(result.ledger))
    else:
        click.echo(f"{dag.name}: {format_rate(result.rows_read, result.seconds)}\n")
        click.echo(format_ledger(result.ledger))
        if result.checkpoints is not None:
            click.echo(format_checkpoints(result.checkpoints))
    if result.interrupted:
        click.echo(interruption(result, covered), err=True)
        ctx.exit(INTERRUPTED)


def _resume(
    dag: Dag,
    *,
    from_scratch: bool,
    from_checkpoint: int | None,
    rewind: bool,
    drop_state: tuple[str, ...],
) -> Resume | None:
    """Return how the run goes on if the options say it, else None."""
    from market_data_pipeline.dag.checkpoints.settings import Resume

    resume = Resume(from_scratch, from_checkpoint, rewind, drop_state)
    if resume == Resume():
        return None
    if dag.checkpoint is None:
        msg = "the pipeline has no checkpoints; add `checkpoint: {path: FOLDER}` to its file"
        raise click.UsageError(msg)
    return resume


def _dry_run(dag: Dag, *, as_json: bool) -> None:
    from market_data_pipeline.cli.checking import check_outputs
    from market_data_pipeline.spec.drawing import draw

    check_outputs(dag)
    if as_json:
        print_json({"name": dag.name, "dry_run": True, "nodes": list(dag.nodes)})
        return
    click.echo(draw(dag, "text"), nl=False)
    click.echo("\nit could run; nothing was run")

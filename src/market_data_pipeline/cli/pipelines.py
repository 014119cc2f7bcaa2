"""`mdp-legacy`: the commands of version 0.8, on the engine of this one."""

from __future__ import annotations

__all__ = ("cli", "main")

import signal
from pathlib import Path
from typing import Any

import click

from market_data_pipeline.cli.codes import INTERRUPTED
from market_data_pipeline.cli.main import EndingGroup, interrupt
from market_data_pipeline.cli.output import print_json
from market_data_pipeline.pipeline_spec import OPERATORS, SINKS, SOURCES


@click.group(cls=EndingGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run pipelines as version 0.8 did; `mdp` does more."""


@cli.command()
@click.option("--tenant", required=True, help="Who owns it.")
@click.option("--pipeline", default="cli", show_default=True, help="Its name.")
@click.option("--source", type=click.Choice(SOURCES), required=True, help="Where ticks come from.")
@click.option("--symbols", default="", metavar="A,B", help="What they are about.")
@click.option("--rate", type=float, show_default="100", help="Ticks per second.")
@click.option("--replay-path", help="File to replay.")
@click.option("--operator", type=click.Choice(OPERATORS), default="bars", show_default=True)
@click.option("--sink", type=click.Choice(SINKS), default="store", show_default=True)
@click.option("--duration", type=float, default=10, show_default=True, help="Seconds it runs.")
@click.option("--config", type=click.Path(path_type=Path), help="File of settings.")
@click.pass_context
def run(
    ctx: click.Context,
    tenant: str,
    pipeline: str,
    source: str,
    symbols: str,
    rate: float | None,
    replay_path: str | None,
    operator: str,
    sink: str,
    duration: float,
    config: Path | None,
) -> None:
    """Run a pipeline for some seconds, and print where every row went."""
    from market_data_pipeline.config import load_config
    from market_data_pipeline.pipeline_spec import PipelineSpec

    spec = PipelineSpec(
        tenant,
        pipeline,
        source,
        [name.strip() for name in symbols.split(",") if name.strip()],
        duration,
        operator,
        sink,
        rate=rate,
        replay_path=replay_path,
    )
    _run(ctx, spec, None if config is None else load_config(config))


@cli.command()
@click.option("--spec", "file", type=click.Path(path_type=Path), required=True, help="The file.")
@click.pass_context
def runspec(ctx: click.Context, file: Path) -> None:
    """Run the pipeline of a spec file, and print where every row went."""
    from market_data_pipeline.cli.spec_files import read_spec

    _run(ctx, read_spec(file), None)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of spec files."""
    from market_data_pipeline.pipeline_spec import spec_schema

    print_json(spec_schema())


@cli.command()
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104 - as it was; the server asks for a token there
@click.option("--port", type=int, default=8083, show_default=True, help="Port to listen on.")
def api(host: str, port: int) -> None:
    """Serve the HTTP API; an address that others can reach needs MDP_SERVER_TOKEN."""
    from market_data_pipeline.runners.api import main as serve

    serve(host, port)


def _run(ctx: click.Context, spec: Any, config: Any) -> None:
    from market_data_pipeline.cli.executing import execute, interruption
    from market_data_pipeline.cli.summary import format_ledger, format_rate
    from market_data_pipeline.pipeline_builder import PipelineBuilder

    dag = PipelineBuilder(config=config).build(spec).dag()
    result, covered = execute(dag, duration_s=spec.duration_sec)
    click.echo(f"{dag.name}: {format_rate(result.rows_read, result.seconds)}\n")
    click.echo(format_ledger(result.ledger))
    if result.interrupted:
        click.echo(interruption(result, covered), err=True)
        ctx.exit(INTERRUPTED)


def main() -> None:
    """Run `mdp-legacy` with the arguments of this process and exit."""
    signal.signal(signal.SIGTERM, interrupt)
    cli.main(prog_name="mdp-legacy")


if __name__ == "__main__":
    main()

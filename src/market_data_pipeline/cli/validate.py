"""`mdp validate`: could this pipeline run?"""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path

import click

from market_data_pipeline.cli.output import print_json

_EPILOG = """\b
Exit codes:
  0  it could run
  1  an input it names is damaged
  2  it could not run; the message says file, line, column, what was expected and found
"""


@click.command(epilog=_EPILOG, short_help="Check a pipeline without running it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NODE.KEY=VALUE",
    help="Replace a setting; may be given several times.",
)
@click.option(
    "--no-inputs", is_flag=True, help="Check the file only, not the inputs and outputs it names."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: Path,
    overrides: tuple[str, ...],
    no_inputs: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Check the pipeline in FILE, a graph or a spec of version 0.8, without running it.

    Checks every key and setting, that nodes are connected, that the inputs exist and have
    the columns that are read, and that no output would be replaced by accident.
    """
    from market_data_pipeline.cli.checking import check_outputs
    from market_data_pipeline.cli.spec_files import pipeline_in
    from market_data_pipeline.dag.graph import Dag
    from market_data_pipeline.spec.loader import load_file

    pipeline = None if overrides else pipeline_in(file)
    dag: Dag = (
        load_file(file, overrides=overrides, check=not no_inputs)
        if pipeline is None
        else pipeline.dag()
    )
    kinds = [node.kind for node in dag.nodes.values()]
    if not no_inputs:
        check_outputs(dag)
    delivery = {
        node.name: getattr(node.component, "delivery", "at_least_once")
        for node in dag.nodes.values()
        if node.kind == "sink" and dag.checkpoint is not None
    }
    if as_json:
        told = {"valid": True, "file": str(file), "name": dag.name, "nodes": list(dag.nodes)}
        print_json(told if dag.checkpoint is None else told | {"delivery": delivery})
        return
    counts = ", ".join(
        f"{kinds.count(kind)} {kind}{'' if kinds.count(kind) == 1 else 's'}"
        for kind in ("source", "operator", "sink")
        if kind in kinds
    )
    click.echo(f"{file}: `{dag.name}` is valid: {counts}")
    for name, word in delivery.items():
        click.echo(f"`{name}` gets each row {word.replace('_', ' ')}")

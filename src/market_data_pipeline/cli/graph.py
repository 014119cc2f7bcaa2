"""`mdp graph`: a picture of a pipeline."""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path

import click

_EPILOG = """\b
Examples:
  mdp graph pipeline.yaml
  mdp graph pipeline.yaml --format svg -o pipeline.svg
"""


@click.command(epilog=_EPILOG, short_help="Draw a pipeline.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot", "svg"]),
    help="How to draw it; told from the extension of -o, or text.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--set", "overrides", multiple=True, metavar="NODE.KEY=VALUE", help="Replace a setting."
)
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
def command(
    file: Path,
    form: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    overwrite: bool,  # noqa: FBT001
) -> None:
    """Draw the pipeline in FILE: a graph, or a spec of version 0.8.

    The inputs that a graph names need not exist.
    """
    from market_data_pipeline.cli.spec_files import pipeline_in
    from market_data_pipeline.dag.graph import Dag
    from market_data_pipeline.errors import OutputExistsError
    from market_data_pipeline.spec.drawing import draw
    from market_data_pipeline.spec.loader import load_file

    pipeline = None if overrides else pipeline_in(file)
    dag: Dag = (
        load_file(file, overrides=overrides, check=False) if pipeline is None else pipeline.dag()
    )
    picture = draw(dag, form or _told_by(output))
    if output is None:
        click.echo(picture, nl=False)
        return
    if output.exists() and not overwrite:
        msg = "the output exists; choose another name or use --overwrite"
        raise OutputExistsError(msg, path=str(output))
    output.write_text(picture, encoding="utf-8")
    click.echo(f"wrote {output}", err=True)


def _told_by(output: Path | None) -> str:
    suffixes = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid"}
    return suffixes.get(output.suffix.lower(), "text") if output else "text"

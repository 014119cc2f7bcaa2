"""`mdp verify`: does a pipeline give the same rows however it is run?"""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path
from typing import TYPE_CHECKING

import click

from market_data_pipeline.cli.codes import FAILED
from market_data_pipeline.cli.output import format_count, print_json

if TYPE_CHECKING:
    from market_data_pipeline.verifying import Verdict

_EPILOG = """\b
Exit codes:
  0  the same rows each time
  1  other rows, in the sinks that are named; or a node failed
  2  the pipeline cannot run
"""


@click.command(epilog=_EPILOG, short_help="Check that a pipeline always gives the same rows.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NODE.KEY=VALUE",
    help="Replace a setting, as `ticks.end=...` for less input; may be given several times.",
)
@click.option(
    "--schedules",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many orders of the engine's tasks to try.",
)
@click.option(
    "--restarts",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="How often to stop it on its way and go on from its last checkpoint.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on the last line.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    overrides: tuple[str, ...],
    schedules: int,
    restarts: int,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run the pipeline in FILE in many ways, and compare the rows.

    As it is, twice; with other batches, on one thread and two, under other schedules,
    stopped and gone on, as time passes. Each way reads the whole input and keeps what the
    sinks are given in memory; the outputs that FILE names are not touched.
    """
    from market_data_pipeline.spec.loader import load_file
    from market_data_pipeline.verifying import verify

    verdicts: list[Verdict] = []
    for verdict in verify(
        load_file(file, overrides=overrides), schedules=schedules, restarts=restarts
    ):
        if not as_json:
            _tell(verdict, is_first=not verdicts)
        verdicts.append(verdict)
    odd = sorted({name for verdict in verdicts for name in verdict.different})
    if as_json:
        print_json(
            {
                "same": not odd,
                "different": odd,
                "sinks": dict(verdicts[0].hashes),
                "rows": dict(verdicts[0].rows),
                "runs": [{"run": v.trial.name, "different": list(v.different)} for v in verdicts],
            }
        )
    elif odd:
        names = ", ".join(f"`{name}`" for name in odd)
        click.echo(f"\nnot always the same: {names}")
    else:
        click.echo(f"\nthe same rows in all {len(verdicts)} runs")
    if odd:
        ctx.exit(FAILED)


def _tell(verdict: Verdict, *, is_first: bool) -> None:
    if is_first:
        for name, digest in verdict.hashes.items():
            click.echo(f"{name}: {format_count(verdict.rows[name])} rows, {digest[:16]}")
        click.echo()
        return
    told = [
        f"`{name}` is {verdict.hashes[name][:16]} with {format_count(verdict.rows[name])} rows"
        for name in verdict.different
    ]
    click.echo(f"{verdict.trial.name}: {'; '.join(told) or 'the same'}")

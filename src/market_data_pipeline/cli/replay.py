"""`mdp replay`: the rows of files, printed as they came."""

from __future__ import annotations

__all__ = ("command",)

import asyncio
from typing import TYPE_CHECKING, Any

import click

from market_data_pipeline.cli.input_options import (
    ReadSettings,
    input_options,
    naming_options,
    range_options,
    replay_source,
)
from market_data_pipeline.cli.output import format_rows

if TYPE_CHECKING:
    from market_data_pipeline.source.replay import ReplaySource

_EPILOG = """\b
Examples:
  mdp replay ticks.parquet --limit 20
  mdp replay ticks.csv --speed 10 --from 2024-05-06T09:30 --to 2024-05-06T09:31
  mdp replay 'data/*.gz' --json | jq .price
"""


class _Speed(click.ParamType["float | str"]):
    name = "SPEED"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        if value == "max":
            return "max"
        try:
            speed = float(value)
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"`{value}` must be `max` or a number above 0, as 1 or 10", param, ctx)
        return speed


@click.command(epilog=_EPILOG, short_help="Print the rows of files as they came, at any speed.")
@input_options
@click.option(
    "--speed",
    type=_Speed(),
    default="max",
    show_default=True,
    help="Seconds of event time in a second: 1 as it happened, 10 ten times faster, or max.",
)
@range_options
@click.option("--limit", type=click.IntRange(min=0), help="Stop after so many rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of a table.")
def command(
    inputs: tuple[str, ...],
    settings: ReadSettings,
    speed: float | str,
    start: str | None,
    end: str | None,
    limit: int | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Print the rows of files as they came, at any speed.

    Several files are merged by event time. Rows that cannot be taken are counted on
    standard error at the end.
    """
    with naming_options():
        source = replay_source(inputs, settings, speed=speed, start=start, end=end)
    rejected = asyncio.run(_print_rows(source, limit, as_json=as_json))
    if rejected:
        note = f"could not be taken: {format_rows(rejected)}; `mdp inspect` tells why"
        click.echo(note, err=True)


async def _print_rows(source: ReplaySource, limit: int | None, *, as_json: bool) -> int:
    from market_data_pipeline.batch import Batch
    from market_data_pipeline.cli.row_text import RowPrinter
    from market_data_pipeline.dag.nodes import NodeContext

    context = NodeContext("replay")
    reader = await source.open(context)
    printer = RowPrinter(reader.schema, as_json=as_json)
    left = limit
    try:
        while (left is None or left > 0) and (given := await reader.read()) is not None:
            for port, batch in given:
                if port != "out" or not isinstance(batch, Batch):
                    continue
                shown = batch if left is None else batch.slice(0, min(left, len(batch)))
                left = None if left is None else left - len(shown)
                click.echo(printer.text(shown), nl=False)
            # Where rows come faster than they are printed nothing else waits, and a task
            # that never waits cannot be interrupted.
            await asyncio.sleep(0)
    finally:
        await reader.close()
    return context.account.reasons.get("rejected", 0)

"""`mdp check`: can the rows of these files be right?"""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from market_data_pipeline.cli.codes import FAILED
from market_data_pipeline.cli.input_options import ReadSettings, input_options, naming_options
from market_data_pipeline.cli.output import print_json
from market_data_pipeline.errors import nearest

if TYPE_CHECKING:
    from market_data_pipeline.cli.file_profile import TimeProfile

_CHECKS: Final = (
    "crossed",
    "locked",
    "one_sided",
    "zero_size",
    "clock_skew",
    "out_of_sequence",
    "stale",
    "price_band",
    "outlier",
    "duplicate",
    "gap",
    "unreadable",
)

_EPILOG = """\b
Checks (for --fail-on; all but the last three are those of the operator `quality`):
  crossed          bid above ask           out_of_sequence  time below the symbol's highest
  locked           bid is ask              stale            quote repeated for too long
  one_sided        a side has no price     price_band       price far from the last one
  zero_size        size of zero or less    outlier          price far from the median
  clock_skew       received before it      duplicate        key was there before
                   happened                gap              numbers are missing
  unreadable       the row could not be taken

\b
Exit codes:
  0  the files could be read, and nothing was found that --fail-on names
  1  a file is damaged, or something was found that --fail-on names
  2  wrong usage: no such file, check or column

\b
Examples:
  mdp check quotes.parquet
  mdp check 'data/*.csv.gz' --key symbol,trade_id --fail-on duplicate,gap,unreadable
  mdp check capture.gz --kind trades --json
"""


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _checked_names(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> tuple[str, ...]:
    names = _listed(value)
    for name in names:
        if name not in {*_CHECKS, "any"}:
            msg = f"there is no check `{name}`{nearest(name, _CHECKS)}"
            raise click.BadParameter(msg)
    return names


@click.command(epilog=_EPILOG, short_help="Check the quality of files of trades or quotes.")
@input_options
@click.option(
    "--key",
    default="",
    metavar="COLUMNS",
    help="Look for rows that repeat these, as in symbol,trade_id.",
)
@click.option(
    "--within",
    default="1d",
    show_default=True,
    metavar="DURATION",
    help="For how long, in event time, a key is remembered.",
)
@click.option(
    "--stale",
    default="1min",
    show_default=True,
    metavar="DURATION",
    help="For how long, in event time, a quote may be repeated.",
)
@click.option(
    "--band",
    type=float,
    default=10.0,
    show_default=True,
    metavar="PERCENT",
    help="How far a price may be from its symbol's last one inside the band.",
)
@click.option(
    "--outlier",
    type=float,
    default=6.0,
    show_default=True,
    metavar="DEVIATIONS",
    help="How far a price may be from the median of its symbol's last 51.",
)
@click.option(
    "--fail-on",
    default="",
    metavar="CHECKS",
    callback=_checked_names,
    help="Exit with 1 if one of these found something, as in crossed,gap; `any` for all.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many gaps to tell with --json.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    settings: ReadSettings,
    key: str,
    within: str,
    stale: str,
    band: float,
    outlier: float,
    fail_on: tuple[str, ...],
    limit: int,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Check the quality of files of trades or quotes.

    For each file: how many rows fail each check, and the first that does, with its number
    among the rows taken from the file; rows out of order; gaps in sequence numbers; what
    the clock that received rows says of the clock that stamped them. The checks are those
    of the operator `quality`, in flagging mode: nothing is taken out, so a bad row is in
    the memory of the checks that look back. `mdp inspect` tells what is in a file.
    """
    from market_data_pipeline.cli.check_report import CheckReport
    from market_data_pipeline.cli.file_profile import profile_of
    from market_data_pipeline.cli.open_files import capture_order, each_file, is_capture
    from market_data_pipeline.cli.quality_census import Census, CheckSettings

    if "duplicate" in fail_on and not key:
        msg = "--fail-on duplicate needs --key, the columns that name a row"
        raise click.UsageError(msg)
    chosen = CheckSettings(
        stale=stale, band=band, outlier=outlier, key=_listed(key), within=within
    )
    files: list[dict[str, Any]] = []
    found: dict[str, None] = {}
    together: dict[str, TimeProfile | None] = {}
    for place, size, reader, symbols in each_file(inputs, settings, every_kind=True):
        with naming_options():
            census = Census(reader.schema, symbols, chosen)
        profile = profile_of(reader, symbols, limit=limit, ids=False, watch=census.add)
        if place not in together:
            # One for both kinds of a capture, which come one after the other.
            path = Path(place)
            order = capture_order(path, settings) if is_capture(path, settings) else None
            together = {place: order}
        report = CheckReport(place, size, profile, census, together[place])
        found |= dict.fromkeys(report.found)
        if as_json:
            files.append(report.to_dict())
        else:
            click.echo(report.to_text())
    failed_on = [name for name in found if name in fail_on or "any" in fail_on]
    if as_json:
        print_json({"files": files, "found": list(found), "failed_on": failed_on})
    if failed_on:
        if not as_json:
            click.echo(f"failed on: {', '.join(failed_on)}")
        ctx.exit(FAILED)

"""`mdp inspect`: what is in these files, and what is wrong with it?"""

from __future__ import annotations

__all__ = ("command",)

import click

from market_data_pipeline.cli.input_options import ReadSettings, input_options
from market_data_pipeline.cli.output import print_json

_EPILOG = """\b
Exit codes:
  0  the files could be read, whatever was found in them
  1  a file is damaged
  2  wrong usage: no such file, or a column that is not there

\b
Examples:
  mdp inspect ticks.parquet
  mdp inspect 'data/*.csv.gz' --column price=px --timezone America/New_York --json
"""


@click.command(epilog=_EPILOG, short_help="Tell what is in files, and what is wrong with it.")
@input_options
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many symbols, gaps and rejected rows to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    inputs: tuple[str, ...],
    settings: ReadSettings,
    limit: int,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Tell what is in files of trades or quotes, and what is wrong with it.

    For each file: its columns; rows, first and last, by symbol; rows out of order and the
    worst disorder, which --out-of-order of `mdp bars` must cover; the longest silence;
    gaps in sequence numbers; rows that repeat a trade id; rows that cannot be taken. Reads
    in one pass and in bounded memory.
    """
    from market_data_pipeline.cli.file_profile import profile_of
    from market_data_pipeline.cli.open_files import each_file
    from market_data_pipeline.cli.profile_report import profile_dict, profile_text

    found = []
    for place, size, reader, symbols in each_file(inputs, settings):
        profile = profile_of(reader, symbols, limit=limit)
        if as_json:
            found.append(profile_dict(place, size, profile, limit=limit))
        else:
            click.echo(profile_text(place, size, profile, limit=limit))
    if as_json:
        print_json({"files": found})

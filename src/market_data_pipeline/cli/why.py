"""`mdp why`: why is this bar what it is, or why is there none?"""

from __future__ import annotations

__all__ = ("command",)

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from market_data_pipeline.cli.codes import FAILED
from market_data_pipeline.cli.output import format_span, format_table, format_time, print_json

if TYPE_CHECKING:
    from market_data_pipeline.cli.bar_lookup import Bar, Lookup
    from market_data_pipeline.cli.bar_story import Fact

_EPILOG = """\b
Exit codes:
  0  there is a bar, and it was explained
  1  no bar covers this time, or the file could not be read
  2  wrong usage: no such file, no bars in it, or none of this symbol

\b
Examples:
  mdp why SPY 2013-10-07T14:31:07Z bars.parquet
  mdp why SPY 10:31 bars.duckdb --timezone America/New_York --calendar XNYS
"""


@click.command(epilog=_EPILOG, short_help="Explain the bar at a time, or why there is none.")
@click.argument("symbol")
@click.argument("time")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--table", default="bars", show_default=True, help="Table to read from a database.")
@click.option(
    "--timezone",
    metavar="ZONE",
    default="UTC",
    show_default=True,
    help="Zone of a TIME that names none.",
)
@click.option(
    "--calendar", metavar="NAME", help="Trading calendar to ask whether trading was on, as XNYS."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    symbol: str,
    time: str,
    output: Path,
    table: str,
    timezone: str,
    calendar: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Explain the bar of SYMBOL that covers TIME, or why there is none.

    OUTPUT is a file of bars: .parquet, .csv, .jsonl, .duckdb, .sqlite, or a folder of
    Parquet files. TIME is an ISO 8601 moment, or a time of day where all bars of the symbol
    are of one date. What is told comes from the bar's own columns: how final it is, how
    often it was revised, what came late or is missing, whether the feed was connected, and
    which session it belongs to.
    """
    from market_data_pipeline.calendars import SessionTable
    from market_data_pipeline.cli.bar_files import load_bars
    from market_data_pipeline.cli.bar_lookup import bars_of, look_up, moment_in
    from market_data_pipeline.cli.bar_story import hours_at, reasons_for_none, story_of

    asked = None if calendar is None else SessionTable(calendar)
    bars = load_bars(output, table)
    moment = moment_in(bars_of(bars, symbol, str(output)), time, timezone)
    found = look_up(bars, symbol, moment, str(output))
    stories = [(bar, story_of(bar, found)) for bar in found.covering]
    reasons = [] if asked is None else [hours_at(found.time, asked, calendar or "")]
    reasons += [] if stories else reasons_for_none(found)
    if as_json:
        print_json(_as_dict(output, found, stories, reasons))
    else:
        click.echo(_as_text(found, stories, reasons))
    if not stories:
        ctx.exit(FAILED)


def _as_dict(
    output: Path, found: Lookup, stories: list[tuple[Bar, list[Fact]]], reasons: list[str]
) -> dict[str, Any]:
    return {
        "symbol": found.symbol,
        "time": format_time(found.time),
        "file": str(output),
        "found": bool(stories),
        "bars": [
            {
                **_window(bar),
                "values": _plain(bar.values),
                "earlier": [_plain(row) for row in bar.earlier],
                "facts": [
                    {"about": fact.about, "says": fact.says, "doubt": fact.doubt} for fact in facts
                ],
            }
            for bar, facts in stories
        ],
        "before": None if found.before is None else _window(found.before),
        "after": None if found.after is None else _window(found.after),
        "reasons": reasons,
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them; exact decimals as text."""
    from market_data_pipeline.cli.bar_story import value_text

    return {
        name: value_text(value) if isinstance(value, Decimal) else value
        for name, value in row.items()
    }


def _window(bar: Bar) -> dict[str, Any]:
    return {"ts_open": format_time(bar.ts_open), "ts_close": format_time(bar.ts_close)}


def _as_text(found: Lookup, stories: list[tuple[Bar, list[Fact]]], reasons: list[str]) -> str:
    if not stories:
        return _none_text(found, reasons)
    parts = []
    for bar, facts in stories:
        width = format_span(bar.ts_close - bar.ts_open)
        lines = [f"{found.symbol}  {_interval(bar)}  {width}", "", _values(bar), ""]
        lines += [f"{'!' if fact.doubt else '-'} {fact.says}" for fact in facts]
        doubts = sum(fact.doubt for fact in facts)
        verdict = "nothing that is known speaks against it"
        if doubts:
            verdict = f"{doubts} of these {'speaks' if doubts == 1 else 'speak'} against it: !"
        lines += [f"- {reason}" for reason in reasons]
        parts.append("\n".join([*lines, "", verdict]))
    return "\n\n".join(parts)


def _none_text(found: Lookup, reasons: list[str]) -> str:
    lines = [f"no bar of {found.symbol} covers {format_time(found.time)}", ""]
    lines += [
        f"  {which}  {_interval(bar) if bar is not None else 'none in this file'}"
        for which, bar in (("before", found.before), ("after ", found.after))
    ]
    return "\n".join([*lines, "", *(f"- {reason}" for reason in reasons)])


def _interval(bar: Bar) -> str:
    return f"[{format_time(bar.ts_open)}, {format_time(bar.ts_close)})"


def _values(bar: Bar) -> str:
    from market_data_pipeline.cli.bar_story import CERTIFICATE, value_text

    shown = [name for name in bar.values if name not in CERTIFICATE and name != "op"]
    return format_table(shown, [[value_text(bar.values[name]) for name in shown]])

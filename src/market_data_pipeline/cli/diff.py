"""`mdp diff`: do two files of bars differ, and where?"""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path
from typing import TYPE_CHECKING

import click

from market_data_pipeline.cli.codes import FAILED
from market_data_pipeline.cli.output import (
    format_count,
    format_rows,
    format_table,
    format_time,
    print_json,
)

if TYPE_CHECKING:
    from market_data_pipeline.cli.bar_comparison import Comparison

_EPILOG = """\b
Exit codes:
  0  the same bars
  1  they differ, or a file could not be read
  2  wrong usage: no such file, or no bars in it

\b
Examples:
  mdp diff bars.parquet reference.csv
  mdp diff bars.duckdb bars.parquet --table bars --json
"""


@click.command(epilog=_EPILOG, short_help="Tell whether two files of bars differ, and where.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--table", default="bars", show_default=True, help="Table to read from databases.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many differing bars to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    a: Path,
    b: Path,
    table: str,
    limit: int,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Tell whether two files of bars differ, and where.

    A and B may be .parquet, .csv, .jsonl, .duckdb or .sqlite, and need not be the same. Bars
    are matched by symbol and ts_open; the order of rows and columns does not matter. Numbers
    are compared exactly; where one side holds floats, both are compared as floats.
    """
    from market_data_pipeline.cli.bar_comparison import compare
    from market_data_pipeline.cli.bar_files import load_bars

    found = compare(load_bars(a, table), load_bars(b, table), limit=limit)
    if as_json:
        print_json(_as_dict(a, b, found))
    else:
        click.echo(_as_text(a, b, found))
    if not found.same:
        ctx.exit(FAILED)


def _as_dict(a: Path, b: Path, found: Comparison) -> dict[str, object]:
    return {
        "same": found.same,
        "a": str(a),
        "b": str(b),
        "rows_a": found.rows_a,
        "rows_b": found.rows_b,
        "only_in_a": found.only_in_a,
        "only_in_b": found.only_in_b,
        "rows_differing": found.rows_differing,
        "columns_only_in_a": found.columns_only_in_a,
        "columns_only_in_b": found.columns_only_in_b,
        "columns_differing": found.columns_differing,
        "first": [
            {
                "symbol": difference.symbol,
                "ts_open": format_time(difference.ts_open),
                "where": difference.where,
                "columns": difference.columns,
            }
            for difference in found.first
        ],
    }


def _as_text(a: Path, b: Path, found: Comparison) -> str:
    lines = [
        f"A  {a}  {format_rows(found.rows_a, 'bar')}",
        f"B  {b}  {format_rows(found.rows_b, 'bar')}",
        "",
    ]
    if found.same:
        return "\n".join([*lines, "the same"])
    lines.append("they differ:")
    for side, columns in (("A", found.columns_only_in_a), ("B", found.columns_only_in_b)):
        if columns:
            lines.append(f"  columns only in {side}: {', '.join(columns)}")
    for side, count in (("A", found.only_in_a), ("B", found.only_in_b)):
        if count:
            lines.append(f"  {format_rows(count, 'bar')} only in {side}")
    if found.rows_differing:
        by_column = ", ".join(f"{n} {format_count(c)}" for n, c in found.columns_differing.items())
        lines.append(
            f"  {format_rows(found.rows_differing, 'bar')} with other values ({by_column})"
        )
    if found.first:
        lines += ["", format_table(("symbol", "ts_open", "column", "A", "B"), _rows(found))]
    shown = len(found.first)
    total = found.only_in_a + found.only_in_b + found.rows_differing
    if shown < total:
        lines.append(f"... and {format_rows(total - shown, 'bar')} more; see them with --limit")
    return "\n".join(lines)


def _rows(found: Comparison) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for difference in found.first:
        key = (difference.symbol, format_time(difference.ts_open))
        if difference.where == "both":
            rows += [(*key, n, str(x), str(y)) for n, (x, y) in difference.columns.items()]
        else:
            here, there = ("present", "absent")
            sides = (here, there) if difference.where == "a" else (there, here)
            rows.append((*key, "(bar)", *sides))
    return rows

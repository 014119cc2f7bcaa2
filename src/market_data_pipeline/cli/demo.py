"""`mdp demo`: the whole pipeline on a made-up market whose truth is known."""

from __future__ import annotations

__all__ = ("command",)

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from market_data_pipeline.cli.codes import FAILED, INTERRUPTED
from market_data_pipeline.cli.output import format_count, format_table, print_json

if TYPE_CHECKING:
    from market_data_pipeline.demo.run import DemoResult

_EPILOG = """\b
Exit codes:
  0    the ledger balances and all that was planted was found
  1    it does not, or something failed
  130  interrupted
"""


@click.command(epilog=_EPILOG, short_help="Show it all on a made-up market whose truth is known.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Folder to write to; output of an earlier demo there is replaced.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=3),
    help="Trades and quotes in all.  [default: 2400000, an hour of the market]",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="What the market follows from."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on the last line.")
@click.pass_context
def command(
    ctx: click.Context,
    out: Path,
    rows: int | None,
    seed: int,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show it all on a made-up market whose truth is known.

    Trades and quotes of 50 symbols, with second copies, rows out of order, late rows and a
    sequence gap, go through deduplication and 1 s bars into a DuckDB file and Parquet.
    Then what was planted is held against what was found. Needs no network. The first run
    compiles the kernels, once and for all.
    """
    from market_data_pipeline.cli.progress import watching
    from market_data_pipeline.demo.run import DEFAULT_ROWS, run_demo

    with watching() as watch:
        demo = run_demo(out, rows=rows or DEFAULT_ROWS, seed=seed, progress=watch)
    if as_json:
        print_json(_as_dict(demo))
    else:
        click.echo(_as_text(demo))
    if demo.run.interrupted:
        click.echo("interrupted: the market was not run to its end", err=True)
        ctx.exit(INTERRUPTED)
    if not demo.passed:
        ctx.exit(FAILED)


def _as_dict(demo: DemoResult) -> dict[str, object]:
    return {
        "passed": demo.passed and not demo.run.interrupted,
        "rows_in": demo.rows,
        "bars": demo.bars,
        "symbols": demo.symbols,
        "seed": demo.seed,
        "seconds": round(demo.run.seconds, 6),
        "rows_per_second": round(demo.rows_per_second),
        "kernel_seconds": round(demo.kernel_seconds, 6),
        "seconds_in_all": round(demo.seconds, 6),
        "interrupted": demo.run.interrupted,
        "balanced": demo.run.ledger.balanced,
        "checks": [asdict(check) | {"passed": check.passed} for check in demo.checks],
        "ledger": demo.run.ledger.to_dicts(),
        "outputs": [str(path) for path, _ in demo.outputs],
        "page": None if demo.page is None else str(demo.page),
    }


def _as_text(demo: DemoResult) -> str:
    from market_data_pipeline.cli.summary import format_ledger, format_rate

    rate = format_rate(demo.rows, demo.run.seconds)
    lines = [
        f"{demo.symbols} symbols, seed {demo.seed}: {rate}, {format_count(demo.bars)} bars",
        f"kernels ready in {demo.kernel_seconds:.2f} s, all done in {demo.seconds:.2f} s",
        "",
        format_ledger(demo.run.ledger),
    ]
    if demo.checks:
        rows = [
            (check.feed, check.what, check.planted, check.found, "ok" if check.passed else "WRONG")
            for check in demo.checks
        ]
        lines += ["", format_table(("feed", "what", "planted", "found", ""), rows)]
    width = max(len(str(path)) for path, _ in demo.outputs)
    lines += ["", *(f"{str(path).ljust(width)}  {what}" for path, what in demo.outputs)]
    if demo.page is not None:
        lines += ["", f"open {demo.page} in a browser"]
    return "\n".join(lines)

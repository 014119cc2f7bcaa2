"""`mdp bars`: files of trades or quotes in, bars out."""

from __future__ import annotations

__all__ = ("command",)

from typing import TYPE_CHECKING, Any

import click

from market_data_pipeline.cli.codes import INTERRUPTED
from market_data_pipeline.cli.input_options import (
    ReadSettings,
    input_options,
    naming_options,
    range_options,
    replay_source,
)
from market_data_pipeline.cli.output import format_rows, print_json

if TYPE_CHECKING:
    from market_data_pipeline.dag.graph import Dag
    from market_data_pipeline.dag.results import RunResult

_EPILOG = """\b
With --json the last line of standard output is one object: rows_in, rows_out, late,
rejected, seconds (from opening the input to the output being published),
rows_per_second, output; and every, outside, interrupted, covers_up_to, balanced, ledger.

\b
Exit codes:
  0    the bars are published
  1    failed while running; nothing half-written is left
  2    wrong usage: no such file or column, the output exists; nothing was run
  130  interrupted: bars of what was read are published, and it is said up to when
       they are whole (Ctrl-C again stops at once and publishes nothing)

\b
Examples:
  mdp bars ticks.parquet --every 1s -o bars.parquet
  mdp bars ticks.parquet --every 500tick -o bars.parquet
  mdp bars 'data/*.csv.gz' --every 1min --column price=px --symbol ESZ5 -o bars.duckdb
  mdp bars forex/oanda/tick/eurusd/20140506_quote.zip --every 1s -o bars.csv --json
"""


@click.command(epilog=_EPILOG, short_help="Turn files of trades or quotes into bars.")
@input_options
@click.option(
    "--every",
    required=True,
    metavar="BARS",
    help="What closes a bar: 1s, 5min; 500tick, 10000vol, 1e6val; 100tick_imbalance, "
    "1000vol_run; 0.5range, 1renko; or AAPL.XNAS-5-MINUTE-LAST.",
)
@click.option(
    "--price",
    type=click.Choice(["last", "bid", "ask", "mid"]),
    help="Make bars of this price: last of trades, or bid, ask or mid of quotes.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    help="Where the bars go: .parquet, .csv, .jsonl or .duckdb.",
)
@click.option("--table", default="bars", show_default=True, help="Table of a .duckdb output.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option(
    "--out-of-order",
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="How far rows may be out of order. The watermark is the highest event time seen "
    "minus this; a bar is done once the watermark reaches its end, and a row that comes "
    "after that is late: counted, in no bar. `mdp inspect` tells what a file needs.",
)
@click.option(
    "--max-future-skew",
    metavar="DURATION",
    help="Reject rows dated further ahead than this of what is known, which would make the "
    "rows after them late.",
)
@click.option(
    "--lateness",
    default="0s",
    show_default=True,
    metavar="DURATION",
    help="How long after its end a bar still takes rows; it is published once it can "
    "change no more. Later rows are late.",
)
@click.option(
    "--calendar",
    metavar="NAME",
    help="Trading calendar, as XNYS: bars start at the opens of its sessions and are cut at "
    "their closes, 1d is one bar a session; rows outside the sessions are counted, in no bar.",
)
@click.option(
    "--fill",
    type=click.Choice(["flat", "null"]),
    help="Give a bar for each window between those of a symbol in which nothing happened, "
    "with the last close as its prices, or without prices.",
)
@click.option(
    "--turnover", is_flag=True, help="Add the exact sum of price times size as a column."
)
@range_options
@click.option(
    "--prices",
    type=click.Choice(["float64", "decimal"]),
    help="How .parquet holds prices: the nearest float64 (the default), or exact decimals; "
    "the other formats are always exact.",
)
@click.option("--late", "late_path", metavar="FILE", help="Keep the late rows here.")
@click.option("--rejected", "rejected_path", metavar="FILE", help="Keep rejected rows here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on the last line.")
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    settings: ReadSettings,
    every: str,
    price: str | None,
    output: str,
    table: str,
    overwrite: bool,  # noqa: FBT001
    out_of_order: str,
    max_future_skew: str | None,
    lateness: str,
    calendar: str | None,
    fill: str | None,
    turnover: bool,  # noqa: FBT001
    start: str | None,
    end: str | None,
    prices: str | None,
    late_path: str | None,
    rejected_path: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Turn files of trades or quotes into bars.

    INPUT is one or more files or patterns; they are merged by event time. Trades become
    open, high, low, close, volume, vwap and count; quotes become open, high, low and close
    of bid and ask. A bar covers [ts_open, ts_close), and a window without rows has none
    unless --fill asks for one.
    """
    from market_data_pipeline.cli.executing import execute, interruption, result_dict
    from market_data_pipeline.cli.outputs import check_apart, sink_for
    from market_data_pipeline.dag.graph import Dag, Edge
    from market_data_pipeline.spec.registry import find

    outputs = {"--output": output, "--late": late_path, "--rejected": rejected_path}
    check_apart(inputs, {option: path for option, path in outputs.items() if path is not None})
    with naming_options():
        source = replay_source(
            inputs,
            settings,
            out_of_order=out_of_order,
            max_future_skew=max_future_skew,
            start=start,
            end=end,
        )
        final = {} if lateness == "0s" else {"lateness": lateness, "revisions": "final"}
        bars = find("operator", "bars")(
            every=every, price=price, calendar=calendar, fill=fill, turnover=turnover, **final
        )
        sink = sink_for(output, overwrite=overwrite, prices=prices, table=table)
    dag = Dag("bars")
    dag.add(source, name="input")
    dag.add(bars, name="bars", inputs=[Edge("input")])
    dag.add(sink, name="output", inputs=[Edge("bars")])
    sides = (
        ("late", late_path, Edge("bars", "late")),
        ("rejected", rejected_path, Edge("input", "rejected")),
    )
    for name, path, edge in sides:
        if path is not None:
            side = sink_for(path, overwrite=overwrite, table=name)
            dag.add(side, name=name, inputs=[edge])
    result, covered = execute(dag)
    done = result_dict(result, covered) | {
        "rows_out": result.ledger["output"].rows_out,
        "output": output,
        "every": every,
        "outside": result.ledger["bars"].reasons.get("outside", 0),
    }
    if as_json:
        print_json(done)
    else:
        click.echo(_report(result, done, dag))
    if result.interrupted:
        click.echo(interruption(result, covered), err=True)
        ctx.exit(INTERRUPTED)


def _report(result: RunResult, done: dict[str, Any], dag: Dag) -> str:
    from market_data_pipeline.cli.summary import format_ledger, format_rate

    rate = format_rate(done["rows_in"], done["seconds"])
    bars = (
        f"{done['output']}: {format_rows(done['rows_out'], 'bar')} of {done['every']} from {rate}"
    )
    lines = [bars, "", format_ledger(result.ledger)]
    left_out = result.ledger["input"].reasons.get("filtered", 0)
    if left_out and not done["rows_out"]:
        lines.append(
            f"of no symbol or time that was asked for: {format_rows(left_out)}; `mdp inspect` "
            "says which there are"
        )
    if done["late"] and "late" not in dag.nodes:
        lines.append(
            f"late, in no bar: {format_rows(done['late'])}; raise --out-of-order, "
            "or keep them with --late FILE"
        )
    if done["outside"]:
        lines.append(f"outside the sessions, in no bar: {format_rows(done['outside'])}")
    if done["rejected"] and "rejected" not in dag.nodes:
        lines.append(
            f"could not be taken: {format_rows(done['rejected'])}; see why with "
            "--rejected FILE or `mdp inspect`"
        )
    return "\n".join(lines)

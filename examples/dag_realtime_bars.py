"""Bars of one second as they happen: a live feed, shown when each bar is complete.

    python -m examples.dag_realtime_bars

Runs offline: the feed is a market that is made up as time passes. For one of your own, put
`mdp.ReplaySource(..., speed=1)`, a Kafka topic or the provider of a broker in its place
(`pip install 'market-data-pipeline[kafka]'`, or `[core]` and `[ibkr]`).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import market_data_pipeline as mdp
from market_data_pipeline.orchestration import PipelineRuntime

SECONDS = 5


def show(bar: mdp.Row) -> mdp.Row:
    """Print a bar the moment it is complete, and pass it on."""
    time = datetime.fromtimestamp(bar.ts_open // 1_000_000_000, UTC)
    print(f"{time:%H:%M:%S}  {bar.symbol}  {bar.open} -> {bar.close}  {bar.count:4} trades")
    return bar


def build() -> mdp.Dag:
    """Describe the pipeline; nothing runs here."""
    dag = mdp.Dag("realtime-bars")
    feed = mdp.SyntheticSource(
        rows=1_000_000, rate=200, symbols=("AAPL", "MSFT"), speed=1.0, out_of_order="500ms"
    )
    (
        dag.source(feed, name="feed")
        .dedupe(key=["symbol", "sequence"], name="clean")
        .bars("1s", name="bars")
        .map(show, name="shown")
        .collect(name="store")
    )
    return dag


async def run() -> None:
    """Run it for a few seconds, then let it drain."""
    async with PipelineRuntime() as runtime:
        key = await runtime.start(build())
        await asyncio.sleep(SECONDS)
        await runtime.stop(key)
        result = await runtime.wait(key)
    ledger = result.ledger
    print(f"\n{ledger['feed'].rows_out:,} trades in, {ledger['store'].rows_out:,} bars out")


def main() -> None:
    """Run it in an event loop of its own."""
    asyncio.run(run())


if __name__ == "__main__":
    main()

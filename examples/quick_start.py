"""The quick start of version 0.8, unchanged, and the same pipeline as a graph.

    python -m examples.quick_start

Runs offline: the database is a list in memory. For a real one leave `database_processor`
out, set `DATABASE_URL` and `pip install 'market-data-pipeline[store]'`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import market_data_pipeline as mdp
from market_data_pipeline.orchestration import PipelineRuntime
from market_data_pipeline.pipeline_builder import PipelineOverrides, PipelineSpec


class Rows:
    """What a database would be: something with `upsert_bars`."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    async def upsert_bars(self, rows: list[Any]) -> int:
        """Keep the rows."""
        self.rows += rows
        return len(rows)


async def old_door(database: Rows) -> None:
    """Run a spec of version 0.8 for two seconds."""
    spec = PipelineSpec(
        tenant_id="acme",
        pipeline_id="quick-start",
        source="synthetic",
        symbols=["AAPL", "MSFT"],
        duration_sec=2,
        sink="database",
        overrides=PipelineOverrides(ticks_per_sec=100, database_processor=database),
    )
    async with PipelineRuntime() as runtime:
        key = await runtime.run_pipeline(spec)
        await runtime.wait(key)
    print(f"version 0.8: {len(database.rows)} bars of one second, by `{key}`")


async def graph_door() -> None:
    """Run the same as a graph."""
    dag = mdp.Dag("quick-start")
    market = mdp.SyntheticSource(rows=400, rate=200, symbols=("AAPL", "MSFT"))
    dag.source(market).bars("1s").collect(name="store")
    async with PipelineRuntime() as runtime:
        result = await runtime.run_dag(dag)
    print(f"as a graph:  {result.ledger['store'].rows_out} bars of one second, by `{dag.name}`")


def main() -> None:
    """Run one after the other."""
    asyncio.run(old_door(Rows()))
    asyncio.run(graph_door())


if __name__ == "__main__":
    main()

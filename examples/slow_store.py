"""Stores that can be made ten times slower, for `dag_with_backpressure`.

    python -m examples.slow_store

`SlowStore` shows what a sink of your own needs so that providers are slowed down by it: its
writer has `pressure()`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pyarrow as pa

import market_data_pipeline as mdp
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.sink.postgres import PostgresSink

_TURN_S = 0.05


@component("slow_store")
class SlowStore:
    """Takes so many rows a second and keeps none of them.

    Attributes:
        rows_per_second: How many it takes.
        slowed_to: How many it takes once `slow_down` was called.
        capacity: How many may wait.
    """

    rows_per_second: float
    slowed_to: float
    capacity: int = 20_000

    def __post_init__(self) -> None:
        """Begin at full speed."""
        object.__setattr__(self, "_pace", [self.rows_per_second])

    def pace(self) -> float:
        """Return how many rows a second it takes now."""
        pace: list[float] = self.__dict__["_pace"]
        return pace[0]

    def slow_down(self, is_slow: bool) -> None:  # noqa: FBT001
        """Take fewer rows from now on, or as many as before."""
        self.__dict__["_pace"][0] = self.slowed_to if is_slow else self.rows_per_second

    def check(self) -> None:
        """Do nothing: it is always there."""

    async def open(self, context: NodeContext, schema: object) -> SlowWriter:  # noqa: ARG002
        """Start taking rows."""
        return SlowWriter(self, context)

    def read(self) -> pa.Table:
        """Return nothing: it keeps nothing."""
        return pa.table({})


class SlowWriter:
    """The half that runs: rows wait, and a task takes them at the store's pace."""

    def __init__(self, store: SlowStore, context: NodeContext) -> None:
        self._store = store
        self._account = context.account
        self._waiting = 0
        self._room = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._take())

    async def write(self, batch: mdp.Batch) -> None:
        """Take rows; wait while there is no room."""
        self._waiting += len(batch)
        self._account.held += len(batch)
        while self._waiting > self._store.capacity:
            self._room.clear()
            await self._room.wait()

    def pressure(self) -> Pressure:
        """Return how full it is: this is what slows the provider down."""
        return Pressure(self._waiting, self._store.capacity)

    async def finish(self) -> None:
        """Wait until all is taken."""
        while self._waiting:
            self._room.clear()
            await self._room.wait()
        await self.abort()

    async def abort(self) -> None:
        """Take no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _take(self) -> None:
        while True:
            await asyncio.sleep(_TURN_S)
            taken = min(self._waiting, round(self._store.pace() * _TURN_S))
            self._waiting -= taken
            self._account.held -= taken
            self._account.rows_out += taken
            self._room.set()


class PostgresStore:
    """A table whose trigger makes rows as slow as wanted; made and dropped again.

    Attributes:
        sink: The sink that writes the table.
    """

    def __init__(self, dsn: str, row_s: float) -> None:
        self._dsn = dsn
        self._row_s = row_s
        self.sink: Any = PostgresSink(
            dsn=dsn, table="mdp_example_trades", mode="append", times="bigint"
        )

    def __enter__(self) -> Self:
        self._run(_DROP)
        self._run(_MAKE)
        return self

    def __exit__(self, *error: object) -> None:
        self._run(_DROP)

    def slow_down(self, is_slow: bool) -> None:  # noqa: FBT001
        """Make each row cost time from now on, or nothing."""
        self._run("UPDATE mdp_example_pace SET row_s = %s", (self._row_s if is_slow else 0,))

    def _run(self, statement: str, values: tuple[float, ...] | None = None) -> None:
        import psycopg

        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values)


_DROP = """
DROP TABLE IF EXISTS mdp_example_trades, mdp_example_pace;
DROP FUNCTION IF EXISTS mdp_example_wait;
"""
_MAKE = """
CREATE TABLE mdp_example_trades (ts_event bigint, symbol text, price numeric(38, 9),
                                 size numeric(38, 9), trade_id bigint);
CREATE TABLE mdp_example_pace (row_s double precision);
INSERT INTO mdp_example_pace VALUES (0);
CREATE FUNCTION mdp_example_wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.trade_id % 25 = 0 THEN
        PERFORM pg_sleep(25 * row_s) FROM mdp_example_pace;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mdp_example_wait BEFORE INSERT ON mdp_example_trades
    FOR EACH ROW EXECUTE FUNCTION mdp_example_wait();
"""


def main() -> None:
    """Write rows into the store that is made up."""
    store = SlowStore(rows_per_second=1e6, slowed_to=1e5)
    dag = mdp.Dag("slow-store")
    dag.source(mdp.SyntheticSource(rows=50_000)).sink(store, name="store")
    print(mdp.run(dag))
    print(f"it takes {store.pace():,.0f} rows a second")


if __name__ == "__main__":
    main()

"""As-of joins: ours, DuckDB's `ASOF JOIN` and Polars' `join_asof`, each on two threads.

Polars must be given rows in order; where they are not, sorting them is part of its run.
"""

from __future__ import annotations

__all__ = ("TASKS",)

import os
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import market_data_pipeline as mdp
from benchmarks.asof_join import Joined, JoinTask
from benchmarks.ticks import SECOND_NS, symbol_names

BATCH_ROWS = 65_536
_CENT = SECOND_NS // 100


class OursInOrder(JoinTask):
    """Batches in memory -> `trades_with_quotes` -> memory, rows in order of event time."""

    out_of_order = "0s"

    def prepare(self) -> None:
        """Cut the arrays into batches, which are views of them."""
        symbols = mdp.SymbolTable(symbol_names(self.ticks.symbols))
        self.sides = [
            self._batches(columns, schema, symbols)
            for columns, schema in ((self.trades(), mdp.TRADE), (self.quotes(), mdp.QUOTE))
        ]

    def _batches(
        self, columns: dict[str, Any], schema: mdp.Schema, symbols: mdp.SymbolTable
    ) -> list[mdp.Batch]:
        columns = {"symbol" if name == "code" else name: c for name, c in columns.items()}
        schema = schema.only(columns)
        return [
            mdp.Batch(
                schema,
                {name: columns[name][at : at + BATCH_ROWS] for name in schema.names},
                symbols,
            )
            for at in range(0, self.ticks.rows, BATCH_ROWS)
        ]

    def run(self) -> Any:
        """Run the graph."""
        dag = mdp.Dag("prevailing")
        trades, quotes = (
            dag.source(mdp.MemorySource(side, out_of_order=self.out_of_order), name=name)
            for side, name in zip(self.sides, ("trades", "quotes"), strict=True)
        )
        trades.with_quotes(quotes).collect(name="store")
        return dag, mdp.run(dag)

    def joined(self, answer: Any) -> Joined:
        """Return the sums of the fixed-point columns that the sink was given."""
        whole = mdp.Batch.concat(answer[0].nodes["store"].component._rows().batches)
        known = whole["bid_price"] != np.iinfo(np.int64).max
        asks = whole["ask_price"][known] // _CENT
        return Joined(
            len(whole),
            int((~known).sum()),
            int((whole["bid_price"][known] // _CENT).sum()),
            int((asks * (whole["size"][known] // SECOND_NS)).sum()),
        )


class OursInArrivalOrder(OursInOrder):
    """The same rows as they arrived, up to 500 ms out of order."""

    ordered = False
    out_of_order = "500ms"


def _sums(table: pa.Table) -> Joined:
    known = table.filter(pc.is_valid(table["bid_price"]))
    bids = pc.divide(known["bid_price"], _CENT)
    asks = pc.divide(known["ask_price"], _CENT)
    sizes = pc.divide(known["size"], SECOND_NS)
    return Joined(
        len(table),
        len(table) - len(known),
        pc.sum(bids).as_py(),
        pc.sum(pc.multiply(asks, sizes)).as_py(),
    )


class PolarsInOrder(JoinTask):
    """Two data frames in memory that are known to be sorted -> a data frame."""

    def prepare(self) -> None:
        """Load both sides."""
        self.sides = [
            pl.DataFrame(columns).set_sorted("ts_event") if self.ordered else pl.DataFrame(columns)
            for columns in (self.trades(), self.quotes())
        ]

    def run(self) -> Any:
        """Run the query."""
        trades, quotes = (side.lazy() for side in self.sides)
        if not self.ordered:
            trades, quotes = trades.sort("ts_event"), quotes.sort("ts_event")
        return trades.join_asof(
            quotes, on="ts_event", by="code", strategy="backward", check_sortedness=False
        ).collect()

    def joined(self, answer: Any) -> Joined:
        """Return the sums of the columns."""
        return _sums(answer.to_arrow())


class PolarsInArrivalOrder(PolarsInOrder):
    """The same after sorting."""

    ordered = False


class DuckDBInOrder(JoinTask):
    """Two tables in DuckDB's own memory -> Arrow."""

    query = """
        SELECT t.ts_event, t.code, t.price, t.size, q.bid_price, q.ask_price
        FROM trades t ASOF LEFT JOIN quotes q ON t.code = q.code AND t.ts_event >= q.ts_event
    """

    def prepare(self) -> None:
        """Load both sides into tables of DuckDB's own."""
        self.connection = duckdb.connect()
        self.connection.execute("SET threads = 2")
        for name, columns in (("trades", self.trades()), ("quotes", self.quotes())):
            self.connection.register("given", pa.table(columns))
            self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
            self.connection.unregister("given")

    def run(self) -> Any:
        """Run the query."""
        return self.connection.sql(self.query).to_arrow_table()

    def joined(self, answer: Any) -> Joined:
        """Return the sums of the columns."""
        return _sums(answer)


class DuckDBInArrivalOrder(DuckDBInOrder):
    """The same, loaded in the order of arrival."""

    ordered = False


TASKS = {
    "ours": OursInOrder,
    "ours_arrival": OursInArrivalOrder,
    "polars": PolarsInOrder,
    "polars_arrival": PolarsInArrivalOrder,
    "duckdb": DuckDBInOrder,
    "duckdb_arrival": DuckDBInArrivalOrder,
}

"""Recorded trades get the quotes that DuckDB's and Polars' as-of joins give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import market_data_pipeline as mdp

_DAY = "equity/usa/tick/{}/20131007_{}.zip"
_QUOTE = ("bid_price", "bid_size", "ask_price", "ask_size")
_DEAL = ("symbol", "ts_event", "price", "size")


def _files(data_dir: Path, what: str) -> list[Path]:
    return [
        path
        for name in ("ibm", "spy")
        if (path := data_dir / "lean" / _DAY.format(name, what)).exists()
    ]


def _rows(paths: list[Path], columns: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows of files in their order, times as integers and prices exact."""
    dag = mdp.Dag()
    ticks = dag.source(mdp.ReplaySource([str(path) for path in paths], out_of_order="1min"))
    ticks.sink(mdp.MemorySink(prices="decimal"), name="out")
    table = mdp.run(dag).to_polars("out")
    rows: pl.DataFrame = table.select(columns).with_columns(pl.col("ts_event").cast(pl.Int64))
    return rows


@pytest.fixture(scope="module")
def sides(data_dir: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trades and quotes of a day, in the order of event time, then of the file."""
    trades, quotes = _files(data_dir, "trade"), _files(data_dir, "quote")
    return (
        _rows(trades, _DEAL).sort("ts_event", maintain_order=True),
        _rows(quotes, ("symbol", "ts_event", *_QUOTE)).sort("ts_event", maintain_order=True),
    )


def _joined(data_dir: Path, batch_rows: tuple[int, int], **settings: Any) -> pl.DataFrame:
    dag = mdp.Dag()
    trades, quotes = (
        dag.source(
            mdp.ReplaySource(
                [str(path) for path in _files(data_dir, what)],
                out_of_order="1min",
                batch_rows=rows,
            ),
            name=what,
        )
        for what, rows in zip(("trade", "quote"), batch_rows, strict=True)
    )
    joined = trades.with_quotes(quotes, name="join", **settings)
    joined.sink(mdp.MemorySink(prices="decimal"), name="out")
    result = mdp.run(dag)
    assert "late" not in result.ledger["join"].reasons
    assert "late_right" not in result.ledger["join"].reasons
    table = result.to_polars("out").with_columns(pl.col("ts_event").cast(pl.Int64))
    rows: pl.DataFrame = table.select(*_DEAL, *_QUOTE)
    return rows


@pytest.mark.parametrize("batch_rows", [(65_536, 65_536), (13, 1000)])
@pytest.mark.parametrize("strict", [False, True])
def test_trades_with_quotes_equal_polars_row_for_row(
    data_dir: Path,
    sides: tuple[pl.DataFrame, pl.DataFrame],
    batch_rows: tuple[int, int],
    strict: bool,
) -> None:
    """The same rows in the same order; of quotes of one instant the last one counts."""
    trades, quotes = sides
    expected = trades.set_sorted("ts_event").join_asof(
        quotes.set_sorted("ts_event"),
        on="ts_event",
        by="symbol",
        allow_exact_matches=not strict,
        check_sortedness=False,
    )
    found = _joined(data_dir, batch_rows, strict=strict)
    assert len(found) > 1000
    assert found["ask_price"].null_count() < len(found)
    assert found.rows() == expected.rows()


@pytest.mark.parametrize("strict", [False, True])
def test_trades_with_quotes_equal_duckdb_row_for_row(
    data_dir: Path, sides: tuple[pl.DataFrame, pl.DataFrame], strict: bool
) -> None:
    """The same quote for each trade; which of one instant counts has to be said in SQL."""
    trades, quotes = sides
    numbered = trades.with_row_index("place").to_arrow()
    book = quotes.with_row_index("place").to_arrow()
    with duckdb.connect() as connection:
        connection.register("trades", numbered)
        connection.register("quotes", book)
        expected = connection.sql(
            f"""
            WITH last AS (
                SELECT * FROM quotes
                QUALIFY row_number() OVER (
                    PARTITION BY symbol, ts_event ORDER BY place DESC
                ) = 1
            )
            SELECT {", ".join(f"t.{name}" for name in _DEAL)}, {", ".join(_QUOTE)}
            FROM trades t ASOF LEFT JOIN last q
              ON t.symbol = q.symbol AND t.ts_event {">" if strict else ">="} q.ts_event
            ORDER BY t.place
            """  # noqa: S608 - names of our own
        ).fetchall()
    assert _joined(data_dir, (500, 70), strict=strict).rows() == expected


def test_each_side_of_a_quote_is_the_last_that_was_told(
    data_dir: Path, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    """This feed tells bid and ask in rows of their own; Polars joins them one by one."""
    trades, quotes = sides
    expected = trades
    for pair in (_QUOTE[:2], _QUOTE[2:]):
        side = quotes.select("symbol", "ts_event", *pair).drop_nulls(pair[0])
        expected = expected.join_asof(side, on="ts_event", by="symbol", check_sortedness=False)
    found = _joined(data_dir, (500, 70), each_side=True)
    ibm = found.filter(symbol="IBM")
    assert max(ibm[name].null_count() for name in _QUOTE) < 10
    assert found.rows() == expected.rows()

"""What recorded US equity trades update, counted by DuckDB from the raw text."""

from __future__ import annotations

import zipfile
from pathlib import Path

import duckdb
import pytest

import market_data_pipeline as mdp

# By the meaning of the bits: settlement other than regular, after hours, contingent,
# average price, price variation, odd lot; derivatively priced, out of sequence, prior
# reference price; official open and close.
QUERY = """
with prints as (
    select ('0x' || condition)::ubigint as mask, size::bigint as size, suspicious
    from read_csv(?, header = false, all_varchar = true,
        names = ['ms', 'price', 'size', 'venue', 'condition', 'suspicious'])
)
select
    case
        when suspicious <> '0' then 0
        when mask & ((1 << 24) | (1 << 26)) <> 0 then 0
        when mask & (14 | (1 << 10) | (1 << 13) | (1 << 18) | (1 << 20) | (1 << 22)
            | (1::ubigint << 31)) <> 0 then 1
        when mask & (512 | (1 << 14) | (1 << 25)) <> 0 then 3
        else 7
    end as updates,
    count(*), sum(size)
from prints group by updates order by updates
"""


@pytest.mark.parametrize("ticker", ["spy", "ibm"])
def test_ineligible_prints_are_those_a_query_counts(
    ticker: str, data_dir: Path, tmp_path: Path
) -> None:
    """Number of trades and sum of sizes by what they update."""
    path = data_dir / f"lean/equity/usa/tick/{ticker}/20131007_trade.zip"
    with zipfile.ZipFile(path) as archive:
        [member] = archive.namelist()
        text = Path(archive.extract(member, tmp_path))
    with duckdb.connect() as database:
        expected = database.execute(QUERY, [str(text)]).fetchall()
        dag = mdp.Dag()
        trades = dag.source(mdp.ReplaySource(str(path)))
        trades.conditions("lean_us_equity", unknown="reject").collect(name="trades")
        result = mdp.run(dag)
        rows = result.to_arrow("trades")  # noqa: F841 - the query reads it
        found = database.execute(
            "select updates, count(*), sum(size)::bigint from rows group by updates order by 1"
        ).fetchall()
    assert found == expected
    assert [updates for updates, _, _ in found] == [0, 1, 3, 7]
    assert result.ledger.total("unknown") == 0


def test_closing_auction_is_in_a_session_that_is_made_longer(data_dir: Path) -> None:
    """It is reported a minute after the close."""
    path = data_dir / "lean/equity/usa/tick/ibm/20131007_trade.zip"
    dag = mdp.Dag()
    trades = dag.source(mdp.ReplaySource(str(path))).filter("condition == '80'")
    strict = trades.sessions("XNYS", outside="drop", name="strict")
    strict.collect(name="nothing")
    strict.outside.collect(name="outside")
    longer = {"exchange": "XNYS", "after_close": "5min"}
    trades.sessions(longer, outside="drop", name="longer").collect(name="inside")
    result = mdp.run(dag)
    for name in ("outside", "inside"):
        [auction] = result.to_arrow(name).to_pylist()
        assert (auction["size"], auction["price"]) == (151_665, 182.01)

"""`mdp why` tells of bars, and of bars that are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import market_data_pipeline
from market_data_pipeline.sink.sqlite import SqliteSink

Mdp = Callable[[str], Any]

HEAD = (
    "symbol,ts_open,ts_close,open,high,low,close,volume,vwap,count,"
    "is_final,revision,late_count,missing_seq,gap_ns,coverage,feed_state,session\n"
)
DAY = "2024-05-06T"
ROWS = [
    "A,{d}13:30:00Z,{d}13:31:00Z,1.5,2,1,1.75,30,1.6,3,true,0,0,0,0,1.0,live,2024-05-06",
    "A,{d}13:31:00Z,{d}13:32:00Z,1.5,2,1,1.5,20,1.6,2,false,0,0,,0,1.0,live,2024-05-06",
    "A,{d}13:31:00Z,{d}13:32:00Z,1.5,2,1,1.75,25,1.6,3,false,1,1,,0,1.0,live,2024-05-06",
    "A,{d}13:31:00Z,{d}13:32:00Z,1.5,2,1,1.75,25,1.6,3,true,1,1,,0,1.0,live,2024-05-06",
    "A,{d}13:33:00Z,{d}13:34:00Z,1,1,1,1,5,1,1,false,0,0,2,15000000000,0.75,disconnected,2024-05-06",
    "A,{d}13:40:00Z,{d}13:40:30Z,1,1,1,1,5,1,1,true,0,0,1,0,1.0,halted,2024-05-06",
    "A,2024-05-07T13:30:00Z,2024-05-07T13:31:00Z,1,1,1,1,0,,0,true,0,0,0,0,1.0,live,2024-05-07",
    "B,{d}13:32:00Z,{d}13:33:00Z,9,9,9,9,1,9,1,true,0,0,0,0,1.0,quiet,2024-05-06",
]


@pytest.fixture
def bars(tmp_path: Path) -> None:
    """A file of bars with all their columns, in the test's folder."""
    text = "\n".join(ROWS).replace("{d}", DAY)
    (tmp_path / "bars.csv").write_text(HEAD + text + "\n")


def _facts(shown: Any) -> dict[str, str]:
    [bar] = shown.json["bars"]
    return {fact["about"]: ("! " if fact["doubt"] else "") + fact["says"] for fact in bar["facts"]}


@pytest.mark.usefixtures("bars")
def test_sound_bar_has_nothing_against_it(mdp: Mdp) -> None:
    """Every column becomes a sentence."""
    shown = mdp(f"why A {DAY}13:30:59.999999999Z bars.csv")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        "A  [2024-05-06T13:30:00Z, 2024-05-06T13:31:00Z)  1min\n"
        "\n"
        "open  high  low  close  volume  vwap  count\n"
        "----  ----  ---  -----  ------  ----  -----\n"
        "1.5   2     1    1.75   30      1.6   3\n"
        "\n"
        "- 3 trades went into it\n"
        "- it is final and is as it first came out\n"
        "- no row in it came after its window ended\n"
        "- no row of the feed's numbering is missing in it\n"
        "- the feed was connected for all of its 1min\n"
        "- the feed was live throughout\n"
        "- it belongs to the trading session of 2024-05-06\n"
        "\n"
        "nothing that is known speaks against it\n"
    )


@pytest.mark.usefixtures("bars")
def test_revised_bar_tells_what_it_was_before(mdp: Mdp) -> None:
    """The last revision is explained, and what earlier ones had instead."""
    shown = mdp(f"why A {DAY}13:31:00Z bars.csv --json")
    [bar] = shown.json["bars"]
    assert (bar["values"]["volume"], bar["values"]["revision"]) == ("25", 1)
    assert len(bar["earlier"]) == 2
    says = [fact["says"] for fact in bar["facts"]]
    assert "it is final; it was given out otherwise 1 time before" in says
    assert "before, in revision 0, it had close 1.5, volume 20, count 2, late_count 0" in says
    assert "1 row in it came after its window ended" in says
    assert "whether rows are missing is not known: no sequence numbers were tracked" in says


@pytest.mark.usefixtures("bars")
def test_doubts_are_marked_and_counted(mdp: Mdp) -> None:
    """Not final, rows missing, the feed cut off."""
    shown = mdp(f"why A {DAY}13:33:30Z bars.csv")
    assert [line for line in shown.out.splitlines() if line.startswith("!")] == [
        "! it is not final: rows that come late, or corrections, may still change it",
        "! 2 rows of the feed's numbering are missing in it",
        "! the feed was cut off for 15s of its 1min, coverage 75.0%",
        "! the feed was disconnected for a part of it",
    ]
    assert shown.out.endswith("\n4 of these speak against it: !\n")


@pytest.mark.usefixtures("bars")
def test_short_and_filled_bars(mdp: Mdp) -> None:
    """A window cut at the close of trading, and one that no row went into."""
    facts = _facts(mdp(f"why A {DAY}13:40:00Z bars.csv --json"))
    assert facts["ts_close"] == (
        "its window is shorter than the usual 1min: it is cut at the end of trading"
    )
    assert facts["missing_seq"] == "! 1 row of the feed's numbering is missing in it"
    assert facts["feed_state"] == "! trading was halted for a part of it"
    facts = _facts(mdp("why A 2024-05-07T13:30:00Z bars.csv --json"))
    assert facts["count"] == "no trade went into it: the window was filled"


def test_rows_that_came_back_are_no_doubt(mdp: Mdp, tmp_path: Path) -> None:
    """A backfill put them into this bar; a later one has the mark."""
    row = ROWS[0].replace("{d}", DAY).replace(",0,0,0,0,", ",1,2,-2,0,")
    (tmp_path / "bars.csv").write_text(HEAD + row + "\n")
    facts = _facts(mdp(f"why A {DAY}13:30:00Z bars.csv --json"))
    assert facts["missing_seq"] == (
        "2 rows came into it that had been missing; that was noticed, and is marked, in a later "
        "bar"
    )


@pytest.mark.usefixtures("bars")
def test_no_bar_between_others_is_told_from_the_neighbours(mdp: Mdp) -> None:
    """A window of its own without rows, while the feed was running."""
    shown = mdp(f"why A {DAY}13:32:10Z bars.csv")
    assert shown.code == 1
    assert shown.out == (
        "no bar of A covers 2024-05-06T13:32:10Z\n"
        "\n"
        "  before  [2024-05-06T13:31:00Z, 2024-05-06T13:32:00Z)\n"
        "  after   [2024-05-06T13:33:00Z, 2024-05-06T13:34:00Z)\n"
        "\n"
        "- within the session of 2024-05-06, there are 1min (1 window of the usual length) from "
        "the end of the bar before to the one after: a window without rows has no bar\n"
        "- in the bar after it, the feed was disconnected for a part of it\n"
        "- 1 other symbol of the file has a bar there, so the feed was running: A had no rows of "
        "its own, or they were late or sorted out\n"
    )


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (
            f"{DAY}20:00:00Z",
            "it lies between two trading sessions: the bar before is of 2024-05-06",
        ),
        (f"{DAY}13:29:59Z", "bars of A begin later in this file"),
        ("2024-05-07T13:31:00Z", "bars of A end earlier in this file"),
    ],
)
def test_no_bar_outside_of_trading_or_of_the_file(mdp: Mdp, time: str, reason: str) -> None:
    """By the sessions of the neighbours, or since there are none."""
    shown = mdp(f"why A {time} bars.csv --json")
    assert (shown.code, shown.json["found"], shown.json["bars"]) == (1, False, [])
    assert shown.json["reasons"][0].startswith(reason)


@pytest.mark.usefixtures("bars")
def test_calendar_is_asked_whether_trading_was_on(mdp: Mdp) -> None:
    """From its own knowledge, whatever the file has."""
    shown = mdp("why A 2024-05-06T13:29:59Z bars.csv --calendar XNYS --json")
    assert shown.json["reasons"][0] == (
        "XNYS was closed then; it closed at 2024-05-03T20:00:00Z; "
        "it opened at 2024-05-06T13:30:00Z"
    )
    shown = mdp(f"why A {DAY}13:30:00Z bars.csv --calendar XNYS")
    assert "- XNYS was open then, from 2024-05-06T13:30:00Z to 2024-05-06T20:00:00Z\n" in shown.out


def test_foreign_file_says_what_is_not_known(mdp: Mdp, tmp_path: Path) -> None:
    """Without columns of certainty, and without the end of windows."""
    (tmp_path / "bars.jsonl").write_text(
        '{"symbol":"A","ts_open":"2024-05-06T00:00:00Z","close":1.5}\n'
        '{"symbol":"A","ts_open":"2024-05-06T00:00:10Z","close":1.5}\n'
        '{"symbol":"A","ts_open":"2024-05-06T00:00:30Z","close":1.5}\n'
        '{"symbol":"A","ts_open":"2024-05-06T00:00:40Z","close":1.5}\n'
    )
    facts = _facts(mdp("why A 00:00:15 bars.jsonl --json"))
    assert facts["columns"] == (
        "the file has no columns `is_final`, `revision`, `late_count`, `missing_seq`, "
        "`coverage`, `feed_state`, so that is not known"
    )
    assert facts["ts_close"].endswith("bars are taken to be as long as they are apart, 10s")
    assert mdp("why A 00:00:20 bars.jsonl").code == 1


def test_taken_back_bar_is_told(mdp: Mdp, tmp_path: Path) -> None:
    """Where files hold retractions: replaced, or gone."""
    rows = ["symbol,ts_open,ts_close,close,revision,op"]
    rows += ["A,1714953600000000000,1714953601000000000,1,0,1"]
    rows += ["A,1714953600000000000,1714953601000000000,1,0,-1"]
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(rows) + "\n")
    facts = _facts(mdp("why A 2024-05-06T00:00:00Z bars.csv --json"))
    assert facts["op"] == "! it was taken back, and nothing stands in its place"
    path.write_text("\n".join([*rows, rows[1].replace(",1,0,1", ",2,1,1")]) + "\n")
    shown = mdp("why A 2024-05-06T00:00:00Z bars.csv --json")
    assert "op" not in _facts(shown)
    assert shown.json["bars"][0]["values"]["close"] == "2"


def test_duckdb_and_parquet_are_read_too(mdp: Mdp, tmp_path: Path) -> None:
    """With types of their own for times, dates and truth."""
    second = 10**9
    rows = pa.table(
        {
            "symbol": ["A"],
            "ts_open": pa.array([1_714_953_600 * second], pa.timestamp("ns", "UTC")),
            "ts_close": pa.array([1_714_953_601 * second], pa.timestamp("ns", "UTC")),
            "bid_open": [1.5],
            "count": [2],
            "is_final": [True],
            "missing_seq": pa.array([None], pa.int64()),
            "session": pa.array([19849], pa.date32()),
            "made": pa.array([1], pa.timestamp("ns", "UTC")),
        }
    )
    pq.write_table(rows, tmp_path / "bars.parquet")
    with duckdb.connect(str(tmp_path / "bars.duckdb")) as database:
        database.execute("create table quotes as from rows")
    for file in ("bars.parquet", "bars.duckdb --table quotes"):
        facts = _facts(mdp(f"why A 2024-05-06T00:00:00.5Z {file} --json"))
        assert "1970-01-01 00:00:00" in mdp(f"why A 2024-05-06T00:00:00Z {file}").out
        assert facts["count"] == "2 quotes went into it"
        assert facts["is_final"] == "it is final"
        assert facts["session"] == "it belongs to the trading session of 2024-05-06"


def test_outputs_of_every_kind_tell_the_same(mdp: Mdp, tmp_path: Path) -> None:
    """What one run wrote into a file and into databases, SQLite without truth and dates."""
    (tmp_path / "ticks.csv").write_text(
        "ts_event,symbol,price,size\n2024-05-06T13:30:00Z,A,1.25,3\n2024-05-06T13:30:02Z,A,1.5,1\n"
    )
    dag = market_data_pipeline.Dag("bars")
    ticks = dag.source(market_data_pipeline.ReplaySource(tmp_path / "ticks.csv"))
    bars = ticks.bars("1s", revisions="upsert", lateness="1s")
    bars.sink(market_data_pipeline.ParquetSink(tmp_path / "bars.parquet"))
    bars.sink(market_data_pipeline.DuckDBSink(tmp_path / "bars.duckdb", table="bars"))
    bars.sink(SqliteSink(tmp_path / "bars.sqlite", table="bars"))
    market_data_pipeline.run(dag)
    told = [
        mdp(f"why A 2024-05-06T13:30:00.5Z {file} --json").json["bars"]
        for file in ("bars.duckdb", "bars.sqlite")
    ]
    assert told[0] == told[1]
    assert told[0][0]["values"]["is_final"] is True
    assert mdp("diff bars.sqlite bars.parquet").code == 0
    other = mdp("why A 2024-05-06T13:30:00Z bars.sqlite --table bas")
    assert "has no table `bas`; did you mean `bars`?" in other.err
    (tmp_path / "text.db").write_text("no database, and longer than a header of one" * 9)
    assert "cannot be read as SQLite" in mdp("why A 2024-05-06T13:30:00Z text.db").err


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"why a {DAY}13:30:00Z bars.csv", "bars.csv has no bars of `a`"),
        (f"why C {DAY}13:30:00Z bars.csv", "(symbols: `A`, `B`)"),
        ("why A noon bars.csv", "`TIME` must be an ISO 8601 moment"),
        ("why A 13:30 bars.csv", "`TIME` needs its date, as `2024-05-06T13:30`"),
        ("why B 13:30 bars.csv --timezone Mars", "there is no time zone `Mars`"),
        (f"why A {DAY}13:30:00Z other.csv", "other.csv: no such file"),
        (f"why A {DAY}13:30:00Z bars.csv --calendar XXXX", "there is no calendar `XXXX`"),
    ],
)
def test_wrong_usage_is_told(mdp: Mdp, line: str, told: str) -> None:
    """One message, exit code 2."""
    shown = mdp(line)
    assert shown.code == 2
    assert told in shown.err


@pytest.mark.usefixtures("bars")
def test_time_of_day_is_that_of_a_place(mdp: Mdp) -> None:
    """Where the bars are of one date there."""
    shown = mdp("why B 09:32:30 bars.csv --timezone America/New_York --json")
    assert shown.json["time"] == "2024-05-06T13:32:30Z"
    assert shown.code == 0

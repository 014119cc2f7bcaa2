"""`mdp bars`, typed as a user would: good files, bad files, wrong options."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Mdp = Callable[[str], Any]

TICKS = """\
ts_event,symbol,price,size
2024-05-06T09:30:00.100Z,A,1.5,2
2024-05-06T09:30:00.900Z,A,1.75,1
2024-05-06T09:30:00.200Z,A,1.25,1
2024-05-06T09:30:02.500Z,A,1.0,4
2024-05-06T09:30:00.300Z,A,9.0,9
"""
BARS = """\
symbol,ts_open,ts_close,open,high,low,close,volume,vwap,count,is_final,revision,late_count,\
missing_seq,gap_ns,coverage,feed_state,session
A,2024-05-06T09:30:00.000000000Z,2024-05-06T09:30:01.000000000Z,1.5,1.75,1.25,1.75,4.0,1.5,3,\
true,0,0,,0,1,live,
A,2024-05-06T09:30:02.000000000Z,2024-05-06T09:30:03.000000000Z,1.0,1.0,1.0,1.0,4.0,1.0,1,\
true,0,0,,0,1,live,
"""
BAD = """\
ts_event,symbol,price,size
2024-05-06T09:30:00Z,A,1.5,2
2024-05-06T09:30:00.1Z,A,nan,2
2024-05-06T09:30:00.2Z,A,1.5,-2
2024-05-06T09:30:00.3Z,A,99999999999999,2
2024-05-06T09:30:00.4Z,A,cheap,2
yesterday,A,1.5,2
2024-05-06T09:30:01Z,A,1.25,2
"""


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    """Five trades; the third is out of order, the last comes too late for a bound of 1 s."""
    path = tmp_path / "ticks.csv"
    path.write_text(TICKS)
    return path


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("ticks")
def test_trades_become_bars(mdp: Mdp, tmp_path: Path) -> None:
    """Windows without rows have no bar, disorder within the bound does not show."""
    shown = mdp("bars ticks.csv --every 1s -o bars.csv")
    assert (shown.code, shown.err) == (0, "")
    assert (tmp_path / "bars.csv").read_text() == BARS
    assert shown.out.startswith("bars.csv: 2 bars of 1s from 5 rows in ")
    assert "balanced: every row of every node is accounted for" in shown.out
    assert "late, in no bar: 1 row; raise --out-of-order, or keep them with --late" in shown.out


@pytest.mark.usefixtures("ticks")
def test_json_is_the_last_line_and_adds_up(mdp: Mdp) -> None:
    """The fields a script relies on."""
    found = mdp("bars ticks.csv --every 1s -o bars.parquet --json").json
    wanted = {"rows_in": 5, "rows_out": 2, "late": 1, "rejected": 0, "output": "bars.parquet"}
    assert {key: found[key] for key in wanted} == wanted
    assert found["seconds"] > 0
    assert found["rows_per_second"] >= 0
    assert (found["interrupted"], found["balanced"]) == (False, True)
    for account in found["ledger"]:
        ended = sum(n for key, n in account.items() if key not in {"node", "in", "created"})
        assert account["in"] + account["created"] == ended


@pytest.mark.usefixtures("ticks")
def test_every_output_format_holds_the_same_bars(mdp: Mdp) -> None:
    """As `mdp diff` sees it."""
    names = ("a.parquet", "a.csv", "a.jsonl", "a.duckdb", "a.csv.gz", "parts/")
    for name in names:
        assert mdp(f"bars ticks.csv --every 1s -o {name}").code == 0
        assert mdp(f"diff a.parquet {name}").code == 0
    assert mdp("bars ticks.csv --every 1s -o b.parquet --prices decimal").code == 0
    assert mdp("diff a.parquet b.parquet").code == 0
    assert mdp("bars ticks.csv --every 1s -o a.duckdb --table again").code == 0
    assert mdp("diff a.duckdb a.duckdb --table again").code == 0


@pytest.mark.usefixtures("ticks")
def test_wider_bound_makes_no_row_late(mdp: Mdp) -> None:
    """`--out-of-order` is what decides."""
    assert mdp("bars ticks.csv --every 1s -o a.csv --out-of-order 3s --json").json["late"] == 0
    assert mdp("bars ticks.csv --every 1s -o b.csv --out-of-order 0 --json").json["late"] == 1


def test_a_row_of_another_century_makes_no_other_late(mdp: Mdp, tmp_path: Path) -> None:
    """`--max-future-skew` rejects it."""
    days = ("2024-05-06", "2124-05-06", "2024-05-06", "2024-05-06")
    rows = [f"{day}T09:30:0{second}Z,A,1,1" for second, day in enumerate(days)]
    (tmp_path / "far.csv").write_text("\n".join(["ts_event,symbol,price,size", *rows, ""]))
    assert mdp("bars far.csv --every 1s -o a.csv --json").json["late"] == 2
    told = mdp("bars far.csv --every 1s -o b.csv --max-future-skew 1h --json").json
    assert (told["late"], told["rejected"], told["rows_out"]) == (0, 1, 3)


@pytest.mark.usefixtures("ticks")
def test_batch_size_makes_no_difference(mdp: Mdp, tmp_path: Path) -> None:
    """Not even one row at a time."""
    for rows in (1, 2, 1000):
        assert mdp(f"bars ticks.csv --every 1s -o {rows}.csv --batch-rows {rows}").code == 0
        assert (tmp_path / f"{rows}.csv").read_text() == BARS


@pytest.mark.usefixtures("ticks")
def test_range_takes_the_start_and_leaves_the_end(mdp: Mdp) -> None:
    """`--from` is inclusive, `--to` exclusive; what is outside is counted as filtered."""
    found = mdp(
        "bars ticks.csv --every 1s -o a.csv --out-of-order 3s --json "
        "--from 2024-05-06T09:30:00.200 --to 2024-05-06T09:30:02.5"
    ).json
    assert (found["rows_in"], found["rows_out"]) == (5, 1)
    assert found["ledger"][0]["filtered"] == 2


@pytest.mark.usefixtures("ticks")
def test_late_rows_are_kept_where_asked(mdp: Mdp, tmp_path: Path) -> None:
    """As they were, with all their columns."""
    shown = mdp("bars ticks.csv --every 1s -o a.csv --late late.csv")
    assert shown.code == 0
    assert (tmp_path / "late.csv").read_text().splitlines()[1:] == [
        "2024-05-06T09:30:00.300000000Z,A,9.0,9.0"
    ]


def test_rejected_rows_are_counted_and_kept_with_place_and_reason(
    mdp: Mdp, tmp_path: Path
) -> None:
    """A bad row in the middle does not stop the good ones."""
    (tmp_path / "bad.csv").write_text(BAD)
    found = mdp("bars bad.csv --every 1s -o a.csv --rejected rejected.jsonl --json").json
    assert (found["rows_in"], found["rows_out"], found["rejected"]) == (7, 2, 5)
    kept = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [row["row"] for row in kept] == [2, 3, 4, 5, 6]
    assert {row["place"] for row in kept} == {"bad.csv"}
    assert "`price` is `nan`" in kept[0]["detail"]
    assert "could not be taken: 5 rows" in mdp("bars bad.csv --every 1s -o b.csv").out


def test_strict_fails_on_the_first_bad_row(mdp: Mdp, tmp_path: Path) -> None:
    """With the file, the row and what was found; nothing is left."""
    (tmp_path / "bad.csv").write_text(BAD)
    shown = mdp("bars bad.csv --every 1s -o a.csv --strict")
    assert shown.code == 1
    assert "bad.csv, row 2: `price` is `nan`" in shown.err
    assert _left(tmp_path) == ["bad.csv"]


def test_files_without_symbols_need_one(mdp: Mdp, tmp_path: Path) -> None:
    """And other names of columns are mapped."""
    (tmp_path / "a.csv").write_text("when,px,size\n2024-05-06 09:30:00,1.5,2\n")
    line = "bars a.csv --every 1min -o a.jsonl --column ts_event=when --column price=px"
    assert mdp(f"{line} --symbol ES --timezone America/New_York").code == 0
    row = json.loads((tmp_path / "a.jsonl").read_text())
    assert (row["symbol"], row["ts_open"]) == ("ES", "2024-05-06T13:30:00.000000000Z")


def test_prices_below_zero_are_taken_where_that_is_asked_for(mdp: Mdp, tmp_path: Path) -> None:
    """They are bad rows otherwise, and the way out is told."""
    text = "ts_event,symbol,price,size\n2020-04-20T18:30:00Z,CLK0,-37.63,1\n"
    (tmp_path / "oil.csv").write_text(text)
    line = "bars oil.csv --every 1s -o bars.csv --overwrite"
    assert "could not be taken: 1 row" in mdp(line).out
    assert "say `negative_prices`" in mdp(f"{line} --strict").err
    assert "could not be taken" not in mdp(f"{line} --negative-prices").out
    assert ",-37.63," in (tmp_path / "bars.csv").read_text()


@pytest.mark.usefixtures("ticks")
@pytest.mark.parametrize("asked", ["--symbol EURUSD", "--from 2030-01-01"])
def test_no_bar_of_what_was_asked_for_is_told(mdp: Mdp, asked: str) -> None:
    """A misspelt symbol or year is no success without a word."""
    shown = mdp(f"bars ticks.csv --every 1s -o bars.csv {asked}")
    assert shown.code == 0
    assert "of no symbol or time that was asked for: 5 rows; `mdp inspect`" in shown.out


def test_several_files_are_merged_by_event_time(mdp: Mdp, tmp_path: Path) -> None:
    """Patterns and compressed files too."""
    lines = TICKS.splitlines(keepends=True)
    (tmp_path / "t1.csv").write_text("".join([lines[0], lines[4]]))
    (tmp_path / "t2.csv.gz").write_bytes(gzip.compress("".join(lines[:4]).encode()))
    found = mdp("bars t*.csv* --every 1s -o a.csv --json").json
    assert (found["rows_in"], found["rows_out"], found["late"]) == (4, 2, 0)
    assert (tmp_path / "a.csv").read_text() == BARS


MISUSE = [
    ("bars nix.csv --every 1s -o a.csv", "nix.csv: no such file"),
    ("bars nix*.csv --every 1s -o a.csv", "nix*.csv: no file matches this pattern"),
    ("bars wrong.csv --every 1s -o a.csv", "the nearest is `prise` (columns: `ts_event`,"),
    ("bars ticks.csv --every 1s -o a.csv --column price=prize", "`prize`"),
    ("bars ticks.csv --every 1s -o a.csv --column pricee=price", "did you mean `price`?"),
    ("bars ticks.csv --every 1s -o a.csv --column price", "our name, `=` and the file's name"),
    ("bars ticks.csv --every 1s -o a.csv --kind quotes", "`bid_price` of a quote"),
    ("bars ticks.csv --every 1s -o a.xlsx", "`.parquet`, `.csv`, `.jsonl`, `.duckdb`"),
    ("bars ticks.csv --every 1s -o nowhere/a.csv", "there is no folder"),
    ("bars ticks.csv --every 1s -o a.csv --prices float64", "`--prices float64` is for .parquet"),
    ("bars ticks.csv --every 1s -o ticks.csv --overwrite", "`ticks.csv` is an input too"),
    ("bars ticks.csv --every 1s -o a.csv --late ./a.csv", "`./a.csv` is the file of --output too"),
    (
        "bars ticks.csv --every 1x -o a.csv",
        "--every: `every` of `bars`: `1x` counts `x`, which no bar does",
    ),
    ("bars ticks.csv --every 0 -o a.csv", "must be longer than zero"),
    ("bars ticks.csv --every 1s -o a.csv --out-of-order -1s", "--out-of-order: "),
    ("bars ticks.csv --every 1s -o a.csv --max-future-skew x", "--max-future-skew: "),
    ("bars ticks.csv --every 1s -o a.csv --from tomorrow", "--from: `start` must be an ISO 8601"),
    ("bars ticks.csv --every 1s -o a.csv --from 2024-02-02 --to 2024-02-01", "--to: "),
    ("bars ticks.csv --every 1s -o a.csv --timezone Mars", "there is no time zone `Mars`"),
    ("bars ticks.csv --every 1s -o a.csv --batch-rows 0", "--batch-rows"),
    ("bars ticks.csv --every 1s -o a.csv --format excel", "--format"),
    ("bars ticks.csv --every 1s", "--output"),
    ("bars ticks.csv -o a.csv", "--every"),
    ("bars --every 1s -o a.csv", "INPUT"),
]


@pytest.mark.usefixtures("ticks")
@pytest.mark.parametrize(("line", "message"), MISUSE, ids=[line for line, _ in MISUSE])
def test_misuse_is_one_message_and_leaves_nothing(
    mdp: Mdp, tmp_path: Path, line: str, message: str
) -> None:
    """Exit code 2: another command line is needed."""
    (tmp_path / "wrong.csv").write_text("ts_event,symbol,prise,size\n2024-05-06,A,1,1\n")
    shown = mdp(line)
    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err
    assert _left(tmp_path) == ["ticks.csv", "wrong.csv"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("empty.parquet", b""),
        ("cut.csv.gz", gzip.compress(TICKS.encode() * 100)[:-20]),
        ("text.parquet", b"hello"),
        ("cut.parquet", b"PAR1" + b"\0" * 100),
        ("empty.zip", b""),
    ],
)
def test_damaged_file_is_named_and_leaves_nothing(
    mdp: Mdp, tmp_path: Path, name: str, content: bytes
) -> None:
    """Exit code 1: the command line was right, the file is not."""
    (tmp_path / name).write_bytes(content)
    shown = mdp(f"bars {name} --every 1s -o a.parquet")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(f"error: {name}")
    assert "Traceback" not in shown.err
    assert _left(tmp_path) == [name]


@pytest.mark.usefixtures("ticks")
@pytest.mark.parametrize("output", ["a.csv", "a.jsonl", "a.parquet", "a.duckdb"])
def test_output_that_exists_is_replaced_only_on_request(mdp: Mdp, output: str) -> None:
    """Refuse first; `--overwrite` replaces all of it."""
    line = f"bars ticks.csv --every 1s -o {output}"
    assert mdp(line).code == 0
    again = mdp(line)
    assert again.code == 2
    assert "exists already" in again.err
    assert "--overwrite" in again.err
    assert mdp(f"{line} --overwrite --json").json["rows_out"] == 2


def test_bars_of_real_quotes_equal_the_reference(mdp: Mdp, data_dir: Path, tmp_path: Path) -> None:
    """A day of FX ticks, against the 1 s bars another system made of them."""
    import zipfile

    folder = data_dir / "lean" / "forex" / "oanda"
    ticks = folder / "tick" / "eurusd" / "20140501_quote.zip"
    with zipfile.ZipFile(folder / "second" / "eurusd" / "20140501_quote.zip") as archive:
        reference = archive.read(archive.namelist()[0]).decode().split()
    assert mdp(f"bars {ticks} --every 1s -o a.csv --format lean").code == 0
    rows = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert len(rows) == len(reference)
    for ours, theirs in zip(rows, (line.split(",") for line in reference), strict=True):
        clock = ours[1].partition("T")[2].rstrip("Z")
        hours, minutes, seconds = clock.split(":")
        assert (int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000 == int(theirs[0])
        prices = [*theirs[1:5], *theirs[6:10]]
        assert [float(price) for price in ours[3:11]] == [float(price) for price in prices]


@pytest.mark.usefixtures("ticks")
def test_bars_of_every_kind(mdp: Mdp, tmp_path: Path) -> None:
    """Rows of bars that the end of input cuts off are counted as unfinished."""
    shown = mdp("bars ticks.csv --every 3tick -o bars.csv --json")
    assert (shown.code, shown.err) == (0, "")
    bar = (
        "A,2024-05-06T09:30:00.100000000Z,2024-05-06T09:30:00.900000000Z,"
        "1.5,1.75,1.25,1.75,4.0,1.5,3,true,0,0,,0,1,live,"
    )
    assert (tmp_path / "bars.csv").read_text().splitlines()[1:] == [bar]
    bars = next(row for row in shown.json["ledger"] if row["node"] == "bars")
    assert (bars["unfinished"], bars["late"], bars["aggregated"]) == (1, 1, 3)


@pytest.mark.usefixtures("ticks")
def test_what_names_no_bars_is_a_usage_error(mdp: Mdp) -> None:
    """It names the nearest that does."""
    shown = mdp("bars ticks.csv --every 3tik -o bars.csv")
    assert shown.code == 2
    assert "did you mean `3tick`?" in shown.err


@pytest.mark.usefixtures("ticks")
def test_a_price_that_trades_do_not_have_is_a_usage_error(mdp: Mdp) -> None:
    """Nothing is run."""
    shown = mdp("bars ticks.csv --every 3tick --price mid -o bars.csv")
    assert shown.code == 2
    assert "`bars` needs `bid_price`, which is not there" in shown.err

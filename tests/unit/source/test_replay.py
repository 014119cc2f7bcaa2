from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.component import settings_of
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SourceNode
from market_data_pipeline.errors import ColumnError, ConfigError, InputError, MissingInputError
from market_data_pipeline.flow import Dag
from market_data_pipeline.running import run
from market_data_pipeline.source.replay import ReplaySource
from support.lean_files import write_lean
from support.manual_clock import ManualClock

DAY_NS = 1_399_248_000 * 10**9
SECOND = 10**9


def forex(folder: Path, seconds: Sequence[float], *, pair: str = "eurusd", day: int = 5) -> Path:
    """Write quotes at seconds of a day in May 2014; the bid tells their place."""
    text = "".join(
        f"{int(second * 1000)},1.{place:04d},2\n" for place, second in enumerate(seconds)
    )
    return write_lean(folder, f"forex/oanda/tick/{pair}/201405{day:02d}_quote.zip", {"q": text})


class Replayed:
    """What a source gave."""

    def __init__(self) -> None:
        self.account = Account("replay")
        self.clock = ManualClock()
        self.batches: list[Batch] = []
        self.rejected: list[tuple[str, int, str]] = []
        self.given_at: list[tuple[float, int]] = []
        self.fractions: list[float | None] = []

    @property
    def seconds(self) -> list[float]:
        times = [time for batch in self.batches for time in batch.times.tolist()]
        return [(time - DAY_NS) / SECOND for time in times]


def replay(source: ReplaySource, *, columns: frozenset[str] | None = None) -> Replayed:
    found = Replayed()

    async def run() -> None:
        context = NodeContext("replay", account=found.account, clock=found.clock, columns=columns)
        reader = await source.open(context)
        try:
            while (given := await reader.read()) is not None:
                for port, batch in given:
                    assert isinstance(batch, Batch)
                    if port == "rejected":
                        columns_of = [batch[name].tolist() for name in ("row", "reason")]
                        places = batch["place"].to_pylist()
                        found.rejected += zip(places, *columns_of, strict=True)
                        continue
                    found.account.rows_out += len(batch)
                    found.batches.append(batch)
                    found.given_at.append((found.clock.now_s, len(batch)))
                found.fractions.append(reader.fraction())
                assert found.account.unaccounted == 0
        finally:
            await reader.close()
        assert reader.fraction() == 1.0

    asyncio.run(run())
    return found


def test_files_of_a_pattern_become_one_stream_by_event_time(tmp_path: Path) -> None:
    """And each keeps its own symbol."""
    forex(tmp_path, [1, 3, 5])
    forex(tmp_path, [2, 3, 9], pair="nzdusd")
    found = replay(ReplaySource(tmp_path / "forex/*/tick/*/*.zip"))
    assert found.seconds == [1, 2, 3, 3, 5, 9]
    names = [
        batch.symbols.name(code) for batch in found.batches for code in batch["symbol"].tolist()
    ]
    assert names == ["EURUSD", "NZDUSD", "EURUSD", "NZDUSD", "EURUSD", "NZDUSD"]
    assert found.account.rows_in == 6


def test_a_sequence_keeps_files_in_the_order_they_are_named(tmp_path: Path) -> None:
    """Also where an earlier file holds later times."""
    late = forex(tmp_path, [5, 6], day=6)
    early = forex(tmp_path, [1, 2])
    found = replay(ReplaySource([late, early], order="sequence"))
    assert found.seconds == [86405, 86406, 1, 2]


def test_many_files_are_merged_as_few_are(tmp_path: Path) -> None:
    """More files than are held open at once."""
    for day in range(1, 29):
        forex(tmp_path, [60, 7], day=day)
        forex(tmp_path, [3, 60], pair="nzdusd", day=day)
    found = replay(ReplaySource(tmp_path / "forex/*/tick/*/*.zip", batch_rows=3))
    days = [86400 * day for day in range(-4, 24)]
    assert found.seconds == [day + s for day in days for s in (3, 60, 7, 60)]
    assert max(map(len, found.batches)) <= 3
    assert found.fractions == sorted(found.fractions, key=lambda f: f or 0)


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_each_row_has_its_watermark(tmp_path: Path, batch_rows: int) -> None:
    """The highest event time so far less the bound, whatever the batches."""
    path = forex(tmp_path, [5, 3, 8, 7.5])
    found = replay(ReplaySource(path, out_of_order="2s", batch_rows=batch_rows))
    marks: list[float] = []
    before = TIME_MIN
    for batch in found.batches:
        assert batch.progress is not None
        assert batch.progress.before == before
        marks += [(m - DAY_NS) / SECOND for m in batch.progress.watermarks(batch.times).tolist()]
        before = batch.watermark
    assert marks == [3, 3, 6, 6]


def test_a_range_takes_its_start_and_leaves_its_end(tmp_path: Path) -> None:
    """The rest is counted as filtered, and moves the watermark all the same."""
    path = forex(tmp_path, [1, 5, 2, 6, 9, 4])
    start, end = "2014-05-05T00:00:02Z", "2014-05-05T00:00:06Z"
    for batch_rows in (1, 2, 6):
        source = ReplaySource(path, start=start, end=end, out_of_order="0s", batch_rows=batch_rows)
        found = replay(source)
        assert found.seconds == [5, 2, 4]
        assert found.account.reasons == {"filtered": 3}
        assert found.account.rows_in == 6
        marks = [
            mark
            for batch in found.batches
            if batch.progress is not None
            for mark in batch.progress.watermarks(batch.times).tolist()
        ]
        assert [(mark - DAY_NS) / SECOND for mark in marks] == [5, 5, 9]


def test_a_range_without_zone_is_in_the_files_zone(tmp_path: Path) -> None:
    """As the times in the files are."""
    path = forex(tmp_path, [0, 3600])
    source = ReplaySource(path, timezone="Etc/GMT+5", start="2014-05-05T01:00:00")
    assert replay(source).seconds == [6 * 3600]


def test_rejected_rows_are_given_and_counted(tmp_path: Path) -> None:
    """With the file and the row; the rest goes on."""
    where = "forex/oanda/tick/{}/20140505_quote.zip"
    write_lean(tmp_path, where.format("eurusd"), {"q": "0,1,2\nx\n1000,1,2\n"})
    write_lean(tmp_path, where.format("nzdusd"), {"q": "0,1,2\n500,1,2\n2000,1,bad\n"})
    found = replay(ReplaySource(str(tmp_path / "forex/*/tick/*/*.zip")))
    assert found.seconds == [0, 0, 0.5, 1]
    assert sorted(
        (Path(place).parts[-3], row, reason) for place, row, reason in found.rejected
    ) == [
        ("eurusd", 2, "fields"),
        ("nzdusd", 3, "malformed"),
    ]
    assert found.account.reasons == {"rejected": 2}
    assert found.account.rows_in == 6


def test_strict_fails_on_the_first_bad_row(tmp_path: Path) -> None:
    """The error of the reading thread reaches whoever reads."""
    where = "forex/oanda/tick/eurusd/20140505_quote.zip"
    path = write_lean(tmp_path, where, {"q": "0,1,2\nx\n"})
    with pytest.raises(InputError, match="row 2"):
        replay(ReplaySource(path, strict=True))


def test_rows_come_when_their_event_time_has_come(tmp_path: Path) -> None:
    """At ten times the speed, ten seconds pass in one; older rows come with the newer."""
    path = forex(tmp_path, [100, 100, 110, 105, 130])
    found = replay(ReplaySource(path, speed=10))
    assert found.given_at == [(0.0, 2), (1.0, 2), (3.0, 1)]
    assert found.seconds == [100, 100, 110, 105, 130]


def test_pace_holds_over_batches_and_odd_speeds(tmp_path: Path) -> None:
    """Whatever a clock of floats makes of the waiting times."""
    seconds = [0.001 * (i * i) for i in range(300)]
    path = forex(tmp_path, seconds)
    found = replay(ReplaySource(path, speed=3.7, batch_rows=7))
    assert len(found.seconds) == 300
    for (given_at, _), batch in zip(found.given_at, found.batches, strict=True):
        due = (batch.times[-1] - DAY_NS) / SECOND / 3.7
        assert given_at == pytest.approx(due, abs=1e-6)


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    """The event time is, whoever wants it."""
    path = forex(tmp_path, [1])
    found = replay(ReplaySource(path), columns=frozenset({"bid_price"}))
    assert found.batches[0].schema.names == ("ts_event", "bid_price")


def test_schema_tells_the_columns_without_reading(tmp_path: Path) -> None:
    """Before anything runs."""
    source = ReplaySource(forex(tmp_path, [1]))
    assert isinstance(source, SourceNode)
    assert source.schema().names == ("ts_event", "symbol", "bid_price", "ask_price")


def test_no_file_is_an_error_that_names_the_pattern(tmp_path: Path) -> None:
    """For a pattern, a path and an empty list."""
    with pytest.raises(MissingInputError, match=r"nothing/\*\.zip: no file matches"):
        replay(ReplaySource(tmp_path / "nothing" / "*.zip"))
    with pytest.raises(MissingInputError, match=r"nothing\.zip: no such file"):
        ReplaySource(tmp_path / "nothing.zip").schema()
    with pytest.raises(MissingInputError, match="no inputs"):
        replay(ReplaySource([]))


def test_files_of_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    """Before a row is read."""
    quotes = forex(tmp_path, [1])
    where = "equity/usa/tick/ibm/20140505_{}.zip"
    others = write_lean(tmp_path, where.format("quote"), {"q": ""})
    trades = write_lean(tmp_path, where.format("trade"), {"t": ""})
    with pytest.raises(ColumnError, match=r"ibm/20140505_quote\.zip: .* `bid_size` besides"):
        replay(ReplaySource([quotes, others]))
    with pytest.raises(ColumnError, match="rows of kind trade, not quote"):
        replay(ReplaySource([quotes, trades]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"speed": 0}, "`speed` must be `max` or a number above 0, was 0"),
        ({"speed": "fast"}, "speed"),
        ({"speed": float("inf")}, "above 0, was inf"),
        ({"order": "random"}, "order"),
        ({"batch_rows": 0}, "batch_rows"),
        ({"format": "xml"}, "format"),
        ({"out_of_order": "soon"}, "not a duration"),
        ({"start": "yesterday"}, "`start` must be an ISO 8601 moment.* was `yesterday`"),
        ({"start": "2014-05-05", "end": "2014-05-05"}, "`end` must be after `start`"),
        ({"start": "2014-05-05", "timezone": "Mars/Olympus"}, "no time zone `Mars/Olympus`"),
        ({"colums": {}}, "did you mean `columns`"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    """When the source is made, before any file is looked at."""
    with pytest.raises(ConfigError, match=message):
        ReplaySource("a.csv", **settings)


def test_settings_are_plain_data() -> None:
    """Paths and dates become text, so that they can be written down."""
    source = ReplaySource(Path("a") / "b.csv", speed="10")  # type: ignore[arg-type]
    assert settings_of(source) == {"path": "a/b.csv", "speed": 10.0}
    assert settings_of(ReplaySource([Path("a"), "b"])) == {"path": ("a", "b")}


def test_rows_of_other_symbols_are_counted(tmp_path: Path) -> None:
    """Choosing one symbol of a file filters the rest, and the ledger says so."""
    path = tmp_path / "ticks.csv"
    path.write_text(
        "ts_event,symbol,price,size\n"
        "2024-01-02T00:00:00Z,AAPL,1,1\n"
        "2024-01-02T00:00:01Z,IBM,2,1\n"
        "2024-01-02T00:00:02Z,AAPL,3,1\n"
    )
    dag = Dag("one")
    source = dag.source(ReplaySource(path, symbol="IBM"), name="ticks")
    source.select(["ts_event", "price"]).collect(name="rows")
    result = run(dag)
    account = result.ledger["ticks"]
    assert (account.rows_in, account.rows_out, account.reasons) == (3, 1, {"filtered": 2})
    assert result.to_arrow("rows")["price"].to_pylist() == [2.0]

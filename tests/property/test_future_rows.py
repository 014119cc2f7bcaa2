"""A row dated in the future moves no watermark, and no break is mistaken for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.flow import Dag
from market_data_pipeline.records import TRADE, UNDEFINED
from market_data_pipeline.running import run
from market_data_pipeline.source.chunks import ChunkReader
from market_data_pipeline.source.feed import Feed
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.source.replay import ReplaySource
from market_data_pipeline.symbols import SymbolTable

SKEW = 10
BASE = 1_700_000_000 * 10**9
SCHEMA = TRADE.only(["ts_event", "ts_recv", "sequence"])
UNSTAMPED = TRADE.only(["ts_event", "sequence"])

times = st.one_of(
    st.integers(-30, 30), st.integers(90, 130), st.sampled_from([TIME_MIN, TIME_MAX - 3])
)
stamps = st.one_of(st.just(UNDEFINED), *[st.integers(-30, 130)] * 3)


class Chunks(ChunkReader):
    """A file of rows that comes in chunks of given sizes; row numbers have gaps."""

    def __init__(
        self, rows: Sequence[tuple[int, int]], cuts: Sequence[int], *, stamped: bool
    ) -> None:
        options = ReadOptions(batch_rows=3, max_future_skew=SKEW)
        super().__init__("rows", options, SymbolTable())
        self.schema = SCHEMA if stamped else UNSTAMPED
        self._rows, self._cuts, self._next_row, self._chunk_number = rows, cuts, 0, 0
        self._converter: Any = SimpleNamespace(numbers=0)

    def _next_chunk(self) -> Batch | None:
        if self._next_row == len(self._rows):
            return None
        stop = min(
            len(self._rows), self._next_row + self._cuts[self._chunk_number % len(self._cuts)]
        )
        part = self._rows[self._next_row : stop]
        places = np.arange(self._next_row, stop)
        self._converter.numbers = 10 * places
        columns = {
            "ts_event": np.array([time for time, _ in part], np.int64),
            "ts_recv": np.array([stamp for _, stamp in part], np.int64),
            "sequence": places,
        }
        self._next_row, self._chunk_number = stop, self._chunk_number + 1
        names = self.schema.names
        return Batch(self.schema, {name: columns[name] for name in names}, self._symbols)

    def fraction(self) -> float:
        return 0.0

    def close(self) -> None:
        pass


def read_all(reader: Chunks, bound: int = 0) -> tuple[list[int], list[int], list[int]]:
    """Return the rows taken, the rows rejected, and the watermark after each row taken."""
    feed = Feed(reader, bound=bound)
    taken: list[int] = []
    rejected: list[int] = []
    marks: list[int] = []
    while (step := feed.next()) is not None:
        for batch in step.items:
            assert isinstance(batch, Batch)
            assert batch.progress is not None
            taken += batch["sequence"].tolist()
            marks += batch.progress.watermarks(batch.times).tolist()
        if step.rejected is not None:
            assert set(step.rejected["reason"].to_pylist()) == {"future"}
            rejected += [number // 10 for number in step.rejected["row"].tolist()]
    assert reader.rows_read == len(taken) + len(rejected)
    return taken, rejected, marks


def oracle(rows: Sequence[tuple[int, int]], *, stamped: bool) -> list[int]:
    """Places of the rows that lie in the future, by the rule in words."""
    future = []
    for place, (time, stamp) in enumerate(rows):
        pairs = [min(rows[j][0], rows[j + 1][0]) for j in range(place + 1) if j + 1 < len(rows)]
        if stamped and stamp != UNDEFINED:
            known = stamp
        elif pairs:
            known = max(pairs)
        else:
            continue
        if time > known + SKEW:
            future.append(place)
    return future


@given(
    st.lists(st.tuples(times, stamps), max_size=20),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.booleans(),
)
def test_rows_from_the_future_are_those_of_the_oracle(
    rows: list[tuple[int, int]], cuts: list[int], stamped: bool
) -> None:
    """However the file is cut; the others keep their order."""
    taken, rejected, _ = read_all(Chunks(rows, cuts, stamped=stamped))
    future = oracle(rows, stamped=stamped)
    assert sorted(rejected) == future
    assert taken == [place for place in range(len(rows)) if place not in set(future)]


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=20),
    st.data(),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_future_row_cannot_advance_the_watermark(
    steps: list[int], data: st.DataObject, cuts: list[int], stamped: bool
) -> None:
    """Wrong dates thrown in one by one leave rows and watermarks as if they were not there.

    Steps are longer than the skew at times, but for the last: a break is no wrong date.
    """
    ends = [*steps[:-1], min(steps[-1], SKEW)]
    sound = [(int(time), int(time) + 1) for time in np.cumsum(ends)]
    spoilt = []
    for time, stamp in sound:
        if data.draw(st.booleans()):
            ahead = data.draw(st.integers(1_000, TIME_MAX))
            spoilt.append((ahead, stamp if stamped else UNDEFINED))
        spoilt.append((time, stamp))
    taken, rejected, marks = read_all(Chunks(spoilt, cuts, stamped=stamped), bound=5)
    alone, none, expected = read_all(Chunks(sound, cuts, stamped=stamped), bound=5)
    assert none == []
    assert len(alone) == len(sound)
    assert [spoilt[place] for place in taken] == sound
    assert marks == expected
    assert len(taken) + len(rejected) == len(spoilt)


@pytest.mark.parametrize("stamped", [True, False])
def test_a_wrong_date_in_one_file_holds_up_no_other(tmp_path: Path, *, stamped: bool) -> None:
    """Bars of two files are those of the files without the row, which is named and counted."""

    def write(name: str, rows: Sequence[tuple[str, float]]) -> None:
        head = "ts_event,ts_recv,symbol,price,size" if stamped else "ts_event,symbol,price,size"
        lines = [
            f"{time},{f'2024-05-06T10:00:0{at}Z,' if stamped else ''}{name},{price},1"
            for at, (time, price) in enumerate(rows)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n")

    write("A", [(f"2024-05-06T10:00:0{i}Z", 1.5) for i in range(6)])
    good = [(f"2024-05-06T10:00:0{i}Z", 2.5) for i in range(6)]
    write("B", good)

    def bars(skew: str | None) -> tuple[Any, Any]:
        dag = Dag()
        source = ReplaySource(str(tmp_path / "*.csv"), out_of_order="0s", max_future_skew=skew)
        dag.source(source, name="ticks").bars("1s").collect(name="out")
        result = run(dag)
        return result.to_arrow("out"), result.ledger["ticks"].reasons

    expected, _ = bars(None)
    write("B", [*good[:2], ("2124-05-06T10:00:00Z", 9.5), *good[2:]])
    spoilt, _ = bars(None)
    assert spoilt != expected
    found, reasons = bars("1min")
    assert found == expected
    assert reasons == {"rejected": 1}


def test_the_rejected_row_is_named(tmp_path: Path) -> None:
    """The file, the number of the row in it, and what was found."""
    path = tmp_path / "ticks.csv"
    path.write_text(
        "ts_event,symbol,price,size\n"
        "2024-05-06T10:00:00Z,A,1,1\n"
        "2024-05-06T10:00:01Z,A,x,1\n"
        "2124-05-06T10:00:02Z,A,1,1\n"
        "2024-05-06T10:00:03Z,A,1,1\n"
    )
    dag = Dag()
    ticks = dag.source(ReplaySource(str(path), max_future_skew="1h"), name="ticks")
    ticks.collect()
    ticks.rejected.collect(name="bad")
    rows = run(dag).to_arrow("bad").to_pylist()
    assert [(row["row"], row["reason"]) for row in rows] == [(2, "malformed"), (3, "future")]
    assert rows[1]["detail"].startswith("`ts_event` is 2124-05-06T10:00:02")


def test_a_row_without_a_date_changes_no_bar_and_opens_no_gap(tmp_path: Path) -> None:
    """A time of 0 is long ago: the row is late, and those around it are as without it."""
    good = [{"ts_event": BASE + n * 10**8, "sequence": n + 1} for n in range(50)]
    odd = {"ts_event": 0, "sequence": 26}
    found = []
    for name, rows in (("good", good), ("odd", [*good[:25], odd, *good[26:]])):
        path = tmp_path / f"{name}.csv"
        lines = [f"{row['ts_event']},A,1,1,{row['sequence']}" for row in rows]
        path.write_text("\n".join(["ts_event,symbol,price,size,sequence", *lines]))
        dag = Dag()
        numbered = dag.source(ReplaySource(str(path)), name="ticks").sequence(name="numbers")
        numbered.gaps.collect(name="gaps")
        bars = numbered.bars("1s", name="bars")
        bars.collect(name="store")
        bars.late.collect(name="late")
        found.append(run(dag))
    plain, other = found
    assert other.to_arrow("late")["ts_event"].cast("int64").to_pylist() == [0]
    assert other.to_arrow("gaps").num_rows == plain.to_arrow("gaps").num_rows
    counts = [
        table["count"].to_pylist() for table in (plain.to_arrow("store"), other.to_arrow("store"))
    ]
    assert counts == [[10] * 5, [10, 10, 9, 10, 10]]

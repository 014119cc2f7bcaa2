"""Sequence numbers: gaps, fills, restarts, wraps, what is saved, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError, SnapshotError
from market_data_pipeline.operator.sequence import SequenceTracker
from market_data_pipeline.records import REJECTED, TRADE, UNDEFINED, Field, Kind
from support.operator_batches import ROW, batches_of

UNIT = 10**9


class Run:
    """What an operator gave for one batch, as plain lists."""

    def __init__(
        self,
        numbers: list[int],
        *,
        times: list[int] | None = None,
        symbols: list[int] | None = None,
        bound: int = 0,
        **settings: Any,
    ) -> None:
        self.context = NodeContext("s")
        operator = SequenceTracker(**settings).build(self.context)
        columns = {
            "ts_event": times or list(range(len(numbers))),
            "symbol": symbols or [0] * len(numbers),
            "sequence": numbers,
        }
        self.ports: dict[str, Batch] = {}
        for batch in batches_of(columns, bound=bound):
            self.ports.update(dict(operator.process(batch)))

    @property
    def passed(self) -> list[tuple[int, int]]:
        out = self.ports["out"]
        return list(zip(out["sequence"].tolist(), out["missing"].tolist(), strict=True))

    @property
    def told(self) -> list[tuple[str, int, int, int, int]]:
        if "gaps" not in self.ports:
            return []
        gaps = self.ports["gaps"]
        names = ("sequence", "first_missing", "last_missing", "rows")
        columns = [gaps["kind"].to_pylist(), *(gaps[name].tolist() for name in names)]
        return list(zip(*columns, strict=True))


def test_gap_of_one_is_told_and_marked_on_the_row_behind_it() -> None:
    """The row right behind the gap says how many rows are missing before it."""
    run = Run([1, 2, 4, 5])
    assert run.passed == [(1, 0), (2, 0), (4, 1), (5, 0)]
    assert run.told == [("gap", 4, 3, 3, 1)]
    assert run.context.account.reasons == {"gaps": 1}
    assert run.context.account.created == 1


def test_gap_of_a_million_is_one_record_and_one_open_gap() -> None:
    """The size of a gap costs nothing."""
    run = Run([1, 1_000_002, 1_000_003])
    assert run.passed == [(1, 0), (1_000_002, 1_000_000), (1_000_003, 0)]
    assert run.told == [("gap", 1_000_002, 2, 1_000_001, 1_000_000)]


def test_record_tells_times_and_numbers_on_both_sides() -> None:
    """What a backfill asks for: which rows, of whom, and when they were."""
    gaps = Run([7, 9], times=[100, 250], symbols=[1, 1]).ports["gaps"]
    assert gaps.schema.names == (
        *("ts_event", "symbol", "kind", "sequence", "previous"),
        *("first_missing", "last_missing", "rows", "ts_before", "ts_after"),
    )
    row = {name: gaps[name].tolist()[0] for name in gaps.schema.names if name != "kind"}
    assert row == {
        "ts_event": 250,
        "symbol": 1,
        "sequence": 9,
        "previous": 7,
        "first_missing": 8,
        "last_missing": 8,
        "rows": 1,
        "ts_before": 100,
        "ts_after": 250,
    }


def test_row_that_fills_a_gap_takes_the_mark_back() -> None:
    """The sum of `missing` is what is missing still; a second copy is a duplicate."""
    run = Run([1, 5, 3, 3, 2, 4], times=[1, 5, 3, 3, 2, 4])
    assert run.passed == [(1, 0), (5, 3), (3, -1), (2, -1), (4, -1)]
    assert [kind for kind, *_ in run.told] == ["gap", "filled", "filled", "filled"]
    assert run.context.account.reasons == {"gaps": 4, "duplicate": 1}


def test_duplicates_can_be_kept_with_a_record() -> None:
    """They pass with nothing missing before them."""
    run = Run([1, 2, 2, 1], times=[1, 2, 2, 1], duplicates="keep")
    assert run.passed == [(1, 0), (2, 0), (2, 0), (1, 0)]
    assert [record[:2] for record in run.told] == [("duplicate", 2), ("duplicate", 1)]


def test_row_below_the_first_passes_since_nobody_knows_whether_it_was_seen() -> None:
    """Dropping it could lose a row."""
    run = Run([5, 3, 6], times=[5, 3, 6])
    assert run.passed == [(5, 0), (3, 0), (6, 0)]
    assert run.told == [("out_of_sequence", 3, UNDEFINED, UNDEFINED, 0)]


def test_first_number_that_is_known_makes_the_start_a_gap() -> None:
    """A recording that begins amid the sequence lacks the rows before."""
    run = Run([3, 4], first=1)
    assert run.passed == [(3, 2), (4, 0)]
    assert run.told == [("gap", 3, 1, 2, 2)]


def test_restart_at_one_is_no_gap_and_no_duplicate() -> None:
    """The venue began anew; rows of both sequences pass."""
    run = Run([8, 9, 1, 2, 4])
    assert run.passed == [(8, 0), (9, 0), (1, 0), (2, 0), (4, 1)]
    assert [record[:2] for record in run.told] == [("reset", 1), ("gap", 4)]


def test_second_copy_of_the_first_row_is_no_restart() -> None:
    """A copy has the event time of its row; a restart is younger than all rows before."""
    run = Run([1, 2, 3, 1, 4], times=[1, 2, 3, 1, 4])
    assert run.passed == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert run.told == []


def test_snapshot_numbered_one_amid_a_stream_is_no_restart() -> None:
    """The numbers go on where they were, so nothing is missing."""
    run = Run([500, 501, 1, 502, 503])
    assert run.passed == [(500, 0), (501, 0), (1, 0), (502, 0), (503, 0)]
    assert [record[0] for record in run.told] == ["reset", "resumed"]


def test_what_a_restart_that_was_none_lacked_is_taken_back() -> None:
    """Nothing was missing between 1 and 3: they were no sequence."""
    run = Run([500, 1, 3, 501])
    assert run.passed == [(500, 0), (1, 0), (3, 1), (501, -1)]
    assert run.told[-1] == ("resumed", 501, UNDEFINED, UNDEFINED, -1)


def test_sequence_begins_anew_with_each_session() -> None:
    """A first number that is higher than the last of yesterday is no gap, a late row none."""
    hours = {"timezone": "UTC", "open": "08:00", "close": "16:00", "days": "mon-fri"}
    hour = 3_600 * UNIT
    # Thursday 9 h, Thursday 17 h (after the close), Friday 9 h, a row of Thursday, Monday 9 h.
    times = [hour * h for h in (9, 17, 33, 10, 105)]
    run = Run([5, 7, 3, 6, 90], times=times, calendar=hours, ttl="2d")
    assert run.passed == [(5, 0), (7, 1), (3, 0), (6, -1), (90, 0)]
    assert [kind for kind, *_ in run.told] == ["gap", "reset", "filled", "reset"]
    known = Run([5, 3], times=times[1:3], calendar=hours, first=1)
    assert known.passed == [(5, 4), (3, 2)]
    times = [hour * h for h in (33, 9)]
    assert Run([3, 4], times=times, calendar=hours).told[0][:2] == ("out_of_sequence", 4)


def test_numbers_that_happen_to_go_on_from_yesterday_are_a_gap_of_today() -> None:
    """A session that began is certain, whatever number comes."""
    hours = {"timezone": "UTC", "open": "08:00", "close": "16:00", "days": "mon-fri"}
    times = [3_600 * UNIT * h for h in (9, 33, 34)]
    run = Run([7, 2, 8], times=times, calendar=hours)
    assert run.passed == [(7, 0), (2, 0), (8, 5)]


def test_rows_older_than_a_restart_fill_gaps_of_the_sequence_before() -> None:
    """They do not disturb the numbers that count now."""
    run = Run([7, 9, 1, 8, 2], times=[70, 90, 100, 80, 110])
    assert run.passed == [(7, 0), (9, 1), (1, 0), (8, -1), (2, 0)]


def test_any_lower_number_can_be_a_restart_by_choice() -> None:
    """With `lower`, a sequence can begin at any number."""
    assert Run([50, 51, 20, 21], reset="lower").told[0][:2] == ("reset", 20)
    assert Run([50, 51, 20, 21], reset="never").told[0][:2] == ("out_of_sequence", 20)


def test_numbers_go_on_past_a_wrap() -> None:
    """After the last number comes 0; a gap can lie across it."""
    run = Run([2**32 - 2, 2**32 - 1, 0, 1], wrap="2**32")
    assert [missing for _, missing in run.passed] == [0, 0, 0, 0]
    assert run.told == [("wrap", 0, UNDEFINED, UNDEFINED, 0)]
    run = Run([14, 2, 15, 1], wrap=16, times=[1, 4, 2, 3])
    assert [missing for _, missing in run.passed] == [0, 3, -1, -1]
    assert run.told[0] == ("wrap", 2, 15, 1, 3)


def test_gap_is_forgotten_when_the_watermark_reaches_its_time() -> None:
    """Afterwards nobody knows whether its rows were seen: they pass, the mark stays."""
    times = [0, 10, 19, 5, 20, 5]
    run = Run([1, 5, 6, 3, 7, 2], times=times, ttl="10ns")
    assert run.passed == [(1, 0), (5, 3), (6, 0), (3, -1), (7, 0), (2, 0)]
    assert run.told[-1][:2] == ("out_of_sequence", 2)


def test_the_oldest_gap_is_forgotten_when_there_are_too_many() -> None:
    """Memory of one key is bounded whatever it does."""
    run = Run([1, 3, 5, 7, 2, 4, 6], most_gaps=2, times=[1, 3, 5, 7, 2, 4, 6])
    assert run.passed[4:] == [(2, 0), (4, -1), (6, -1)]


def test_a_gap_that_falls_in_two_counts_as_two() -> None:
    """A fill in the middle of the only gap allowed gives up its older half."""
    run = Run([1, 9, 5, 3, 7], most_gaps=1, times=[1, 9, 5, 3, 7])
    assert run.passed[2:] == [(5, -1), (3, 0), (7, -1)]


def test_key_without_rows_for_long_begins_anew() -> None:
    """Its numbers are not compared with those of long ago."""
    times, numbers = [0, 100, 101], [5, 1, 9]
    assert Run(numbers, times=times, symbols=[0, 1, 0], forget="100ns").told == []
    assert len(Run(numbers, times=times, symbols=[0, 1, 0], forget="101ns").told) == 1


def test_row_without_a_number_passes() -> None:
    """It neither is missing nor tells of others."""
    assert Run([1, UNDEFINED, 2]).passed == [(1, 0), (UNDEFINED, 0), (2, 0)]
    assert Run([1, 99, 2], wrap=50).passed == [(1, 0), (99, 0), (2, 0)]
    assert Run([-(2**63), 1, 2]).passed == [(-(2**63), 0), (1, 0), (2, 0)]


def test_gap_of_one_symbol_does_not_touch_others() -> None:
    """Each symbol counts by itself, unless the numbers run over the whole feed."""
    symbols = [0, 1, 0, 1]
    assert Run([1, 1, 3, 2], symbols=symbols).passed == [(1, 0), (1, 0), (3, 1), (2, 0)]
    assert Run([1, 2, 3, 4], symbols=symbols, by=[]).told == []


def test_open_gaps_of_many_keys_take_no_more_room_than_allowed() -> None:
    """A feed of which every second row is lost leaves memory flat."""
    operator: Any = SequenceTracker(by=["symbol"], most_gaps=50).build(NodeContext("s"))
    for start in range(0, 200_000, 10_000):
        numbers = np.arange(start, start + 10_000)
        columns: Any = {"ts_event": numbers, "symbol": numbers % 3, "sequence": 2 * numbers}
        for batch in batches_of(columns):
            operator.process(batch)
    assert len(operator._nodes) <= 256


def test_keys_that_are_gone_take_no_room() -> None:
    """A million keys of which a thousand are alive take the room of some thousands."""
    operator: Any = SequenceTracker(by=["price"], forget="1000ns").build(NodeContext("s"))
    for start in range(0, 1_000_000, 10_000):
        numbers = np.arange(start, start + 10_000)
        columns: Any = {"ts_event": numbers, "price": numbers // 2, "sequence": 3 * numbers}
        for batch in batches_of(columns):
            operator.process(batch)
    assert len(operator._states.table) <= 65_536
    assert len(operator._nodes) <= 65_536


def test_state_of_other_columns_is_refused() -> None:
    """Numbers of another column would be taken for these."""
    operator = SequenceTracker().build(NodeContext("s"))
    with pytest.raises(SnapshotError, match="`price`"):
        operator.restore(Snapshot(scalars={"key.price": 0}))
    assert operator.snapshot().keyed["words"].shape == (0, 24)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"wrap": "many"}, "a power such as"),
        ({"wrap": 3}, "must be 4 to 2"),
        ({"wrap": 0.0}, "must be 4 to 2"),
        ({"ttl": "0s"}, "must be positive"),
        ({"duplicates": "mark"}, "drop"),
        ({"reset": "daily"}, "reset"),
        ({"calendar": {"open": "08:00"}}, "calendar"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    """Each says what it should be."""
    with pytest.raises(ConfigError, match=text):
        SequenceTracker(**settings)


def test_columns_are_checked_before_anything_runs() -> None:
    """The number must be there and an integer, the rows must have a time."""
    with pytest.raises(SchemaError, match="did you mean `sequence`"):
        SequenceTracker(column="sequense").output_schemas(TRADE)
    with pytest.raises(SchemaError, match="as an integer"):
        SequenceTracker(column="price").output_schemas(TRADE)
    with pytest.raises(SchemaError, match="event time"):
        SequenceTracker(by=[], column="row").output_schemas(REJECTED)
    with pytest.raises(SchemaError, match="rename it"):
        SequenceTracker(by=["kind"]).output_schemas(ROW.having(Field("kind", Kind.INT)))


def test_wanted_columns_are_those_behind_the_numbers_and_the_key() -> None:
    """`missing` is made here and asked of nobody."""
    tracker = SequenceTracker(by=["symbol", "side"])
    wanted = tracker.required_columns(frozenset({"price", "missing"}))
    assert wanted == frozenset({"price", "sequence", "symbol", "side"})
    assert tracker.required_columns(None) is None

"""Clock skew: what rows are told, what is corrected, saved and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError, SnapshotError
from market_data_pipeline.operator.clock_skew import ClockSkew
from market_data_pipeline.records import TRADE, UNDEFINED
from market_data_pipeline.testing import check_operator
from support.operator_batches import batches_of

SCHEMA = TRADE.only(("ts_event", "ts_recv", "symbol", "price", "size", "side"))
MS = 1_000_000


def run(events: list[int], received: list[int], **settings: Any) -> dict[str, Batch]:
    columns = {"ts_event": events, "ts_recv": received}
    (batch,) = batches_of(columns, schema=SCHEMA)
    return dict(ClockSkew(**settings).build(NodeContext("c")).process(batch))


def spans_of(differences: list[int], *, span: int = 100) -> tuple[list[int], list[int]]:
    """Return event times and times of reception, one row for each span."""
    received = [span * (i + 1) for i in range(len(differences))]
    return [r - d for r, d in zip(received, differences, strict=True)], received


def test_clock_that_is_behind_is_told_from_the_least_difference() -> None:
    """The offset is negative; it holds for the rows of the next span."""
    events, received = spans_of([-30, -50, -40, -50])
    out = run(events, received, span="100ns")["out"]
    assert out["clock_offset"].tolist() == [-30, -30, -50, -50]
    assert out["ts_recv"].tolist() == received


def test_positive_difference_is_no_offset_unless_the_way_is_known() -> None:
    """It may be the time that rows take."""
    events, received = spans_of([30, 30, 30])
    assert run(events, received, span="100ns")["out"]["clock_offset"].tolist() == [0, 0, 0]
    known = run(events, received, span="100ns", way="20ns", correct=True)["out"]
    assert known["clock_offset"].tolist() == [10, 10, 10]
    assert known["ts_recv"].tolist() == [90, 190, 290]


def test_first_span_uses_the_least_so_far() -> None:
    """There is no estimate yet, and no row is called skewed by it."""
    out = run([10, 30, 50], [9, 19, 45], span="1us", bound="1ns")["out"]
    assert out["clock_offset"].tolist() == [-1, -11, -11]
    assert out["is_skewed"].tolist() == [False, False, False]


def test_row_off_by_more_than_the_bound_is_marked() -> None:
    """To the nanosecond: `bound` is allowed, one more is not."""
    events, received = spans_of([-30, -30, -40, -41])
    events[2:], received[2:] = [340, 351], [300, 310]
    out = run(events, received, span="100ns", bound="10ns")["out"]
    assert out["is_skewed"].tolist() == [False, False, False, True]


def test_one_wrong_time_does_not_move_the_estimate() -> None:
    """Its span is left out."""
    differences = [-30, -31, -30, -29, -9_000, -30, -31, -30]
    out = run(*spans_of(differences), span="100ns", bound="5ns")["out"]
    assert out["clock_offset"].tolist()[3:] == [-31] * 5
    assert out["is_skewed"].tolist() == [d == -9_000 for d in differences]


def test_clock_that_was_set_is_followed_after_half_of_the_spans() -> None:
    """Forward and back alike."""
    for step in (-5_000, 5_000):
        differences = [-10_000] * 8 + [-10_000 + step] * 8
        out = run(*spans_of(differences), span="100ns", spans=6, bound="5ns")["out"]
        offsets = out["clock_offset"].tolist()
        assert offsets[8] == -10_000
        assert offsets[-1] == -10_000 + step


def test_records_tell_each_new_estimate() -> None:
    """When, the envelope, the offset, the drift, from how much."""
    events, received = spans_of([40, 40, 30, 30, 30])
    skew = run(events, received, span="100ns", by=["symbol"])["skew"]
    assert skew.schema.names == (
        *("ts_event", "symbol", "ts_recv", "difference", "clock_offset"),
        *("drift_ppb", "spans", "rows", "future_rows"),
    )
    assert skew["ts_recv"].tolist() == [200, 400]
    assert skew["difference"].tolist() == [40, 30]
    assert skew["clock_offset"].tolist() == [0, 0]
    assert skew["spans"].tolist() == [1, 3]


def test_keys_have_a_clock_each() -> None:
    """A venue whose clock is right is not corrected by another's."""
    columns: dict[str, Any] = {
        "ts_event": [0, 0, 100, 100],
        "ts_recv": [5, -50, 105, 50],
        "symbol": [0, 1, 0, 1],
    }
    (batch,) = batches_of(columns, schema=SCHEMA)
    operator = ClockSkew(by=["symbol"], span="50ns").build(NodeContext("c"))
    ((_, out), _) = operator.process(batch)
    assert out["clock_offset"].tolist() == [0, -50, 0, -50]


def test_row_without_a_time_is_not_measured_and_not_changed() -> None:
    """`UNDEFINED` stays what it is."""
    out = run([100, 110, 120], [95, UNDEFINED, 110], span="1us", correct=True)["out"]
    assert out["ts_recv"].tolist() == [100, UNDEFINED, 120]
    assert out["clock_offset"].tolist() == [-5, -5, -10]


def test_drift_is_followed_within_a_span() -> None:
    """The line tells the middle of the span that comes."""
    events, received = spans_of([-1_000 - 10 * i for i in range(20)])
    out = run(events, received, span="100ns")["out"]
    assert abs(out["clock_offset"].tolist()[-1] - (-1_190)) <= 10
    assert run(events, received, span="100ns")["skew"]["drift_ppb"].tolist()[-1] == -(10**8)


@pytest.mark.parametrize("by", [[], ["symbol"], ["side"], ["side", "price", "symbol"]])
def test_clock_skew_does_not_depend_on_how_rows_are_cut(by: list[str]) -> None:
    """Any cut and any restart gives the same rows, records and watermarks."""
    rng = np.random.default_rng(5)
    events = np.arange(150) * 2 + rng.integers(-20, 20, 150)
    columns: dict[str, Any] = {
        "ts_event": events,
        "ts_recv": events + rng.integers(-40, 60, 150),
        "symbol": rng.integers(0, 3, 150),
        "side": rng.integers(65, 67, 150),
        "price": rng.integers(1, 3, 150),
    }
    batches = batches_of(columns, cuts=[10, 50, 51, 90], bound=15, schema=SCHEMA)
    check_operator(
        lambda: ClockSkew(by=by, span="30ns", spans=5, bound="8ns", forget="60ns"), batches
    )


def test_keys_that_are_gone_take_no_room() -> None:
    """A million keys of which a thousand are alive take the room of some thousands."""
    operator = ClockSkew(by=["price"], forget="1000ns", spans=3).build(NodeContext("c"))
    for start in range(0, 300_000, 10_000):
        times = np.arange(start, start + 10_000)
        columns: Any = {"ts_event": times, "ts_recv": times, "price": times // 2}
        for batch in batches_of(columns, schema=SCHEMA):
            operator.process(batch)
    assert len(operator._states.table) <= 65_536


def test_what_cannot_be_measured_is_refused() -> None:
    """Rows need both times, and a state must be of the same spans."""
    with pytest.raises(SchemaError, match="ts_recv"):
        ClockSkew().output_schemas(TRADE.only(("ts_event", "symbol")))
    with pytest.raises(SchemaError, match="in `by`"):
        ClockSkew(by=["rows"]).output_schemas(SCHEMA.having(mdp.Field("rows", mdp.Kind.INT)))
    with pytest.raises(ConfigError, match="spans"):
        ClockSkew(spans=2)
    with pytest.raises(ConfigError, match="positive"):
        ClockSkew(span="0s")
    with pytest.raises(SnapshotError, match="spans"):
        ClockSkew().build(NodeContext("c")).restore(Snapshot(scalars={"spans": 3}))
    assert ClockSkew(by=["symbol"]).required_columns(frozenset({"is_skewed"})) == frozenset(
        {"symbol", "ts_recv"}
    )


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_binance_captures_are_corrected(data_dir: Path, market: str) -> None:
    """Rows that all came from the future came after they happened, but for 1 in 300."""
    dag = mdp.Dag()
    path = data_dir / "binance" / f"{market}_btcusdt_20240808.gz"
    rows = dag.source(mdp.ReplaySource(str(path))).clock_skew(correct=True)
    rows.collect(name="rows")
    rows.skew.collect(name="skew")
    result = mdp.run(dag)
    table, skew = result.to_arrow("rows"), result.to_arrow("skew").to_pylist()
    event, recv = (table[name].cast("int64").to_numpy() for name in ("ts_event", "ts_recv"))
    latency = recv - event
    assert (latency < 0).mean() < 1 / 300
    assert latency.min() > -MS
    assert np.median(latency) < 5 * MS
    assert not any(table["is_skewed"].to_pylist())
    assert len(skew) > 30
    assert all(-1_276 * MS < record["difference"] < -1_269 * MS for record in skew)
    assert -8_000 < skew[-1]["drift_ppb"] < -3_000
    assert result.ledger["clock_skew"].reasons == {"skew": len(skew)}

"""The session of each row, and what becomes of rows in none."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.sessions import TradingSessions
from market_data_pipeline.records import REJECTED
from support.operator_batches import batches_of
from support.session_facts import ns

NEW_YORK = "America/New_York"
WEDNESDAY, FRIDAY = date(2023, 11, 22), date(2023, 11, 24)
TIMES = {
    "2023-11-22 09:29": None,
    "2023-11-22 09:30": WEDNESDAY,
    "2023-11-22 15:59": WEDNESDAY,
    "2023-11-22 16:00": None,
    "2023-11-23 12:00": None,  # Thanksgiving
    "2023-11-24 12:59": FRIDAY,
    "2023-11-24 13:00": None,
}


def _batch() -> Batch:
    times = [ns(text, NEW_YORK) for text in TIMES]
    return batches_of({"ts_event": times, "sequence": range(len(times))})[0]


def _outputs(settings: TradingSessions) -> tuple[dict[str, Batch], dict[str, int]]:
    context = NodeContext("s")
    return dict(settings.build(context).process(_batch())), context.account.reasons


def test_rows_outside_are_kept_with_no_session() -> None:
    """The default: nothing is lost, and the column tells."""
    outputs, reasons = _outputs(TradingSessions("XNYS"))
    assert outputs["out"]["session"].to_pylist() == list(TIMES.values())
    assert (list(outputs), reasons) == (["out"], {})


def test_rows_outside_that_are_dropped_are_counted_and_can_be_had() -> None:
    """They go to the output `outside` as they came."""
    outputs, reasons = _outputs(TradingSessions("XNYS", outside="drop"))
    assert outputs["out"]["session"].to_pylist() == [WEDNESDAY, WEDNESDAY, FRIDAY]
    assert outputs["out"]["sequence"].tolist() == [1, 2, 5]
    assert outputs["outside"]["sequence"].tolist() == [0, 3, 4, 6]
    assert "session" not in outputs["outside"].schema
    assert reasons == {"outside": 4}


@pytest.mark.parametrize("outside", ["keep", "drop"])
def test_batch_all_outside_or_all_inside(outside: Any) -> None:
    """The ways that need not look at each row."""
    operator = TradingSessions("XNYS", outside=outside).build(NodeContext("s"))
    ((port, closed),) = operator.process(_batch().slice(3, 5))
    assert port == ("out" if outside == "keep" else "outside")
    assert len(closed) == 2
    if outside == "keep":
        assert closed["session"].to_pylist() == [None, None]
    ((port, opened),) = operator.process(_batch().slice(1, 3))
    assert (port, opened["session"].to_pylist()) == ("out", [WEDNESDAY, WEDNESDAY])
    assert operator.process(_batch().slice(1, 1)) == ()


def test_lunch_break_is_outside() -> None:
    """Between the two intervals of one session."""
    times = [ns(f"2024-02-08 {clock}", "Asia/Hong_Kong") for clock in ("11:59", "12:30", "13:00")]
    operator = TradingSessions("XHKG").build(NodeContext("s"))
    ((_, out),) = operator.process(batches_of({"ts_event": times})[0])
    day = date(2024, 2, 8)
    assert out["session"].to_pylist() == [day, None, day]


def test_evening_belongs_to_the_session_of_the_next_day() -> None:
    """Sunday evening is Monday's session of CMES."""
    times = [ns("2024-03-17 17:00", "America/Chicago"), ns("2024-03-16 17:00", "America/Chicago")]
    operator = TradingSessions("CMES").build(NodeContext("s"))
    ((_, out),) = operator.process(batches_of({"ts_event": times})[0])
    assert out["session"].to_pylist() == [date(2024, 3, 18), None]


def test_settings_are_checked_before_the_run() -> None:
    """The calendar, and that rows have times."""
    with pytest.raises(ConfigError, match="`XNYX`; did you mean `XN"):
        TradingSessions("XNYX")
    with pytest.raises(ConfigError, match="field required"):
        TradingSessions({"open": "09:00", "close": "10:00"})
    with pytest.raises(SchemaError, match="needs an event time"):
        TradingSessions("XNYS").output_schemas(REJECTED)


def test_a_graph_routes_rows_outside() -> None:
    """From Python: `stream.sessions(...)` and its output `outside`."""
    dag = mdp.Dag()
    made = dag.source(mdp.MemorySource([_batch()])).sessions("XNYS", outside="drop")
    made.collect(name="in")
    made.outside.collect(name="out")
    result = mdp.run(dag)
    assert result.to_arrow("in")["session"].to_pylist() == [WEDNESDAY, WEDNESDAY, FRIDAY]
    assert result.to_arrow("out").num_rows == 4

"""Columns kept and columns computed."""

from __future__ import annotations

from typing import Any

import pytest

from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.assign import Assign
from market_data_pipeline.operator.select import Select
from market_data_pipeline.operator.union import Union
from market_data_pipeline.records import REJECTED, Kind
from support.operator_batches import ROW, batches_of

BATCH = batches_of(
    {"ts_event": [10, 20], "symbol": [0, 1], "price": [10**9, 2 * 10**9], "size": [3 * 10**9] * 2}
)[0]


def test_columns_come_in_the_order_they_are_named() -> None:
    """A CSV file has the columns where its reader wants them."""
    select = Select(["price", "ts_event"])
    ((_, out),) = select.build(NodeContext("s")).process(BATCH)
    assert tuple(out.columns) == out.schema.names == ("price", "ts_event")
    assert select.output_schemas(ROW)["out"] == out.schema
    assert out["price"] is BATCH["price"]


def test_select_reads_only_what_is_kept_and_wanted() -> None:
    """Sources need not read the rest."""
    select = Select(["ts_event", "price"])
    assert select.required_columns(None) == frozenset({"ts_event", "price"})
    assert select.required_columns(frozenset({"price", "size"})) == frozenset({"price"})


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ([], ConfigError, "at least one"),
        (["price", "price"], ConfigError, "twice"),
        (["ts_event", "prise"], SchemaError, "did you mean `price`"),
        (["price"], SchemaError, "`ts_event`, the event time"),
    ],
)
def test_selection_that_cannot_be_is_refused(
    columns: list[str], error: type[Exception], message: str
) -> None:
    """The event time must stay."""
    with pytest.raises(error, match=message):
        Select(columns).output_schemas(ROW)


def test_rows_without_event_time_may_be_selected_freely() -> None:
    """Rejected rows have none."""
    schema = Select(["reason"]).output_schemas(REJECTED)["out"]
    assert schema is not None
    assert schema.names == ("reason",)


def test_assigned_columns_see_the_columns_as_they_came() -> None:
    """Not those assigned beside them."""
    assign = Assign({"price": "price * 2", "notional": "price * size", "kind": "'trade'"})
    ((_, out),) = assign.build(NodeContext("a")).process(BATCH)
    assert out["price"].tolist() == [2 * 10**9, 4 * 10**9]
    assert out["notional"].tolist() == [3 * 10**9, 6 * 10**9]
    assert out["kind"].to_pylist() == ["trade"] * 2
    assert assign.output_schemas(ROW)["out"] == out.schema
    assert out.schema["notional"].kind is Kind.FIXED


def test_assigned_event_time_leaves_the_watermarks_as_they_were() -> None:
    """Rows are dated anew, not made late."""
    ((_, out),) = Assign({"ts_event": "ts_event + 100"}).build(NodeContext("a")).process(BATCH)
    assert out.times.tolist() == [110, 120]
    assert out.progress is not None
    assert out.progress.watermarks(out.times).tolist() == [10, 20]


def test_assign_reads_what_its_wanted_expressions_read() -> None:
    """An expression nobody wants costs nothing."""
    assign = Assign({"notional": "price * size", "twice": "sequence * 2"})
    assert assign.required_columns(frozenset({"notional", "side"})) == frozenset(
        {"price", "size", "side"}
    )
    assert assign.required_columns(None) is None
    narrow = BATCH.select(["ts_event", "price", "size"])
    ((_, out),) = assign.build(NodeContext("a")).process(narrow)
    assert out.schema.names == ("ts_event", "price", "size", "notional")


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({}, ConfigError, "at least one"),
        ({"a": "price +"}, ConfigError, "columns.a"),
        ({"a": "prise + 1"}, SchemaError, "did you mean `price`"),
        ({"ts_event": "price"}, SchemaError, "the event time, what is no time"),
    ],
)
def test_assignment_that_cannot_be_is_refused(
    columns: dict[str, str], error: type[Exception], message: str
) -> None:
    """Before anything runs."""
    with pytest.raises(error, match=message):
        Assign(columns).output_schemas(ROW)


def test_union_gives_what_it_is_given() -> None:
    """The runtime merges; the operator has only a name."""
    union: Any = Union()
    assert union.build(NodeContext("u")).process(BATCH) == (("out", BATCH),)
    assert union.output_schemas(ROW) == {"out": ROW}
    assert union.required_columns(frozenset({"price"})) == frozenset({"price"})

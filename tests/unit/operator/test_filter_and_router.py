"""Conditions that let rows pass, or send them to one of several outputs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, RecordError, SchemaError
from market_data_pipeline.operator.filter import Filter
from market_data_pipeline.operator.router import Router
from support.operator_batches import ROW, batches_of

COLUMNS: dict[str, Any] = {
    "ts_event": [10, 20, 15, 30],
    "symbol": [0, 1, 2, 0],
    "size": [10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9],
    "sequence": [1, 2, 3, 4],
}


def _batch() -> Batch:
    return batches_of(COLUMNS, bound=5)[0]


def _routed(router: Router, context: NodeContext | None = None) -> dict[str, list[int]]:
    outputs = router.build(context or NodeContext("r")).process(_batch())
    return {port: batch["sequence"].tolist() for port, batch in outputs}


@pytest.mark.parametrize(
    ("where", "on"),
    [
        ("size > 2", "rows"),
        (lambda row: row.size > 2, "rows"),
        (lambda batch: batch["size"] > 2 * 10**9, "batches"),
    ],
)
def test_rows_that_pass_keep_their_watermarks(where: Any, on: Any) -> None:
    """However the condition is written."""
    operator: Any = Filter(where, on=on).build(context := NodeContext("f"))
    ((port, out),) = operator.process(_batch())
    assert (port, out["sequence"].tolist()) == ("out", [3, 4])
    assert out.progress.watermarks(out.times).tolist() == [15, 25]
    assert context.account.reasons == {"filtered": 2}


@pytest.mark.parametrize("polars_expression", [True, False])
def test_condition_on_frames_is_a_series_or_an_expression(*, polars_expression: bool) -> None:
    """Both are natural to Polars."""
    pl = pytest.importorskip("polars")
    condition = pl.col("size") > 2

    def where(frame: Any) -> Any:
        return condition if polars_expression else frame["size"] > 2

    operator: Any = Filter(where, on="frames").build(NodeContext("f"))
    ((_, out),) = operator.process(_batch())
    assert out["sequence"].tolist() == [3, 4]


def test_batch_whose_rows_all_pass_is_passed_on_as_it_is() -> None:
    """Nothing is copied where nothing is dropped."""
    batch = _batch()
    operator: Any = Filter("size > 0").build(NodeContext("f"))
    assert operator.process(batch) == (("out", batch),)


def test_coroutine_function_filters_in_order() -> None:
    """Slow answers do not reorder rows."""

    async def is_odd(row: Any) -> bool:
        await asyncio.sleep(0)
        return bool(row.sequence % 2)

    operator: Any = Filter(is_odd, concurrency=2).build(context := NodeContext("f"))
    ((_, out),) = asyncio.run(operator.process(_batch()))
    assert out["sequence"].tolist() == [1, 3]
    assert context.account.reasons == {"filtered": 2}


@pytest.mark.parametrize("answer", [None, 1, "yes"])
def test_function_must_answer_true_or_false(answer: Any) -> None:
    """What is only truthy is more often a slip than a wish."""
    operator: Any = Filter(lambda row: answer).build(NodeContext("f"))
    with pytest.raises(RecordError, match="must return True or False") as caught:
        operator.process(_batch())
    assert caught.value.place == "`f`, row 1 (ts_event 10)"


@pytest.mark.parametrize("answer", [True, [True], [1, 0, 1, 0]])
def test_function_on_batches_must_answer_for_each_row(answer: Any) -> None:
    """One truth value a row."""
    operator: Any = Filter(lambda batch: answer, on="batches").build(NodeContext("f"))
    with pytest.raises(RecordError, match="4 truth values"):
        operator.process(_batch())


def test_error_of_the_function_names_the_row() -> None:
    """Its own error, with a note."""
    operator: Any = Filter(lambda row: 1 / (row.sequence - 3) > 0).build(NodeContext("f"))
    with pytest.raises(ZeroDivisionError) as caught:
        operator.process(_batch())
    assert caught.value.__notes__ == ["raised for `f`, row 3 (ts_event 15)"]


def test_expression_is_checked_when_the_filter_is_made() -> None:
    """And against the columns before anything runs."""
    with pytest.raises(ConfigError, match="`where`"):
        Filter("size >")
    with pytest.raises(SchemaError, match="`sise`; did you mean `size`"):
        Filter("sise > 1").output_schemas(ROW)
    with pytest.raises(ConfigError, match="needs no `on: batches`"):
        Filter("size > 1", on="batches")


def test_filter_reads_what_is_wanted_and_what_it_compares() -> None:
    """A function may look at anything."""
    wanted = frozenset({"price"})
    assert Filter("size > 1").required_columns(wanted) == frozenset({"price", "size"})
    assert Filter(lambda row: True).required_columns(wanted) is None


def test_first_route_that_fits_takes_the_row() -> None:
    """Routes are tried in order; the rest goes to the default."""
    router = Router({"big": "size >= 3", "a": lambda row: row.symbol == "AAA"}, default="rest")
    assert router.outputs == ("big", "a", "rest")
    assert _routed(router) == {"big": [3, 4], "a": [1], "rest": [2]}


def test_rows_without_route_are_counted_as_filtered() -> None:
    """Nothing ends unseen."""
    context = NodeContext("r")
    assert _routed(Router({"big": "size >= 3"}), context) == {"big": [3, 4]}
    assert context.account.reasons == {"filtered": 2}


def test_routes_by_value_list_the_values() -> None:
    """A single value need not be a list."""
    router = Router({"one": ["AAA"], "two": "BBB"}, by="symbol", default="rest")
    assert _routed(router) == {"one": [1, 4], "two": [2], "rest": [3]}
    assert _routed(Router({"few": [1, 2]}, by="sequence")) == {"few": [1, 2]}


def test_route_by_function_on_batches_gives_a_mask() -> None:
    """As in a filter."""
    router = Router({"late": lambda batch: batch["sequence"] > 2}, on="batches", default="rest")
    assert _routed(router) == {"late": [3, 4], "rest": [1, 2]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"routes": {}}, "at least one output"),
        ({"routes": {"a": "size > 0"}, "default": "a"}, "a name of its own"),
        ({"routes": {"a b": "size > 0"}}, "must be a word"),
        ({"routes": {"a": ["AAA"]}}, "say of which column"),
        ({"routes": {"a": []}, "by": "symbol"}, "at least one value"),
        ({"routes": {"a": lambda row: True}, "by": "symbol"}, "was a function"),
        ({"routes": {"a": "size >"}}, "`routes.a`"),
    ],
)
def test_routes_that_cannot_be_understood_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match=message):
        Router(**settings)


def test_router_needs_the_columns_of_its_conditions() -> None:
    """Also the one it routes by."""
    with pytest.raises(SchemaError, match="`venue`"):
        Router({"a": ["XNAS"]}, by="venue").output_schemas(ROW)
    assert Router({"a": "size > 1"}).required_columns(frozenset({"price"})) == frozenset(
        {"price", "size"}
    )
    assert Router({"a": ["AAA"]}, by="symbol").required_columns(frozenset()) == frozenset(
        {"symbol"}
    )
    assert Router({"a": lambda row: True}).required_columns(frozenset()) is None

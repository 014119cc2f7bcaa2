"""Windows: settings, revisions, functions of one's own, what is refused, what is held."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import (
    ArithmeticOverflowError,
    ConfigError,
    SchemaError,
    SnapshotError,
)
from market_data_pipeline.operator.windows import Windows
from market_data_pipeline.records import REJECTED, TRADE, UNDEFINED
from support.operator_batches import ROW, batches_of

COUNT = {"n": "count()"}


def _built(aggregates: dict[str, Any], batch: Batch, **settings: Any) -> Any:
    component = Windows(aggregates, **settings)
    return component.build(NodeContext("windows", symbols=batch.symbols))


def _listed(outputs: Outputs, *names: str) -> list[tuple[Any, ...]]:
    return [
        row
        for port, batch in outputs
        if port == "out"
        for row in zip(*(batch[name].tolist() for name in names), strict=True)
    ]


def _all(aggregates: dict[str, Any], columns: dict[str, Any], **settings: Any) -> Outputs:
    (batch,) = batches_of(columns)
    operator = _built(aggregates, batch, **settings)
    return [*operator.process(batch), *operator.finish()]


@pytest.mark.parametrize(
    ("settings", "parameter", "text"),
    [
        ({}, "size", "none of them"),
        ({"size": "1s", "gap": "1s"}, "gap", "`size` and `gap`"),
        ({"size": "0s"}, "size", "longer than zero"),
        ({"size": "1s", "every": "2s"}, "every", "fall between"),
        ({"gap": "1s", "every": "1s"}, "every", "does not go with `gap`"),
        ({"gap": "1s", "calendar": {"sessions": []}}, "calendar", "does not go with `gap`"),
        ({"rows": 3, "lateness": "1s"}, "lateness", "does not go with `rows`"),
        ({"rows": 3, "revisions": "final"}, "revisions", "does not go with `rows`"),
        ({"size": "1s", "ttl": "1s"}, "ttl", "does not go with `size`"),
        ({"gap": "1s", "sliding": True}, "sliding", "does not go with sliding"),
        ({"size": "1s", "sliding": True, "every": "1s"}, "every", "with sliding windows"),
        ({"size": "1s", "sliding": True, "lateness": "1s"}, "lateness", "with sliding"),
        ({"size": "1s", "origin": "noon"}, "origin", "is no time"),
        ({"size": "1s", "key": ["symbol", "symbol"]}, "key", "twice"),
        ({"size": "1s", "results": {"m": "int"}}, "results", "no aggregate"),
    ],
)
def test_settings_that_are_no_windows_are_refused(
    settings: dict[str, Any], parameter: str, text: str
) -> None:
    """The message names the setting and what it does not go with."""
    with pytest.raises(ConfigError, match=text) as caught:
        Windows(COUNT, **settings)
    assert caught.value.parameter == parameter


def test_origin_and_calendar_exclude_each_other() -> None:
    """Both say where windows start."""
    calendar = {"sessions": [{"open": "2024-01-02T10:00Z", "close": "2024-01-02T11:00Z"}]}
    with pytest.raises(ConfigError, match="both say where"):
        Windows(COUNT, size="1s", origin="2024-01-02", calendar=calendar)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("highest(price)", "did you mean|there is no aggregate"),
        ("maxx(price)", "did you mean `max`"),
        ("max(price", "write `first`"),
        ("max()", "write `first`"),
        ("max(price, size)", "write `first`"),
        ("max(price + 1)", "write `first`"),
        ("vwap(price)", "write `first`"),
        ("quantile(price)", "write `first`"),
        ("quantile(price, 1.5)", "from 0 to 1"),
        ("quantile(price, 0.12345678901)", "decimal places"),
        ("quantile(price, half)", "from 0 to 1"),
        ("price.max()", "write `first`"),
        (3, "a text, a function"),
        (lambda *prices: 1, "name columns"),
    ],
)
def test_aggregate_that_is_none_is_refused_with_what_can_be_written(
    written: Any, text: str
) -> None:
    """Before anything runs, and with the way out."""
    with pytest.raises(ConfigError, match=text) as caught:
        Windows({"high": written}, size="1s")
    assert caught.value.parameter == "aggregates"


@pytest.mark.parametrize("name", ["symbol", "ts_open", "is_final"])
def test_aggregate_cannot_take_the_name_of_a_column_of_every_window(name: str) -> None:
    """Two columns of one name would be one."""
    with pytest.raises(ConfigError, match="call the aggregate otherwise"):
        Windows({name: "count()"}, size="1s")


@pytest.mark.parametrize(
    ("aggregates", "text"),
    [
        ({"x": "max(prise)"}, "did you mean `price`"),
        ({"x": "max(note)"}, "cannot aggregate `note: string`"),
        ({"x": "sum(ts_event)"}, "cannot aggregate `ts_event"),
        ({"x": "vwap(sequence, size)"}, "needs a fixed-point price"),
    ],
)
def test_columns_that_cannot_be_aggregated_are_named(
    aggregates: dict[str, str], text: str
) -> None:
    """The schema is checked before anything runs."""
    with pytest.raises(SchemaError, match=text):
        Windows(aggregates, size="1s").output_schemas(ROW)


def test_rows_without_event_time_are_refused() -> None:
    """There is no window to put them in."""
    with pytest.raises(SchemaError, match="event time"):
        Windows(COUNT, size="1s", key=[]).output_schemas(REJECTED)


def test_sliding_window_cannot_hide_a_column_of_the_rows() -> None:
    """Rows keep their columns, so an aggregate needs a name of its own."""
    with pytest.raises(SchemaError, match="already"):
        Windows({"price": "mean(price)"}, size="1s", sliding=True).output_schemas(TRADE)


def test_window_fires_when_the_watermark_reaches_its_end() -> None:
    """At watermark 9 the window [0, 10) is open, at 10 it is given."""
    for last, expected in ((9, []), (10, [(0, 10, 2)])):
        (batch,) = batches_of({"ts_event": [0, 9, last]})
        outputs = _built(COUNT, batch, size="10ns").process(batch)
        found = _listed(outputs, "ts_open", "ts_close", "n")
        assert found == ([(0, 10, 2)] if last == 10 else expected)


def test_late_row_gives_its_window_again_until_it_is_final() -> None:
    """Fired, revised, final; then the next row is late and counted."""
    (batch,) = batches_of({"ts_event": [1, 12, 2, 15, 3, 30]})
    operator = _built(COUNT, batch, size="10ns", lateness="5ns")
    outputs = operator.process(batch)
    names = ("ts_open", "n", "revision", "is_final")
    assert _listed(outputs, *names) == [
        (0, 1, 0, False),
        (0, 2, 1, False),
        (0, 2, 1, True),
        (10, 2, 0, False),
        (10, 2, 0, True),
    ]
    assert [batch["ts_event"].tolist() for port, batch in outputs if port == "late"] == [[3]]


def test_retraction_takes_back_the_old_row_first() -> None:
    """The signs of all rows of a window add up to the one that stands."""
    columns = {"ts_event": [1, 12, 2, 30]}
    outputs = _all(COUNT, columns, size="10ns", lateness="5ns", revisions="retract")
    first = [row for row in _listed(outputs, "ts_open", "n", "is_final", "op") if row[0] == 0]
    assert [row[1:] for row in first] == [
        (1, False, 1),
        (1, False, -1),
        (2, False, 1),
        (2, False, -1),
        (2, True, 1),
    ]


def test_session_that_a_late_row_joins_to_an_earlier_one_is_given_empty() -> None:
    """Its start is no session's start any more: what was known of it is void."""
    columns = {"ts_event": [0, 8, 19, 4, 40]}
    outputs = _all({"n": "count()", "p": "sum(size)"}, columns, gap="5ns", lateness="15ns")
    names = ("ts_open", "ts_close", "n", "p", "revision", "is_final")
    assert _listed(outputs, *names)[:5] == [
        (0, 5, 1, 0, 0, False),
        (8, 13, 1, 0, 0, False),
        (8, 13, 0, UNDEFINED, 1, True),
        (0, 13, 3, 0, 1, False),
        (19, 24, 1, 0, 0, False),
    ]


def test_rows_a_gap_apart_are_two_sessions() -> None:
    """A session is half-open: a row at its end is outside."""
    for apart, expected in ((4, [(0, 9, 2)]), (5, [(0, 5, 1), (5, 10, 1)])):
        outputs = _all(COUNT, {"ts_event": [0, apart]}, gap="5ns")
        assert _listed(outputs, "ts_open", "ts_close", "n") == expected


def test_windows_follow_the_origin_near_and_far() -> None:
    """A distant origin costs nothing and moves nothing that it should not."""
    for origin in ("1970-01-01T00:00:00.000000003Z", "1700-01-01T00:00:00.000000003Z"):
        outputs = _all(COUNT, {"ts_event": [-8, 0, 3, 13]}, size="10ns", origin=origin)
        assert _listed(outputs, "ts_open", "n") == [(-17, 1), (-7, 1), (3, 1), (13, 1)]


def test_windows_start_at_the_open_and_end_at_the_close_of_an_exchange() -> None:
    """Seven-minute windows from 09:30 in New York; the last is cut short at 16:00."""
    pytest.importorskip("exchange_calendars")
    times = [
        int(np.datetime64(text, "ns").astype(np.int64))
        for text in (
            "2024-03-08T14:30",
            "2024-03-08T20:59",
            "2024-03-11T13:29",
            "2024-03-11T13:36",
        )
    ]
    outputs = _all(COUNT, {"ts_event": times}, size="7min", calendar="XNYS")
    found = [
        tuple(str(np.datetime64(time, "ns"))[:16] for time in row)
        for row in _listed(outputs, "ts_open", "ts_close")
    ]
    assert found == [
        ("2024-03-08T14:30", "2024-03-08T14:37"),
        ("2024-03-08T20:55", "2024-03-08T21:00"),
        ("2024-03-11T13:30", "2024-03-11T13:37"),
    ]
    assert [len(batch) for port, batch in outputs if port == "outside"] == [1]


def test_function_is_given_the_arrays_of_one_window() -> None:
    """Its parameters are the columns; also one compiled by numba."""

    @numba.njit
    def notional(price: Any, size: Any) -> float:
        return float((price * size).sum())

    def widest(price: Any) -> Any:
        return None if len(price) < 2 else int(np.diff(np.sort(price)).max())

    columns = {"ts_event": [0, 1, 12], "price": [3, 5, 7], "size": [1, 2, 3]}
    aggregates = {"notional": notional, "widest": widest, "n": "count()"}
    outputs = _all(aggregates, columns, size="10ns", results={"widest": "int"})
    assert _listed(outputs, "notional", "widest", "n") == [(13.0, 2, 2), (21.0, UNDEFINED, 1)]


def test_function_that_gives_what_was_not_declared_is_told() -> None:
    """A float where an integer was declared would be cut short."""
    columns = {"ts_event": [0]}
    with pytest.raises(SchemaError, match="must return an int"):
        _all({"x": lambda price: 0.5}, columns, size="1s", results={"x": "int"})


def test_polars_expression_is_worked_out_in_each_window() -> None:
    """Prices are decimals in it, as everywhere in Polars frames."""
    pl = pytest.importorskip("polars")
    unit = 10**9
    columns = {
        "ts_event": [0, 1, 2, 12],
        "price": [3 * unit, 5 * unit, UNDEFINED, 7 * unit],
        "sequence": [1, 4, 9, 2],
    }
    aggregates = {
        "range": pl.col("price").max() - pl.col("price").min(),
        "odd": (pl.col("sequence") % 2 == 1).sum(),
        "share": pl.col("sequence").mean(),
        "n": "count()",
    }
    results: Any = {"range": "decimal", "odd": "int"}
    outputs = _all(aggregates, columns, size="10ns", every="5ns", results=results)
    assert _listed(outputs, "ts_open", "range", "odd", "n") == [
        (-5, 2 * unit, 2, 3),
        (0, 2 * unit, 2, 3),
        (5, 0, 0, 1),
        (10, 0, 0, 1),
    ]


def test_sum_out_of_range_ends_the_run_with_the_column() -> None:
    """Nothing wraps round."""
    columns = {"ts_event": [0, 1], "size": [2**62, 2**62]}
    with pytest.raises(ArithmeticOverflowError, match="`total` of `windows`"):
        _all({"total": "sum(size)"}, columns, size="1s")
    assert _listed(_all({"mean": "mean(size)"}, columns, size="1s"), "mean") == [(2**62,)]


def test_state_of_other_windows_is_refused() -> None:
    """A state is restored into windows of the same shape only."""
    (batch,) = batches_of({"ts_event": [0, 1]})
    operator = _built(COUNT, batch, size="10ns")
    operator.process(batch)
    with pytest.raises(SnapshotError, match="of other windows"):
        _built(COUNT, batch, size="20ns").restore(operator.snapshot())
    ordered = _built(COUNT, batch, rows=3)
    ordered.process(batch)
    with pytest.raises(SnapshotError, match="of other windows"):
        _built(COUNT, batch, rows=2).restore(ordered.snapshot())


@pytest.mark.parametrize(
    "settings",
    [
        {"size": "10us", "every": "2us"},
        {"gap": "5us", "lateness": "5us"},
        {"size": "10us", "sliding": True},
        {"rows": 3, "ttl": "10us"},
    ],
)
def test_state_stays_bounded_while_a_million_keys_come_and_go(settings: dict[str, Any]) -> None:
    """Room is that of the keys and rows of the open windows, a few thousand."""
    operator: Any = None
    rows = 50_000
    for start in range(0, 1_000_000, rows):
        numbers = np.arange(start, start + rows)
        columns: dict[str, Any] = {"ts_event": 4 * numbers, "sequence": numbers}
        (batch,) = batches_of(columns)
        operator = operator or _built({"n": "count()"}, batch, key="sequence", **settings)
        operator.process(batch)
    held = operator._columns.rows
    # The keys of one batch have a slot each while it is taken.
    assert len(held.slots) <= 4 * rows
    assert len(held.arena) <= 32_768
    assert len(held.heap) <= 32_768
    assert len(held.out) <= 4 * rows
    assert len(operator.snapshot().keyed) < 30


def test_windows_from_yaml_and_from_python_are_the_same() -> None:
    """Text aggregates can be written down; functions cannot, and it is said."""
    dag = mdp.Dag("w")
    trades = dag.source(mdp.SyntheticSource(rows=2_000, seed=3))
    aggregates = {"high": "max(price)", "p95": "quantile(size, 0.95)"}
    trades.windows(aggregates, size="10s", every="5s", lateness="1s").collect(name="kept")
    assert "quantile(size, 0.95)" in dag.to_yaml()
    mine = mdp.Dag("mine")
    source = mine.source(mdp.SyntheticSource(rows=2_000, seed=3))
    source.windows({"x": lambda price: price.max()}, gap="1s").collect()
    with pytest.raises(ConfigError):
        mine.to_yaml()
    result = mdp.run(dag)
    table = result.to_arrow("kept")
    assert table.num_rows
    assert table.column_names[:5] == ["symbol", "ts_open", "ts_close", "high", "p95"]

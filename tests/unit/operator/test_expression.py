"""Expressions: what they give for each kind of column, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ArithmeticOverflowError, ConfigError, SchemaError
from market_data_pipeline.operator.expression import Expression
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

SCHEMA = Schema(
    "row",
    (
        Field("ts_event", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        Field("price", Kind.FIXED, 9),
        Field("size", Kind.FIXED, 9),
        Field("side", Kind.CHAR),
        Field("sequence", Kind.INT),
        Field("signal", Kind.FLOAT),
        Field("note", Kind.ARROW, arrow=pa.string()),
        Field("open", Kind.BOOL),
        Field("raw", Kind.ARROW, arrow=pa.list_(pa.int64())),
    ),
)
ONE = 10**9
BATCH = Batch.from_columns(
    SCHEMA,
    {
        "ts_event": np.array([1_704_465_000 * ONE, 2, 3, UNDEFINED]),
        "symbol": np.array([0, 1, 2, 0], np.int32),
        "price": np.array([3 * ONE // 2, 2 * ONE, UNDEFINED, -ONE]),
        "size": np.array([ONE, 3 * ONE, ONE, 10**18]),
        "side": np.frombuffer(b"BANB", np.uint8),
        "sequence": np.arange(4),
        "signal": np.array([0.5, 1.0, 2.0, np.nan]),
        "note": pa.array(["a", None, "b", "a"]),
        "open": np.array([True, False, True, True]),
        "raw": pa.array([[1]] * 4),
    },
    SymbolTable(["BTC", "ETH", "SOL"]),
)


def _values(text: str) -> list[Any]:
    found = Expression(text, "where").bind(SCHEMA, "node").evaluate(BATCH)
    values: list[Any] = found.to_pylist() if isinstance(found, pa.Array) else found.tolist()
    return values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price > 1", "TT--"),
        ("not price > 1", "--TT"),
        ("price in [1.5, 2]", "TT--"),
        ("price not in [1.5]", "-T-T"),
        ("price == 1.5000000001", "----"),
        ("price != 1.5000000001", "TT-T"),
        ("price < 1.5000000001", "T--T"),
        ("price >= 1.5000000001", "-T--"),
        ("price > 1.4999999999", "TT--"),
        ("price <= 1.4999999999", "---T"),
        ("price < 2", "T--T"),
        ("price <= 2", "TT-T"),
        ("price >= 2", "-T--"),
        ("price != 2", "T--T"),
        ("price > -1e30", "TT-T"),
        ("price <= -1e30", "----"),
        ("price >= 9223372036.854775807", "----"),
        ("price != 9223372036.854775807", "TT-T"),
        ("sequence <= 9223372036854775807", "TTTT"),
        ("sequence > 9223372036854775807", "----"),
        ("sequence != 2", "TT-T"),
        ("ts_event != 2", "T-T-"),
        ("1 < price <= 2", "TT--"),
        ("price < 1e30 and size < 10", "TT--"),
        ("price > sequence", "TT--"),
        ("symbol in ['BTC', 'SOL']", "T-TT"),
        ("symbol >= 'ETH'", "-TT-"),
        ("'ETH' == symbol", "-T--"),
        ("side == 'B' and open", "T--T"),
        ("note == 'a'", "T--T"),
        ("note != 'a'", "--T-"),
        ("signal > 0.7", "-TT-"),
        ("sequence % 2 == 0 or side == 'A'", "TTT-"),
        ("ts_event > '2024-01-05T14:29:59.999999999Z'", "T---"),
        ("ts_event == '2024-01-05T15:30:00+01:00'", "T---"),
        ("ts_event < '1970-01-02'", "-TT-"),
        ("ts_event >= 3", "T-T-"),
        ("True", "TTTT"),
        ("1 < 2", "TTTT"),
        ("symbol == 'never seen'", "----"),
    ],
)
def test_condition_holds_for_the_right_rows(text: str, expected: str) -> None:
    """Each kind of column compares as its values do; undefined values never do."""
    assert _values(text) == [letter == "T" for letter in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price * size", [3 * ONE // 2, 6 * ONE, UNDEFINED, -(10**18)]),
        ("price / size", [3 * ONE // 2, 666_666_667, UNDEFINED, -1]),
        ("price + 1", [5 * ONE // 2, 3 * ONE, UNDEFINED, 0]),
        ("1 / price", [666_666_667, ONE // 2, UNDEFINED, -ONE]),
        ("price / (size - 1)", [UNDEFINED, ONE, UNDEFINED, -1]),
        ("price * 1.1", [1_650_000_000, 2_200_000_000, UNDEFINED, -1_100_000_000]),
        ("1 / 3 * price", [ONE // 2, 666_666_667, UNDEFINED, -333_333_333]),
        ("-price % 1", [ONE // 2, 0, UNDEFINED, 0]),
        ("abs(price)", [3 * ONE // 2, 2 * ONE, UNDEFINED, ONE]),
        ("min(price, size, 1)", [ONE, ONE, UNDEFINED, -ONE]),
        ("max(sequence, 2)", [2, 2, 2, 3]),
        ("sequence / 3", [0, 333_333_333, 666_666_667, ONE]),
        ("sequence * 2 + 1", [1, 3, 5, 7]),
        ("ts_event + 5", [1_704_465_000 * ONE + 5, 7, 8, UNDEFINED]),
        ("ts_event - ts_event", [0, 0, 0, UNDEFINED]),
        ("'text'", ["text"] * 4),
        ("0.25", [ONE // 4] * 4),
    ],
)
def test_arithmetic_is_exact_and_rounds_half_to_even(text: str, expected: list[Any]) -> None:
    """Numbers are what paper and pencil give; undefined and divided by zero is undefined."""
    assert _values(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "price.real",
        "lambda: 1",
        "[x for x in y]",
        "price if open else 1",
        "f'{price}'",
        "price ** 2",
        "price >> 1",
        "price is None",
        "(x := 1)",
        "abs(x=1)",
        "abs(*price)",
        "open['a']",
        "1j",
        "b'1'",
        "None",
        "...",
        "1e999999999 > price",
        "price >",
        "",
        "(" * 300,
        "-" * 3_500 + "1",
        "not " * 200 + "open",
        "1 + " * 2_000 + "1",
        "price\0",
    ],
)
def test_text_that_is_no_plain_expression_is_refused(text: str) -> None:
    """Only what is listed is taken; nothing is ever run."""
    with pytest.raises(ConfigError) as caught:
        Expression(text, "where")
    assert caught.value.parameter == "where"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pric > 0", "no column `pric`; did you mean `price`.*position 1"),
        ("price > 0 and prise < 1", "`prise`.*position 15"),
        ("price + signal", "does not mix with floats"),
        ("price > signal", "does not mix with floats"),
        ("side == 'BUY'", "one letter"),
        ("price == 'x'", "cannot be compared"),
        ("ts_event > 'noon'", "is no time"),
        ("ts_event > '3000-01-01'", "too far from 1970"),
        ("raw == 1", "cannot be computed with"),
        ("price and open", "neither true nor false"),
        ("price", "neither true nor false"),
        ("price / 0 > 1", "divides by zero"),
        ("price in size", "needs a list"),
        ("note + 1 > 2", "needs numbers"),
        ("ts_event * 2 > 1", "needs numbers"),
        ("price + 1e20 > 1", "out of range"),
        ("abs(note) > 1", "needs one number"),
        ("min(price) > 1", "two values or more"),
        ("price > 1 == symbol", "cannot be compared"),
    ],
)
def test_condition_that_does_not_fit_the_columns_is_refused(text: str, message: str) -> None:
    """The error says what is wrong, where, and what is there."""
    with pytest.raises(SchemaError, match=message):
        Expression(text, "where").bind_condition(SCHEMA, "node")


@pytest.mark.parametrize(
    "text",
    [
        "size * 1e10",
        "size + size * 9",
        "size * size",
        "-size * 10",
    ],
)
def test_result_out_of_range_is_an_error_that_names_the_row(text: str) -> None:
    """Nothing wraps round unseen."""
    with pytest.raises(ArithmeticOverflowError, match="ts_event"):
        _values(text)


@pytest.mark.parametrize("text", ["abs(sequence)", "-sequence"])
def test_lowest_integer_has_no_magnitude(text: str) -> None:
    """NumPy would give it back as it is, below zero."""
    schema = SCHEMA.only(["ts_event", "sequence"])
    columns = {"ts_event": np.array([7]), "sequence": np.array([-(2**63)])}
    bound = Expression(text, "where").bind(schema, "node")
    with pytest.raises(ArithmeticOverflowError, match="ts_event 7"):
        bound.evaluate(Batch(schema, columns, SymbolTable()))


def test_integer_remainder_by_zero_is_an_error() -> None:
    """Integers have no value that stands for none."""
    with pytest.raises(ArithmeticOverflowError, match="divides by zero"):
        _values("sequence % sequence")


def test_names_are_the_columns_that_are_read() -> None:
    """Sources read these and no others; functions are no columns."""
    text = "abs(price) > 1 and symbol in ['size']"
    assert Expression(text, "where").names == {"price", "symbol"}


def test_symbols_that_come_later_are_compared_too() -> None:
    """The table grows while the run goes on."""
    table = SymbolTable(["BTC"])
    schema = SCHEMA.only(["ts_event", "symbol"])
    bound = Expression("symbol == 'ETH'", "where").bind(schema, "node")

    def of(codes: list[int]) -> list[bool]:
        columns = {"ts_event": np.zeros(len(codes), np.int64), "symbol": np.array(codes, np.int32)}
        found: list[bool] = bound.evaluate(Batch(schema, columns, table)).tolist()
        return found

    assert of([0]) == [False]
    assert of([0, table.code("ETH")]) == [False, True]

"""Quotes and bars go into columns and come back the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import RecordError
from market_data_pipeline.objects import (
    OBJECTS,
    batch_of_objects,
    batch_of_quotes,
    epoch_ns,
    fixed_of,
    moment_of,
    objects_of,
)
from market_data_pipeline.records import QUOTE, UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.types import Quote

MOMENT = datetime(2024, 1, 2, 14, 30, 0, 123_456, tzinfo=UTC)


def test_times_keep_their_microseconds() -> None:
    """In any zone; without one they are UTC."""
    assert moment_of(epoch_ns(MOMENT)) == MOMENT
    assert epoch_ns(MOMENT.replace(tzinfo=None)) == epoch_ns(MOMENT)
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-5)))
    assert epoch_ns(elsewhere) == epoch_ns(MOMENT)
    assert moment_of(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (Decimal("450.10"), 450_100_000_000),
        (450, 450_000_000_000),
        (0.1, 100_000_000),
        (Decimal("0.0000000005"), 0),
        (Decimal("0.0000000015"), 2),
        (Decimal("-1.5"), -1_500_000_000),
        (None, UNDEFINED),
    ],
)
def test_numbers_are_exact_to_nine_places(value: Any, units: int) -> None:
    """Further ones are rounded half to even; a float is what it is written as."""
    assert fixed_of(value, "price") == units


@pytest.mark.parametrize("value", ["x", object(), Decimal("NaN"), float("inf"), 10**10, 10**400])
def test_what_is_no_number_is_refused(value: Any) -> None:
    """The column is named."""
    with pytest.raises(RecordError, match="`price`"):
        fixed_of(value, "price")


def test_quotes_come_back_the_same() -> None:
    """Symbol, time, price and size."""
    quotes = [Quote("A", MOMENT, Decimal("450.1"), Decimal("0.5"), source="feed")]
    assert objects_of(batch_of_quotes(quotes, SymbolTable()), "feed") == quotes


def test_quotes_of_two_sides_are_taken_at_their_middle() -> None:
    """With both sizes; a side that is missing does not count."""
    schema = QUOTE.only(("ts_event", "symbol", "bid_price", "bid_size", "ask_price", "ask_size"))
    one = 10**9
    columns = {
        "ts_event": np.array([epoch_ns(MOMENT)] * 2),
        "symbol": np.zeros(2, np.int32),
        "bid_price": np.array([10 * one, UNDEFINED]),
        "bid_size": np.array([1 * one, UNDEFINED]),
        "ask_price": np.array([11 * one, 11 * one]),
        "ask_size": np.array([2 * one, 2 * one]),
    }
    first, second = objects_of(Batch(schema, columns, SymbolTable(["A"])))
    assert (first.price, first.size) == (Decimal("10.5"), 3)
    assert (first.bid, first.ask) == (10, 11)
    assert (second.price, second.size, second.bid) == (11, 2, None)


def test_any_object_rides_along() -> None:
    """As it is, in order, also if it is a list."""
    assert objects_of(batch_of_objects([[1, 2], [3, 4]], SymbolTable())) == [[1, 2], [3, 4]]
    things: list[Any] = [[1, 2], None, "text", {"a": 1}]
    batch = batch_of_objects(things, SymbolTable(), time=5, watermark=3, group=7)
    assert batch.schema == OBJECTS
    assert objects_of(batch) == things
    assert objects_of(Batch.concat([batch, batch]).slice(2, 6)) == [*things[2:], *things[:2]]
    assert batch.watermark == 3

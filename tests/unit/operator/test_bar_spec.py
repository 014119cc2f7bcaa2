"""How bars are named."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.bar_spec import BarKind, BarSpec, bar_spec


@pytest.mark.parametrize(
    ("text", "shortest", "kind", "amount"),
    [
        ("1s", "1s", BarKind.TIME, 10**9),
        ("60s", "1min", BarKind.TIME, 60 * 10**9),
        ("1h30min", "90min", BarKind.TIME, 5_400 * 10**9),
        ("1d", "1d", BarKind.TIME, 86_400 * 10**9),
        ("500tick", "500tick", BarKind.TICK, 500),
        ("500ticks", "500tick", BarKind.TICK, 500),
        ("10000vol", "10000vol", BarKind.VOLUME, 10_000),
        ("0.25volume", "0.25vol", BarKind.VOLUME, "0.25"),
        ("1e6val", "1e6val", BarKind.VALUE, 10**6),
        ("2500000value", "2500000val", BarKind.VALUE, 2_500_000),
        ("1000000val", "1e6val", BarKind.VALUE, 10**6),
        ("100tick_imbalance", "100tick_imbalance", BarKind.TICK_IMBALANCE, 100),
        ("1000vol_imbalance", "1000vol_imbalance", BarKind.VOLUME_IMBALANCE, 1_000),
        ("1e6val_imbalance", "1e6val_imbalance", BarKind.VALUE_IMBALANCE, 10**6),
        ("100tick_runs", "100tick_run", BarKind.TICK_RUNS, 100),
        ("100vol_run", "100vol_run", BarKind.VOLUME_RUNS, 100),
        ("1e6value_runs", "1e6val_run", BarKind.VALUE_RUNS, 10**6),
        ("0.50range", "0.5range", BarKind.RANGE, "0.5"),
        ("1renko", "1renko", BarKind.RENKO, 1),
        ("5e-4range", "0.0005range", BarKind.RANGE, "0.0005"),
    ],
)
def test_number_and_unit(text: str, shortest: str, kind: BarKind, amount: int | str) -> None:
    """A number and a unit say what closes a bar; the shortest spelling says the same."""
    found = bar_spec(text)
    assert found == BarSpec(shortest, kind, Decimal(amount))
    assert bar_spec(shortest) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "AAPL.XNAS-5-MINUTE-LAST",
            BarSpec("", BarKind.TIME, Decimal(300 * 10**9), "AAPL.XNAS", "last"),
        ),
        (
            "BTCUSDT-PERP.BINANCE-500-TICK-BID",
            BarSpec("", BarKind.TICK, Decimal(500), "BTCUSDT-PERP.BINANCE", "bid"),
        ),
        (
            "EUR/USD.SIM-10000-VOLUME-MID",
            BarSpec("", BarKind.VOLUME, Decimal(10_000), "EUR/USD.SIM", "mid"),
        ),
        ("A.X-9-VALUE_RUNS-LAST", BarSpec("", BarKind.VALUE_RUNS, Decimal(9), "A.X", "last")),
        (
            "A.X-9-TICK_IMBALANCE-ASK",
            BarSpec("", BarKind.TICK_IMBALANCE, Decimal(9), "A.X", "ask"),
        ),
        (
            "A.X-9-RENKO-LAST",
            BarSpec("", BarKind.RENKO, Decimal(9), "A.X", "last", in_increments=True),
        ),
    ],
)
@pytest.mark.parametrize("source", ["", "-INTERNAL"])
def test_instrument_step_aggregation_price(text: str, source: str, expected: BarSpec) -> None:
    """The instrument may hold dashes; bars are always made here."""
    found = bar_spec(text + source)
    assert found.text == text
    assert (found.kind, found.amount, found.instrument, found.price, found.in_increments) == (
        expected.kind,
        expected.amount,
        expected.instrument,
        expected.price,
        expected.in_increments,
    )
    assert bar_spec(found.text) == found


def test_timedelta() -> None:
    """A timedelta names bars of time."""
    assert bar_spec(timedelta(minutes=5)) == bar_spec("5min")


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("500", "did you mean `500tick`?"),
        ("500tik", "did you mean `500tick`?"),
        ("5mins", "did you mean `5min`?"),
        ("100tick_imbalanc", "did you mean `100tick_imbalance`?"),
        ("0tick", "more than nothing, was `0tick`"),
        ("1.5tick", "whole numbers, was `1.5tick`"),
        ("1.tick", "does not begin with a number"),
        ("1e-30range", "more than 18 digits before or 18 after the point"),
        ("0.123456789012345678e-5 range", "more than 18 digits before or 18 after the point"),
        ("1e-300range", "more than 18 digits before or 18 after the point"),
        ("1234567890123456789tick", "more than 18 digits before or 18 after the point"),
        ("one second", "names no bars; write a number and a unit"),
        ("", "names no bars"),
        ("x" * 300, "names no bars"),
        ("AAPL.XNAS-5-MINUTS-LAST", "did you mean `MINUTE`?"),
        ("AAPL.XNAS-5-MONTH-LAST", "is no kind of bars"),
        ("AAPL.XNAS-5-MINUTE-MARK", "did you mean `ASK`?"),
        ("AAPL.XNAS-five-MINUTE-LAST", "must be a whole number above 0"),
        ("AAPL.XNAS-0-TICK-LAST", "must be a whole number above 0"),
        ("AAPL.XNAS-5-MINUTE-LAST-EXTERNAL", "leave out `-EXTERNAL`"),
        ("AAPL.XNAS-5-MINUTE-LAST@1-MINUTE-EXTERNAL", "a second node that reads the first"),
    ],
)
def test_what_names_no_bars_is_refused_with_the_nearest_that_does(text: str, way_out: str) -> None:
    """The message says what is wrong and how to write it."""
    with pytest.raises(ConfigError, match=re.escape(way_out)):
        bar_spec(text)

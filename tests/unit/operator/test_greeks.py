"""Prices, Greeks and implied volatilities are those of the reference, also at the edges."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.greeks import GreeksPricer

RATE, DIVIDEND = 0.03, 0.01
COUNT = 500


@pytest.fixture(scope="module")
def chain() -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(7)
    spot = random.uniform(5, 500, COUNT)
    return {
        "spot": spot,
        "strike": spot * np.exp(random.normal(0, 0.3, COUNT)),
        "years": random.uniform(0.005, 3, COUNT),
        "volatility": random.uniform(0.05, 1.2, COUNT),
        "is_call": random.random(COUNT) < 0.5,
    }


def reference(name: str, chain: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = "" if name == "price" else ".greeks.analytical"
        found_in = importlib.import_module(f"py_vollib.black_scholes_merton{module}")
    function = getattr(found_in, "black_scholes_merton" if name == "price" else name)
    rows = zip(*chain.values(), strict=True)
    found = [function("c" if c else "p", s, k, t, RATE, v, DIVIDEND) for s, k, t, v, c in rows]
    # There, vega and rho are for one percent, theta for a day.
    return np.array(found) * {"vega": 100, "rho": 100, "theta": 365}.get(name, 1)


@pytest.mark.parametrize("name", ["price", "delta", "gamma", "vega", "theta", "rho"])
def test_greeks_are_those_of_the_reference(name: str, chain: dict[str, npt.NDArray[Any]]) -> None:
    """Each agrees with py_vollib to 1e-9."""
    found = GreeksPricer(RATE, DIVIDEND).greeks(**chain)[name]
    np.testing.assert_allclose(found, reference(name, chain), rtol=1e-9, atol=1e-9)


def test_implied_volatility_is_that_of_the_reference(
    chain: dict[str, npt.NDArray[Any]],
) -> None:
    """It agrees with py_vollib, and with what the price was made of, to 1e-9."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference_of = importlib.import_module("py_vollib.black_scholes_merton.implied_volatility")
    pricer = GreeksPricer(RATE, DIVIDEND)
    greeks = pricer.greeks(**chain)
    # Where the price hardly depends on it, it is not in the price.
    told = greeks["vega"] > 1e-2
    assert np.count_nonzero(told) > COUNT * 0.9
    sub = {name: column[told] for name, column in chain.items()}
    volatility = sub.pop("volatility")
    price = greeks["price"][told]
    found = pricer.implied_volatility(price, **sub)
    np.testing.assert_allclose(found, volatility, rtol=0, atol=1e-9)
    rows = zip(price, *sub.values(), strict=True)
    expected = [
        reference_of.implied_volatility(p, s, k, t, RATE, DIVIDEND, "c" if c else "p")
        for p, s, k, t, c in rows
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def one(**changes: Any) -> dict[str, float]:
    settings: dict[str, Any] = {"spot": 100.0, "strike": 90.0, "years": 1.0, "volatility": 0.2}
    settings |= {"is_call": True} | changes
    return {name: float(v[0]) for name, v in GreeksPricer(0.05).greeks(**settings).items()}


@pytest.mark.parametrize(
    ("changes", "price", "delta"),
    [
        ({"years": 0}, 10.0, 1.0),
        ({"years": 0, "strike": 100}, 0.0, 0.5),
        ({"years": 0, "strike": 110}, 0.0, 0.0),
        ({"years": 0, "strike": 110, "is_call": False}, 10.0, -1.0),
        ({"volatility": 0}, 100 - 90 * np.exp(-0.05), 1.0),
        ({"volatility": 0, "is_call": False}, 0.0, 0.0),
        ({"volatility": 50}, 100.0, 1.0),
        ({"strike": 1e-12}, 100.0, 1.0),
        ({"strike": 1e12}, 0.0, 0.0),
    ],
)
def test_option_at_an_edge_is_worth_what_it_pays(
    changes: dict[str, Any], price: float, delta: float
) -> None:
    """Without time or volatility it is the payoff; no Greek is infinite or no number."""
    found = one(**changes)
    assert found["price"] == pytest.approx(price, abs=1e-9)
    assert found["delta"] == pytest.approx(delta, abs=1e-9)
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    "changes",
    [
        *({"spot": value} for value in (0, -1, np.nan, np.inf)),
        *({"strike": value} for value in (0, -1, np.nan, np.inf)),
        *({"years": value} for value in (-1, np.nan, np.inf)),
        *({"volatility": value} for value in (-1, np.nan, np.inf)),
    ],
)
def test_what_cannot_be_gives_no_number(changes: dict[str, Any]) -> None:
    """An impossible argument gives NaN, and nothing raises."""
    assert all(np.isnan(value) for value in one(**changes).values())


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (-1.0, np.nan),
        (9.0, np.nan),
        (10.0, 0.0),
        (100.0, np.nan),
        (1e9, np.nan),
        (np.nan, np.nan),
        (np.inf, np.nan),
    ],
)
def test_price_that_no_volatility_gives(price: float, expected: float) -> None:
    """Below the payoff and from the underlying's own price on there is none."""
    found = GreeksPricer().implied_volatility(price, 100, 90, 1, True)
    np.testing.assert_equal(found[0], expected)


@pytest.mark.parametrize("volatility", [0.001, 0.05, 0.5, 5.0, 20.0])
@pytest.mark.parametrize("strike", [20.0, 80.0, 100.0, 120.0, 400.0])
@pytest.mark.parametrize("years", [1 / 365, 0.5, 10.0])
def test_far_options_have_a_volatility(volatility: float, strike: float, years: float) -> None:
    """What is found gives the price back, however far from the money the option is."""
    pricer = GreeksPricer()
    is_call = strike >= 100
    price = pricer.price(100, strike, years, volatility, is_call)
    found = pricer.implied_volatility(price, 100, strike, years, is_call)
    if price[0] == 0:
        assert found[0] == 0
        return
    if np.isnan(found[0]):
        assert price[0] >= min(100, strike) * (1 - 1e-15)
        return
    again = pricer.price(100, strike, years, found, is_call)
    np.testing.assert_allclose(again, price, rtol=1e-9, atol=1e-13)


def test_numbers_and_arrays_go_together() -> None:
    """A number counts for all."""
    found = GreeksPricer().price([90, 100, 110], 100, 1, 0.2, [True, True, False])
    assert found.shape == (3,)


def test_rate_that_is_no_number_is_refused() -> None:
    """A pricer names what is wrong with it."""
    with pytest.raises(ConfigError, match="rate"):
        GreeksPricer(rate=float("nan"))


def test_rates_may_be_whole_numbers() -> None:
    """A rate of 0 is a rate of 0.0, also in a volatility."""
    whole, broken = GreeksPricer(0, 1), GreeksPricer(0.0, 1.0)
    price = whole.price(100, 90, 1, 0.2, [True, False])
    np.testing.assert_array_equal(price, broken.price(100, 90, 1, 0.2, [True, False]))
    np.testing.assert_allclose(
        whole.implied_volatility(price, 100, 90, 1, [True, False]), 0.2, rtol=1e-9
    )

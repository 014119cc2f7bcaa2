"""What must hold between the prices and Greeks of any options."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.operator.greeks import GreeksPricer

spots = st.floats(1, 1_000)
moneyness = st.floats(0.4, 2.5)
years = st.floats(0.02, 5)
volatilities = st.floats(0.05, 2)
rates = st.floats(-0.05, 0.15)


@given(spots, moneyness, years, volatilities, rates, rates)
def test_put_call_parity(
    spot: float, ratio: float, time: float, volatility: float, rate: float, dividend: float
) -> None:
    """Call less put is the forward less the strike, and so for the Greeks."""
    strike = spot * ratio
    found = GreeksPricer(rate, dividend).greeks(spot, strike, time, volatility, [True, False])
    ahead, owed = spot * np.exp(-dividend * time), strike * np.exp(-rate * time)
    scale = spot + strike
    for name, expected in (
        ("price", ahead - owed),
        ("delta", np.exp(-dividend * time)),
        ("gamma", 0.0),
        ("vega", 0.0),
        ("theta", dividend * ahead - rate * owed),
        ("rho", time * owed),
    ):
        call, put = found[name]
        np.testing.assert_allclose(call - put, expected, rtol=1e-9, atol=1e-11 * scale)


@given(spots, moneyness, years, volatilities, rates, rates, st.booleans())
def test_greeks_are_slopes(
    spot: float,
    ratio: float,
    time: float,
    volatility: float,
    rate: float,
    dividend: float,
    is_call: bool,
) -> None:
    """Each is what a small change of its argument does to the price."""
    strike = spot * ratio
    greeks = GreeksPricer(rate, dividend).greeks(spot, strike, time, volatility, is_call)

    def worth(ds: float = 0, dv: float = 0, dt: float = 0, dr: float = 0) -> float:
        pricer = GreeksPricer(rate + dr, dividend)
        return float(pricer.price(spot + ds, strike, time + dt, volatility + dv, is_call)[0])

    step = 1e-4
    by_spot = step * spot
    slopes = {
        "delta": (worth(ds=by_spot) - worth(ds=-by_spot)) / (2 * by_spot),
        "vega": (worth(dv=step) - worth(dv=-step)) / (2 * step),
        "theta": -(worth(dt=step) - worth(dt=-step)) / (2 * step),
        "rho": (worth(dr=step) - worth(dr=-step)) / (2 * step),
    }
    for name, slope in slopes.items():
        np.testing.assert_allclose(
            greeks[name][0], slope, rtol=2e-3, atol=2e-5 * (spot if name != "delta" else 1)
        )


@given(spots, moneyness, years, volatilities, rates, st.booleans())
def test_implied_volatility_gives_the_price_back(
    spot: float, ratio: float, time: float, volatility: float, rate: float, is_call: bool
) -> None:
    """Whatever volatility is found, it gives the price that it was found from."""
    pricer = GreeksPricer(rate)
    price = pricer.price(spot, spot * ratio, time, volatility, is_call)
    found = pricer.implied_volatility(price, spot, spot * ratio, time, is_call)
    if np.isnan(found[0]):
        # All of the time value is lost in the rounding of the price.
        assert pricer.greeks(spot, spot * ratio, time, volatility, is_call)["vega"][0] < 1e-6
        return
    again = pricer.price(spot, spot * ratio, time, found, is_call)
    np.testing.assert_allclose(again, price, rtol=0, atol=1e-10 * spot * max(1, ratio))

"""European options under Black, Scholes and Merton: price, Greeks, implied volatility."""

from __future__ import annotations

__all__ = ("GREEKS", "implied_volatility", "price_and_greeks")

import math

import numpy as np
from numba import boolean, float64, njit, void
from numba.core.types import Array

from market_data_pipeline.kernels.signatures import FLOATS_IN

GREEKS = ("price", "delta", "gamma", "vega", "theta", "rho")
"""The rows of what `price_and_greeks` writes."""

_BOOLS_IN = Array(boolean, 1, "C", readonly=True)
_FLOATS_OUT = Array(float64, 1, "C")
_TABLE_OUT = Array(float64, 2, "C")
_ROOT_2 = math.sqrt(2.0)
_ROOT_2_PI = math.sqrt(2.0 * math.pi)
_STEPS = 128
_LEAST = 1e-12
_MOST = 64.0


@njit(float64(float64), cache=True, nogil=True, error_model="numpy")
def _below(x):
    """Return the probability of a standard normal value below `x`."""
    return 0.5 * math.erfc(-x / _ROOT_2)


@njit(void(*(FLOATS_IN,) * 6, _BOOLS_IN, _TABLE_OUT), cache=True, nogil=True, error_model="numpy")
def price_and_greeks(spot, strike, years, rate, dividend, volatility, is_call, out):
    """Work out options one by one.

    With no time or no volatility left an option is worth what it would pay, discounted;
    then gamma and vega are 0. What is not positive in spot or strike, negative in time or
    volatility, or no number gives no number.

    Args:
        spot: (n,) prices of the underlying.
        strike: (n,) strikes.
        years: (n,) time to expiry.
        rate: (n,) riskless rate, continuous.
        dividend: (n,) dividend yield, continuous.
        volatility: (n,) volatility of a year.
        is_call: (n,) true for calls.
        out: (6, n), written: the rows of `GREEKS`. Vega and rho are for a change of 1,
            theta is for a year.
    """
    for i in range(spot.size):
        s, k, t = spot[i], strike[i], years[i]
        r, q, v = rate[i], dividend[i], volatility[i]
        is_sound = s > 0 and k > 0 and t >= 0 and v >= 0 and math.isfinite(s * k * t * v)
        if not (is_sound and math.isfinite(r * q)):
            out[:, i] = np.nan
            continue
        sign = 1.0 if is_call[i] else -1.0
        ahead = s * math.exp(-q * t)
        owed = k * math.exp(-r * t)
        spread = v * math.sqrt(t)
        density = 0.0
        if spread > 0:
            d1 = (math.log(s / k) + (r - q) * t) / spread + 0.5 * spread
            d2 = d1 - spread
            density = math.exp(-0.5 * d1 * d1) / _ROOT_2_PI
        elif ahead == owed:
            d1 = d2 = 0.0
        else:
            d1 = d2 = math.inf if ahead > owed else -math.inf
        held, paid = _below(sign * d1), _below(sign * d2)
        out[0, i] = max(sign * (ahead * held - owed * paid), 0.0)
        out[1, i] = sign * math.exp(-q * t) * held
        out[2, i] = math.exp(-q * t) * density / (s * spread) if spread > 0 else 0.0
        out[3, i] = ahead * density * math.sqrt(t)
        decay = -0.5 * ahead * density * v / math.sqrt(t) if spread > 0 else 0.0
        out[4, i] = decay - sign * (r * owed * paid - q * ahead * held)
        out[5, i] = sign * t * owed * paid


@njit(float64(float64, float64), cache=True, nogil=True, error_model="numpy")
def _worth(x, spread):
    """Return what an option out of the money is worth, by the root of forward and strike.

    Args:
        x: Minus the distance of the logarithms of forward and strike, <= 0.
        spread: Volatility times the root of time, > 0.
    """
    high = math.exp(0.5 * x) * _below(x / spread + 0.5 * spread)
    return high - math.exp(-0.5 * x) * _below(x / spread - 0.5 * spread)


@njit(float64(float64, float64), cache=True, nogil=True, error_model="numpy")
def _spread_of(x, worth):
    """Return the spread at which an option out of the money is worth so much.

    Newton's steps from where the curve bends; on the logarithm of the worth below that
    point, where the worth itself is flat. A step that leaves what is known to hold the
    answer is replaced by halving that.
    """
    bend = math.sqrt(2.0 * -x)
    low, high = _LEAST, _MOST
    spread = max(bend, 1e-3)
    by_logarithm = bend > 0 and worth < _worth(x, bend)
    for _ in range(_STEPS):
        found = _worth(x, spread)
        if found > worth:
            high = spread
        else:
            low = spread
        slope = math.exp(-0.5 * (x / spread * x / spread + 0.25 * spread * spread)) / _ROOT_2_PI
        if by_logarithm and found > 0:
            step = math.log(worth / found) * found / slope
        else:
            step = (worth - found) / slope
        better = spread + step
        if not (low < better < high):
            better = 0.5 * (low + high)
        if abs(better - spread) <= 2e-16 * spread:
            return better
        spread = better
    return spread


@njit(void(*(FLOATS_IN,) * 6, _BOOLS_IN, _FLOATS_OUT), cache=True, nogil=True, error_model="numpy")
def implied_volatility(price, spot, strike, years, rate, dividend, is_call, out):
    """Find the volatility at which options are worth their prices.

    Args:
        price: (n,) prices of the options.
        spot: (n,) prices of the underlying.
        strike: (n,) strikes.
        years: (n,) time to expiry.
        rate: (n,) riskless rate, continuous.
        dividend: (n,) dividend yield, continuous.
        is_call: (n,) true for calls.
        out: (n,), written: the volatility of a year; 0 for a price of exactly what the
            option would pay without any, and no number for one that no volatility gives.
    """
    for i in range(price.size):
        s, k, t = spot[i], strike[i], years[i]
        out[i] = np.nan
        is_sound = s > 0 and k > 0 and t > 0 and math.isfinite(s * k * t * price[i])
        if not (is_sound and math.isfinite(rate[i] * dividend[i])):
            continue
        ahead = s * math.exp(-dividend[i] * t)
        owed = k * math.exp(-rate[i] * t)
        sign = 1.0 if is_call[i] else -1.0
        inner = max(sign * (ahead - owed), 0.0)
        outer = price[i] - inner
        if outer == 0.0:
            out[i] = 0.0
            continue
        # By parity the time value is that of the option on the other side.
        scale = math.sqrt(ahead * owed)
        if outer < 0.0 or outer >= min(ahead, owed):
            continue
        x = -abs(math.log(ahead / owed))
        out[i] = _spread_of(x, outer / scale) / math.sqrt(t)

"""Prices, Greeks and implied volatilities of European options, by arrays."""

from __future__ import annotations

__all__ = ("GreeksPricer",)

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.errors import ConfigError

Floats: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.ArrayLike


@dataclass(frozen=True)
class GreeksPricer:
    """Black, Scholes and Merton at a rate and a dividend yield.

    Arguments are numbers or arrays, which are made equally long. Vega and rho are for a
    change of 1 (divide by 100 for one percent), theta is for a year (divide by 365 for a
    day).

    Attributes:
        rate: Riskless rate of a year, continuous.
        dividend: Dividend yield of a year, continuous.
    """

    rate: float = 0.0
    dividend: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no rate.

        Raises:
            ConfigError: If one is not finite.
        """
        for name in ("rate", "dividend"):
            value = getattr(self, name)
            if not np.isfinite(value):
                msg = f"`{name}` must be finite, was {value}"
                raise ConfigError(msg, parameter=name)

    def price(
        self, spot: Numbers, strike: Numbers, years: Numbers, volatility: Numbers, is_call: Any
    ) -> Floats:
        """Return what options are worth; see `greeks`."""
        return self.greeks(spot, strike, years, volatility, is_call)["price"]

    def greeks(
        self, spot: Numbers, strike: Numbers, years: Numbers, volatility: Numbers, is_call: Any
    ) -> dict[str, Floats]:
        """Return `price`, `delta`, `gamma`, `vega`, `theta` and `rho` of options, each (n,).

        Args:
            spot: Price of the underlying, > 0.
            strike: Strike, > 0.
            years: Time to expiry, >= 0.
            volatility: Volatility of a year, >= 0.
            is_call: True for a call.
        """
        from market_data_pipeline.kernels.black_scholes import GREEKS, price_and_greeks

        (s, k, t, v), calls = self._aligned(is_call, spot, strike, years, volatility)
        rate, dividend = self._rates(len(calls))
        out = np.empty((len(GREEKS), len(calls)))
        price_and_greeks(s, k, t, rate, dividend, v, calls, out)
        return dict(zip(GREEKS, out, strict=True))

    def implied_volatility(
        self, price: Numbers, spot: Numbers, strike: Numbers, years: Numbers, is_call: Any
    ) -> Floats:
        """Return the volatility at which options are worth `price`, (n,); NaN where none is."""
        from market_data_pipeline.kernels.black_scholes import implied_volatility

        (p, s, k, t), calls = self._aligned(is_call, price, spot, strike, years)
        rate, dividend = self._rates(len(calls))
        out = np.empty(len(calls))
        implied_volatility(p, s, k, t, rate, dividend, calls, out)
        return out

    def _rates(self, count: int) -> tuple[Floats, Floats]:
        return np.full(count, self.rate, np.float64), np.full(count, self.dividend, np.float64)

    @staticmethod
    def _aligned(is_call: Any, *columns: Numbers) -> tuple[list[Floats], npt.NDArray[np.bool_]]:
        parts = np.broadcast_arrays(np.atleast_1d(is_call), *columns)
        calls = np.ascontiguousarray(parts[0], np.bool_)
        return [np.ascontiguousarray(part, np.float64) for part in parts[1:]], calls

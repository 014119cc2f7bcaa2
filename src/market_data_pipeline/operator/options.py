"""Implied volatility and Greeks of the options of a chain, tick by tick."""

from __future__ import annotations

__all__ = ("OPTION", "OptionsChain")

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field as Setting

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.objects import epoch_ns
from market_data_pipeline.operator.contracts import contract_of
from market_data_pipeline.operator.greeks import GreeksPricer
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import DEFAULT_SCALE, UNDEFINED, Field, Kind, Schema

OPTION: Final = Schema(
    "option",
    (
        Field("ts_event", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        Field("underlying", Kind.ARROW, arrow=pa.string()),
        Field("expiry", Kind.ARROW, arrow=pa.date32()),
        Field("strike", Kind.FIXED, DEFAULT_SCALE),
        Field("right", Kind.CHAR),
        Field("price", Kind.FIXED, DEFAULT_SCALE),
        Field("underlying_price", Kind.FIXED, DEFAULT_SCALE),
        Field("implied_volatility", Kind.FLOAT),
        *(Field(name, Kind.FLOAT) for name in ("delta", "gamma", "vega", "theta", "rho")),
    ),
)
"""A price of an option and what follows from it.

Vega and rho are for a change of 1, theta is for a year of 365 days. `implied_volatility`
and the Greeks are no numbers where no volatility gives the price.
"""

_UNIT: Final = 10.0**-DEFAULT_SCALE
_YEAR_NS: Final = 365 * 86_400 * 1_000_000_000
_SPOT: Final = "spot."
_READ: Final = frozenset(("ts_event", "symbol", "price", "bid_price", "ask_price"))

Int64s = npt.NDArray[np.int64]


@component("options_chain")
class OptionsChain:
    """Give each price of an option its implied volatility and its Greeks.

    Rows are trades or quotes (taken at their middle) of options and of what they are options
    on, told apart by their symbols: `AAPL240119C00150000` is an option on `AAPL`. A row of an
    underlying sets its price, and is counted as `underlying`; a row of an option comes out
    with the price of its underlying last seen before it. Without one, or with a side of the
    quote missing, it goes to the output `unpriced`.

    Options are taken as European, under Black, Scholes and Merton.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: none of its own; rows are worked out in the order in which they arrive.

    Delivery: every row once, in order; the prices of the underlyings are saved with a
    checkpoint.

    Memory: what the symbols say, and one price an underlying.

    Attributes:
        rate: Riskless rate of a year, continuous.
        dividend: Dividend yield of a year, continuous.
        expires: Time of day at which options expire, as `16:00`.
        timezone: Zone of that time.
    """

    rate: float = Setting(default=0.0, allow_inf_nan=False)
    dividend: float = Setting(default=0.0, allow_inf_nan=False)
    expires: str = "16:00"
    timezone: str = "America/New_York"

    outputs: ClassVar[tuple[str, ...]] = ("out", "unpriced")
    side_outputs: ClassVar[tuple[str, ...]] = ("unpriced",)

    def __post_init__(self) -> None:
        """Refuse a time or a zone that there is not.

        Raises:
            ConfigError: If there is no such time of day, or no such zone.
        """
        try:
            time.fromisoformat(self.expires)
        except ValueError:
            msg = f"`expires` must be a time of day, as `16:00`, was `{self.expires}`"
            raise ConfigError(msg, parameter="expires") from None
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            msg = f"`timezone` must be a zone, as `America/New_York`, was `{self.timezone}`"
            raise ConfigError(msg, parameter="timezone") from None

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of priced options.

        Raises:
            SchemaError: If the rows have no price, nor bid and ask.
        """
        if "symbol" not in schema or not (
            "price" in schema or {"bid_price", "ask_price"} <= set(schema.names)
        ):
            msg = "`options_chain` takes trades or quotes: `symbol`, and `price` or bid and ask"
            raise SchemaError(msg)
        return {"out": OPTION, "unpriced": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return symbol, time and prices."""
        return _READ

    def build(self, context: NodeContext) -> _OptionsChainOperator:
        """Make the running half."""
        return _OptionsChainOperator(self, context)


class _Contracts:
    """What the symbols of the run say, by their codes."""

    def __init__(self, settings: OptionsChain, context: NodeContext) -> None:
        self._symbols = context.symbols
        self._at = time.fromisoformat(settings.expires)
        self._zone = ZoneInfo(settings.timezone)
        self._known: dict[int, int] = {}
        self.underlying = np.empty(0, np.int64)
        self.strike = np.empty(0, np.int64)
        self.expires_ns = np.empty(0, np.int64)
        self.is_call = np.empty(0, np.bool_)
        self.expiry: list[Any] = []

    def learn(self, codes: npt.NDArray[np.int32]) -> None:
        """Look at the symbols up to the highest of some codes."""
        first, stop = len(self.underlying), int(codes.max()) + 1
        if first >= stop:
            return
        found = [contract_of(self._symbols.name(code)) for code in range(first, stop)]
        rows = [
            (-1, 0, 0, False)
            if one is None
            else (
                self._symbols.code(one.underlying),
                one.strike,
                epoch_ns(datetime.combine(one.expiry, self._at, self._zone).astimezone(UTC)),
                one.is_call,
            )
            for one in found
        ]
        columns = list(zip(*rows, strict=True))
        self.underlying = np.append(self.underlying, np.array(columns[0], np.int64))
        self.strike = np.append(self.strike, np.array(columns[1], np.int64))
        self.expires_ns = np.append(self.expires_ns, np.array(columns[2], np.int64))
        self.is_call = np.append(self.is_call, np.array(columns[3], np.bool_))
        self.expiry += [None if one is None else one.expiry for one in found]


class _OptionsChainOperator(Stateless):
    """The running half: the last price of each underlying."""

    def __init__(self, settings: OptionsChain, context: NodeContext) -> None:
        self._context = context
        self._contracts = _Contracts(settings, context)
        self._pricer = GreeksPricer(settings.rate, settings.dividend)
        self._spots: dict[int, int] = {}

    def process(self, batch: Batch) -> Outputs:
        """Take prices of underlyings, and price options."""
        if not len(batch):
            return ()
        codes = batch["symbol"]
        contracts = self._contracts
        contracts.learn(codes)
        on = contracts.underlying[codes]
        prices = _prices(batch)
        is_option = on >= 0
        spots = self._spots_at(codes, on, prices, is_option)
        known = is_option & (spots != UNDEFINED) & (prices != UNDEFINED)
        account = self._context.account
        account.add("underlying", int(np.count_nonzero(~is_option)))
        outputs: list[tuple[str, Batch]] = []
        if known.any():
            rows = np.flatnonzero(known)
            outputs.append(("out", self._priced(batch.take(rows), prices[rows], spots[rows])))
        unpriced = np.flatnonzero(is_option & ~known)
        if len(unpriced):
            account.add("unpriced", len(unpriced))
            outputs.append(("unpriced", batch.take(unpriced)))
        return outputs

    def _spots_at(
        self,
        codes: npt.NDArray[np.int32],
        on: Int64s,
        prices: Int64s,
        is_option: npt.NDArray[np.bool_],
    ) -> Int64s:
        """Return the price of each option's underlying, as it was when the row came."""
        spots = np.full(len(codes), UNDEFINED, np.int64)
        moves = np.flatnonzero(~is_option & (prices != UNDEFINED))
        options = np.flatnonzero(is_option)
        moved = codes[moves]
        for code in np.unique(on[options]).tolist():
            rows = options[on[options] == code]
            steps = moves[moved == code]
            last = np.searchsorted(steps, rows) - 1
            spots[rows] = self._spots.get(code, UNDEFINED)
            spots[rows[last >= 0]] = prices[steps[last[last >= 0]]]
        for code, at in zip(moved.tolist(), moves.tolist(), strict=True):
            self._spots[code] = int(prices[at])
        return spots

    def _priced(self, batch: Batch, prices: Int64s, spots: Int64s) -> Batch:
        contracts, codes = self._contracts, batch["symbol"]
        strikes, calls = contracts.strike[codes], contracts.is_call[codes]
        years = np.maximum(contracts.expires_ns[codes] - batch.times, 0) / _YEAR_NS
        spot, strike = spots * _UNIT, strikes * _UNIT
        volatility = self._pricer.implied_volatility(prices * _UNIT, spot, strike, years, calls)
        greeks = self._pricer.greeks(spot, strike, years, volatility, calls)
        del greeks["price"]
        names = self._context.symbols.names
        columns = {
            "ts_event": batch.times,
            "symbol": codes,
            "underlying": pa.array([names[on] for on in contracts.underlying[codes]], pa.string()),
            "expiry": pa.array([contracts.expiry[code] for code in codes], pa.date32()),
            "strike": strikes,
            "right": np.where(calls, ord("C"), ord("P")).astype(np.uint8),
            "price": prices,
            "underlying_price": spots,
            "implied_volatility": volatility,
            **greeks,
        }
        return Batch(OPTION, columns, batch.symbols, batch.progress)

    def snapshot(self) -> Snapshot:
        """Return the prices of the underlyings."""
        names = self._context.symbols
        return Snapshot(
            scalars={f"{_SPOT}{names.name(code)}": price for code, price in self._spots.items()}
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take over prices of underlyings."""
        symbols = self._context.symbols
        self._spots = {
            symbols.code(name.removeprefix(_SPOT)): price
            for name, price in snapshot.scalars.items()
            if name.startswith(_SPOT)
        }


def _prices(batch: Batch) -> Int64s:
    """Return the price of each row, or the middle of bid and ask, in units of 1e-9."""
    if "price" in batch.schema:
        return _rescaled(batch, "price")
    bid, ask = _rescaled(batch, "bid_price"), _rescaled(batch, "ask_price")
    whole = (bid != UNDEFINED) & (ask != UNDEFINED)
    # Half of the distance, since the sum may leave 64 bits.
    middle = bid + (np.where(whole, ask, bid) - bid) // 2
    return np.where(whole, middle, UNDEFINED)


def _rescaled(batch: Batch, name: str) -> Int64s:
    column: Int64s = batch[name]
    scale = batch.schema[name].scale
    if scale == DEFAULT_SCALE:
        return column
    if scale > DEFAULT_SCALE:
        return np.where(column == UNDEFINED, UNDEFINED, column // 10 ** (scale - DEFAULT_SCALE))
    return np.where(column == UNDEFINED, UNDEFINED, column * 10 ** (DEFAULT_SCALE - scale))

"""Bars as the clients of market_data_store take them: with floats."""

from __future__ import annotations

__all__ = ("StoreBar", "StoreBars", "StoredTime", "check_bars", "tenant_bars")

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from market_data_pipeline.adapters.core_records import utc_datetimes
from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.batch import Batch
from market_data_pipeline.durations import format_duration
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import OP, UNDEFINED, Schema
from market_data_pipeline.sink.floats import nearest_floats

StoredTime: TypeAlias = Literal["open", "close"]
"""Which end of a bar is its time in the store."""

_FIGURES: Final = ("open", "high", "low", "close", "volume")
_NEEDED: Final = ("symbol", "ts_open", "ts_close", *_FIGURES)


class StoreBar(NamedTuple):
    """A bar with the attributes that `datastore` reads, and what tells it from others first."""

    provider: str
    symbol: str
    interval: str
    ts: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


class StoreBars:
    """Turns batches of bars into records for the table `bars_ohlcv`.

    Args:
        provider: Who made them.
        interval: Their length in words; None to work it out.
        time: Which end of a bar is its time in the store.
    """

    def __init__(self, provider: str, interval: str | None, time: StoredTime) -> None:
        self._provider = provider
        self._interval = interval
        self._time = time

    def records(self, batch: Batch) -> tuple[list[StoreBar], int, int]:
        """Return the last bar of each key, and how many were replaced and had no price.

        Raises:
            SchemaError: If the rows are no bars, or one is taken back, which the store cannot.
        """
        check_bars(batch.schema)
        if OP.name in batch.schema and (batch[OP.name] < 0).any():
            msg = (
                "the store cannot take bars back; let `bars` give revisions as upserts, or only "
                "bars that are final"
            )
            raise SchemaError(msg)
        whole = np.ones(len(batch), np.bool_)
        for name in _FIGURES:
            whole &= batch[name] != UNDEFINED
        kept = batch if whole.all() else batch.take(whole)
        last: dict[tuple[str, str, datetime], StoreBar] = {}
        for bar in self._bars(kept):
            last[bar.symbol, bar.interval, bar.ts] = bar
        return list(last.values()), len(kept) - len(last), len(batch) - len(kept)

    def _bars(self, batch: Batch) -> list[StoreBar]:
        names = [batch.symbols.name(code).upper() for code in batch["symbol"].tolist()]
        lengths = (batch["ts_close"] - batch["ts_open"]).tolist()
        words = {length: self._interval or format_duration(length) for length in set(lengths)}
        times = utc_datetimes(batch["ts_open" if self._time == "open" else "ts_close"])
        figures = _floats(batch)
        return [
            StoreBar(self._provider, name, words[length], at, *values)
            for name, length, at, *values in zip(names, lengths, times, *figures, strict=True)
        ]


def check_bars(schema: Schema) -> None:
    """Refuse rows that are no bars.

    Raises:
        SchemaError: If a column is missing.
    """
    missing = [name for name in _NEEDED if name not in schema]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        known = ", ".join(f"`{name}`" for name in schema.names)
        msg = f"the store takes bars, and these rows have no {names} (columns: {known})"
        raise SchemaError(msg)


def tenant_bars(*, tenant_id: str, vendor: str) -> Callable[[Batch], list[Any]]:
    """Return what makes records for `market_data_store.sinks.BarsSink` of a batch of bars.

    For `convert` of `StoreSinkAdapter`. Their time is the start of the bar.

    Args:
        tenant_id: The tenant, a UUID.
        vendor: Who made the bars.
    """

    def convert(batch: Batch) -> list[Any]:
        model: Any = require_optional("mds_client.models", extra="store").Bar
        check_bars(batch.schema)
        lengths = (batch["ts_close"] - batch["ts_open"]).tolist()
        names = [batch.symbols.name(code) for code in batch["symbol"].tolist()]
        made = []
        times = utc_datetimes(batch["ts_open"])
        for name, length, at, opened, high, low, closed, volume in zip(
            names, lengths, times, *_floats(batch), strict=True
        ):
            if not volume.is_integer():
                msg = f"a volume of {volume} of `{name}` is not whole, as the store's must be"
                raise SchemaError(msg)
            made.append(
                model(
                    tenant_id=tenant_id,
                    vendor=vendor,
                    symbol=name,
                    timeframe=format_duration(length),
                    ts=at,
                    open_price=opened,
                    high_price=high,
                    low_price=low,
                    close_price=closed,
                    volume=int(volume),
                )
            )
        return made

    return convert


def _floats(batch: Batch) -> list[list[float]]:
    return [nearest_floats(batch[name], batch.schema[name].scale).tolist() for name in _FIGURES]

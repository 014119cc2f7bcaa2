"""Bars worked out the plain way, one row at a time, sharing no code with the package."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Tick(NamedTuple):
    """A trade."""

    time: int
    symbol: str
    price: int
    size: int


class Bar(NamedTuple):
    """A bar; `vwap` is None where the volume is zero."""

    symbol: str
    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    vwap: int | None
    trades: int


def bars_and_late(ticks: list[Tick], width: int, out_of_order: int) -> tuple[set[Bar], list[Tick]]:
    """Return the bars of the ticks that are on time, and the ticks that are late.

    A tick is late if its window ends at or before the highest time seen before it, minus
    the bound.
    """
    windows: dict[tuple[str, int], list[Tick]] = {}
    late: list[Tick] = []
    highest: int | None = None
    for tick in ticks:
        start = tick.time // width * width
        if highest is not None and start + width <= highest - out_of_order:
            late.append(tick)
        else:
            windows.setdefault((tick.symbol, start), []).append(tick)
        highest = tick.time if highest is None else max(highest, tick.time)
    return {_bar(symbol, start, rows) for (symbol, start), rows in windows.items()}, late


def _bar(symbol: str, start: int, rows: list[Tick]) -> Bar:
    # Python's sort is stable: ticks of one instant stay in the order of arrival.
    ordered = sorted(rows, key=lambda tick: tick.time)
    volume = sum(tick.size for tick in rows)
    # Python rounds fractions half to even.
    turnover = sum(tick.price * tick.size for tick in rows)
    return Bar(
        symbol,
        start,
        ordered[0].price,
        max(tick.price for tick in rows),
        min(tick.price for tick in rows),
        ordered[-1].price,
        volume,
        round(Fraction(turnover, volume)) if volume else None,
        len(rows),
    )

"""What must be in the outputs, worked out row by row; it shares no code with the package."""

from __future__ import annotations

__all__ = ("Expected", "expected")

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from crash.world import BOUND, LATENESS, SECOND, Quote, Trade, World

WIDTH = SECOND
HOP = 2 * SECOND
SPAN = 10 * SECOND
TTL = 30 * SECOND

Row = tuple[Hashable, ...]


@dataclass
class Expected:
    """The rows of each output, as tuples.

    Prices are cents, averages cents as fractions rounded to a ten-millionth of a cent.

    Attributes:
        bars: Each bar as it is once it is final: symbol, start, open, high, low, close, volume,
            average, trades, late trades, True.
        revisions: Each time a bar is given: the same, its revision in front.
        priced: Trades with the prevailing quote: symbol, number, time, price, bid, ask.
        hops: Hopping windows: symbol, start, lowest, highest, volume, trades.
        late: Numbers of trades that were too late for their bar.
        rejected: How many rows could not be taken.
        duplicates: How many rows were there before.
    """

    bars: Counter[Row] = field(default_factory=Counter)
    revisions: Counter[Row] = field(default_factory=Counter)
    priced: Counter[Row] = field(default_factory=Counter)
    hops: Counter[Row] = field(default_factory=Counter)
    late: Counter[Row] = field(default_factory=Counter)
    rejected: int = 0
    duplicates: int = 0


def expected(world: World) -> Expected:
    """Return what must come out of a world."""
    found = Expected()
    clean = _clean(world.trades, found)
    _bars(clean, found)
    _hops(clean, found)
    _priced(clean, world.quotes, found)
    return found


def _clean(trades: list[Trade], found: Expected) -> list[tuple[Trade, int, int]]:
    """Return the trades that are let through, with the watermark before and after each."""
    let: dict[tuple[str, int], int] = {}
    clean: list[tuple[Trade, int, int]] = []
    highest = -(2**62)
    for trade in trades:
        if trade.price is None:
            found.rejected += 1
            continue
        before = highest - BOUND
        highest = max(highest, trade.time)
        key = trade.symbol, trade.trade_id
        if key in let and before < let[key] + TTL:
            found.duplicates += 1
            # Its time has passed all the same.
            clean.append((trade._replace(size=-1), before, highest - BOUND))
            continue
        let[key] = trade.time
        clean.append((trade, before, highest - BOUND))
    return clean


class _Bar:
    def __init__(self) -> None:
        self.rows: list[Trade] = []
        self.revision = 0
        self.late = 0
        self.is_given = False

    def row(self, symbol: str, start: int, *, is_final: bool) -> Row:
        """Return the bar as it stands."""
        ordered = sorted(self.rows, key=lambda trade: trade.time)
        prices: list[Any] = [trade.price for trade in ordered]
        volume = sum(trade.size for trade in ordered)
        turnover = sum(p * t.size for p, t in zip(prices, ordered, strict=True))
        average = round(Fraction(turnover * 10**7, volume))
        values = prices[0], max(prices), min(prices), prices[-1], volume, average
        return (symbol, start, *values, len(ordered), self.late, is_final)


def _bars(clean: list[tuple[Trade, int, int]], found: Expected) -> None:
    bars: dict[tuple[int, str], _Bar] = {}

    def give(place: tuple[int, str], bar: _Bar, *, is_final: bool) -> None:
        row = bar.row(place[1], place[0], is_final=is_final)
        found.revisions[bar.revision, *row] += 1
        if is_final:
            found.bars[row] += 1
            del bars[place]

    def close(watermark: int, *, at_end: bool = False) -> None:
        for place, bar in sorted(bars.items()):
            end = place[0] + WIDTH
            if at_end or end + LATENESS <= watermark:
                if not bar.is_given and not at_end:
                    give(place, bar, is_final=False)
                give(place, bar, is_final=True)
            elif end <= watermark and not bar.is_given:
                bar.is_given = True
                give(place, bar, is_final=False)

    for trade, before, after in clean:
        close(before)
        if trade.size >= 0:
            start = trade.time // WIDTH * WIDTH
            if start + WIDTH + LATENESS <= before:
                found.late[trade.symbol, trade.trade_id] += 1
            else:
                bar = bars.setdefault((start, trade.symbol), _Bar())
                if start + WIDTH <= before:
                    bar.revision += bar.is_given
                    bar.late += 1
                    bar.is_given = True
                    bar.rows.append(trade)
                    give((start, trade.symbol), bar, is_final=False)
                else:
                    bar.rows.append(trade)
        close(after)
    close(0, at_end=True)


def _hops(clean: list[tuple[Trade, int, int]], found: Expected) -> None:
    windows: dict[tuple[str, int], list[Trade]] = {}
    for trade, before, _ in clean:
        last = trade.time // HOP * HOP
        for start in range(last - SPAN + HOP, last + 1, HOP):
            if trade.size >= 0 and start + SPAN > before:
                windows.setdefault((trade.symbol, start), []).append(trade)
    for (symbol, start), rows in windows.items():
        prices: list[Any] = [trade.price for trade in rows]
        volume = sum(trade.size for trade in rows)
        found.hops[symbol, start, min(prices), max(prices), volume, len(rows)] += 1


def _priced(clean: list[tuple[Trade, int, int]], quotes: list[Quote], found: Expected) -> None:
    known: dict[str, list[Quote]] = {}
    highest = -(2**62)
    for quote in quotes:
        if quote.time >= highest - BOUND:
            known.setdefault(quote.symbol, []).append(quote)
        highest = max(highest, quote.time)
    times: dict[str, list[int]] = {}
    for symbol, rows in known.items():
        rows.sort(key=lambda quote: quote.time)  # stable: of one time the last to arrive is last
        times[symbol] = [quote.time for quote in rows]
    for trade, before, _ in clean:
        if trade.size < 0 or trade.time < before:
            continue
        place = bisect_right(times.get(trade.symbol, []), trade.time) - 1
        sides: tuple[int | None, int | None] = (None, None)
        if place >= 0:
            prevailing = known[trade.symbol][place]
            sides = prevailing.bid, prevailing.ask
        row = trade.symbol, trade.trade_id, trade.time, trade.price
        found.priced[(*row, *sides)] += 1

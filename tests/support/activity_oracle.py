"""Bars that activity closes, row by row in plain Python. Shares no code with the package."""

from __future__ import annotations

__all__ = ("Adaptive", "Bar", "Row", "activity_bars")

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

NONE = 2**63 - 1


@dataclass(frozen=True)
class Row:
    """A trade: times in nanoseconds, numbers in units of the last decimal place."""

    time: int
    symbol: str
    price: int
    size: int
    side: str = "N"
    missing: int = 0


@dataclass(frozen=True)
class Bar:
    """A bar, and whether it is finished."""

    symbol: str
    ts_open: int
    ts_close: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    vwap: int
    count: int
    missing: int
    final: bool = True


@dataclass(frozen=True)
class Adaptive:
    """Span, ticks at first, least and most ticks."""

    span: int
    ticks: int
    least: int
    most: int


@dataclass
class _Open:
    """What is known of one symbol."""

    parts: list[tuple[Row, int, bool]] = field(default_factory=list)
    sign: int = 0
    previous: int | None = None
    bought: int = 0
    sold: int = 0
    edges: tuple[int, int] | None = None
    threshold: Fraction = Fraction(0)
    ticks: Fraction = Fraction(0)
    averages: tuple[int, int] = (0, 0)

    def bar(self, *, final: bool = True) -> Bar:
        rows = [row for row, _, _ in self.parts]
        prices = [row.price for row in rows]
        volume = sum(size for _, size, _ in self.parts)
        turnover = sum(row.price * size for row, size, _ in self.parts)
        bar = Bar(
            rows[0].symbol,
            rows[0].time,
            rows[-1].time,
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            volume,
            round(Fraction(turnover, volume)) if volume else NONE,
            len(self.parts),
            sum(row.missing for row, _, begins in self.parts if begins),
            final,
        )
        self.parts = []
        return bar


def activity_bars(
    rows: Iterable[Row],
    kind: str,
    threshold: int,
    *,
    split: bool = False,
    adaptive: Adaptive | None = None,
    unit: int = 1,
) -> tuple[list[Bar], list[Bar]]:
    """Return the bars of rows in order, and the unfinished ones.

    Args:
        rows: By event time, and in the order of arrival if that is equal.
        kind: As in `every`.
        threshold: In units of what is summed; ticks as ticks.
        split: If a trade that is too large is divided.
        adaptive: How the threshold moves.
        unit: Units of a value in one unit of its average.
    """
    symbols: dict[str, _Open] = {}
    bars: list[Bar] = []
    what, _, rule = kind.partition("_")
    for row in rows:
        if row.price == NONE or (row.size == NONE and what in {"vol", "val"}):
            continue
        if row.symbol not in symbols:
            symbols[row.symbol] = _Open(threshold=Fraction(threshold))
            if adaptive is not None:
                symbols[row.symbol].ticks = Fraction(adaptive.ticks)
                first = Fraction(threshold, adaptive.ticks * unit)
                scaled = round(first * (10**9 if what == "tick" else 1))
                symbols[row.symbol].averages = (scaled, scaled)
        state = symbols[row.symbol]
        size = 0 if row.size == NONE else row.size
        if what == "renko":
            bars += _renko(state, row, size, threshold)
        elif split:
            bars += _split(state, row, size, threshold)
        else:
            state.parts.append((row, size, True))
            if _is_done(state, row, size, what, rule):
                if adaptive is not None:
                    _expect(state, adaptive, unit, what, rule)
                state.bought = state.sold = 0
                bars.append(state.bar())
    left = [state.bar(final=False) for state in symbols.values() if state.parts]
    return bars, left


def _is_done(state: _Open, row: Row, size: int, what: str, rule: str) -> bool:
    if not rule:
        if what == "range":
            prices = [part.price for part, _, _ in state.parts]
            return max(prices) - min(prices) >= state.threshold
        return sum(_weight(part, n, what) for part, n, _ in state.parts) >= state.threshold
    if row.side == "B":
        state.sign = 1
    elif row.side == "A":
        state.sign = -1
    elif state.previous is not None and row.price != state.previous:
        state.sign = 1 if row.price > state.previous else -1
    state.previous = row.price
    weight = _weight(row, size, what)
    if state.sign > 0:
        state.bought += weight
    elif state.sign < 0:
        state.sold += weight
    if rule == "imbalance":
        return abs(state.bought - state.sold) >= state.threshold
    by_side = (state.bought, state.sold, None)[0 if state.sign > 0 else 1 if state.sign else 2]
    return (0 if by_side is None else by_side) >= state.threshold


def _weight(row: Row, size: int, what: str) -> int:
    return {"tick": 1, "vol": size, "val": abs(row.price) * size}[what]


def _expect(state: _Open, adaptive: Adaptive, unit: int, what: str, rule: str) -> None:
    """Moving averages of ticks (in millionths) and of what a tick adds (in whole units)."""
    ticks = len(state.parts)
    moved = _moved(int(state.ticks * 10**6), ticks * 10**6, adaptive.span)
    moved = min(max(moved, adaptive.least * 10**6), adaptive.most * 10**6)
    state.ticks = Fraction(moved, 10**6)
    scale = 10**9 if what == "tick" else 1
    sums = [state.bought - state.sold] if rule == "imbalance" else [state.bought, state.sold]
    averages = [
        _moved(average, round(Fraction(total * scale, ticks * unit)), adaptive.span)
        for average, total in zip(state.averages, sums, strict=False)
    ]
    state.averages = (averages[0], averages[-1])
    expected = round(Fraction(moved * max(map(abs, averages)), 10**6))
    state.threshold = Fraction(expected * unit, scale)


def _moved(average: int, value: int, span: int) -> int:
    return round(Fraction(average * (span - 1) + 2 * value, span + 1))


def _split(state: _Open, row: Row, size: int, threshold: int) -> Sequence[Bar]:
    bars = []
    begins = True
    while True:
        part = min(size, threshold - sum(n for _, n, _ in state.parts))
        state.parts.append((row, part, begins))
        begins = False
        size -= part
        if sum(n for _, n, _ in state.parts) >= threshold:
            bars.append(state.bar())
        if not size:
            return bars


def _renko(state: _Open, row: Row, size: int, height: int) -> Sequence[Bar]:
    state.parts.append((row, size, True))
    bottom, top = state.edges if state.edges is not None else (row.price, row.price)
    bars = []
    while True:
        if row.price >= top + height:
            start, bottom, top = top, top, top + height
        elif row.price <= bottom - height:
            start, bottom, top = bottom, bottom - height, bottom
        else:
            break
        end = top if start == bottom else bottom
        values: dict[str, Any] = {"open": start, "high": top, "low": bottom, "close": end}
        if state.parts:
            bar = state.bar()
        else:
            bar = Bar(row.symbol, row.time, row.time, 0, 0, 0, 0, 0, NONE, 0, 0)
        bars.append(Bar(**{**bar.__dict__, **values}))
    state.edges = (bottom, top)
    return bars

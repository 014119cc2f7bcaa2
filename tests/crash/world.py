"""The market of the crash tests: two files, with all that a feed does to those who read it."""

from __future__ import annotations

__all__ = ("BOUND", "LATENESS", "Quote", "Trade", "World")

import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
BOUND = 500 * MILLISECOND
LATENESS = 2 * SECOND

_START = 1_700_000_000 * SECOND
_POISON = "x"


class Trade(NamedTuple):
    """A trade as it arrives; `price` is None for one that cannot be taken."""

    time: int
    symbol: str
    price: int | None
    size: int
    trade_id: int


class Quote(NamedTuple):
    """A quote as it arrives."""

    time: int
    symbol: str
    bid: int
    ask: int


@dataclass(frozen=True)
class World:
    """What arrives, in order.

    Each symbol numbers its trades without a gap. Some come twice, some out of order within
    the bound, some later than that but not too late for a revision, some too late for all,
    and some have a price that is none.
    """

    trades: list[Trade]
    quotes: list[Quote]

    @staticmethod
    def make(seed: int, *, rows: int = 6_000, seconds: int = 60, symbols: int = 20) -> World:
        """Return the world of a seed."""
        rng = random.Random(seed)
        names = [f"S{n:02d}" for n in range(symbols)]
        counters = dict.fromkeys(names, 0)
        arrivals: list[tuple[int, int, Trade]] = []
        for number in range(rows):
            time = _START + number * seconds * SECOND // rows + rng.randrange(MILLISECOND)
            symbol = rng.choice(names)
            counters[symbol] += 1
            price = None if rng.random() < 0.001 else rng.randrange(90_00, 110_00)
            trade = Trade(time, symbol, price, rng.randrange(1, 100), counters[symbol])
            arrivals.append((time + _delay(rng), number, trade))
            if rng.random() < 0.05:
                arrivals.append((time + rng.randrange(BOUND), rows + number, trade))
        arrivals.sort()
        quotes: list[tuple[int, int, Quote]] = []
        for number in range(rows // 2):
            time = _START + number * seconds * SECOND * 2 // rows + rng.randrange(MILLISECOND)
            bid = rng.randrange(90_00, 110_00)
            quote = Quote(time, rng.choice(names), bid, bid + rng.randrange(1, 9))
            quotes.append(
                (time + (rng.randrange(BOUND) if rng.random() < 0.1 else 0), number, quote)
            )
        quotes.sort()
        return World([trade for *_, trade in arrivals], [quote for *_, quote in quotes])

    def write(self, folder: Path) -> None:
        """Write `trades.csv` and `quotes.csv`."""
        lines = ["ts_event,symbol,price,size,trade_id"]
        lines += [
            f"{t.time},{t.symbol},{_POISON if t.price is None else _cents(t.price)},"
            f"{t.size},{t.trade_id}"
            for t in self.trades
        ]
        (folder / "trades.csv").write_text("\n".join(lines) + "\n")
        lines = ["ts_event,symbol,bid_price,bid_size,ask_price,ask_size"]
        lines += [f"{q.time},{q.symbol},{_cents(q.bid)},1,{_cents(q.ask)},1" for q in self.quotes]
        (folder / "quotes.csv").write_text("\n".join(lines) + "\n")


def _delay(rng: random.Random) -> int:
    chance = rng.random()
    if chance < 0.05:
        return rng.randrange(BOUND)
    if chance < 0.06:
        return BOUND + rng.randrange(LATENESS)
    if chance < 0.063:
        return BOUND + 2 * LATENESS + rng.randrange(SECOND)
    return 0


def _cents(price: int) -> str:
    return f"{price // 100}.{price % 100:02d}"

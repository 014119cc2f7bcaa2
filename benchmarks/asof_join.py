"""Trades and quotes to join as of a time: who is given what, and what is right.

Trades are the generated ticks. Quotes are generated from the same seed, as many and of as
many symbols, each in its own slice of a second so that no two have one time; 1 % of them
come late too, up to 500 ms behind their place.
"""

from __future__ import annotations

__all__ = ("JoinTask", "Joined", "Quotes", "quotes_of")

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.answers import Bars, Difference
from benchmarks.tasks import Task
from benchmarks.ticks import BOUND_NS, EVENT_RATE, SECOND_NS, SEED, START_NS, TickSet

Int64s = npt.NDArray[np.int64]
_CENT = SECOND_NS // 100


@dataclass(frozen=True)
class Quotes:
    """Quotes as arrays; prices fixed point at 1e-9.

    Attributes:
        ts_event: (n,) int64 nanoseconds.
        code: (n,) int32 codes of the symbols.
        bid_price: (n,) int64.
        ask_price: (n,) int64.
    """

    ts_event: Int64s
    code: npt.NDArray[np.int32]
    bid_price: Int64s
    ask_price: Int64s


@dataclass(frozen=True)
class Joined:
    """What an answer comes to, in whatever order its rows are.

    Attributes:
        rows: How many there are.
        without: How many have no quote.
        bids: Sum of the bids, cents.
        turnover: Sum of the asks, cents, times the whole sizes of the trades.
    """

    rows: int
    without: int
    bids: int
    turnover: int


def quotes_of(ticks: TickSet, *, ordered: bool) -> Quotes:
    """Return as many quotes as there are trades.

    Args:
        ticks: The trades.
        ordered: True for the order of event time, else that of arrival.
    """
    rng = np.random.default_rng(SEED + 1)
    rows = ticks.rows
    slice_ns = SECOND_NS // EVENT_RATE
    times = START_NS + np.arange(rows) * slice_ns + rng.integers(0, slice_ns, rows)
    weights = 1 / np.arange(1, ticks.symbols + 1)
    edges = np.cumsum(weights / weights.sum())
    code = np.minimum(np.searchsorted(edges, rng.random(rows)), ticks.symbols - 1)
    bid = rng.integers(1_000, 50_000, rows) * _CENT
    late = np.where(rng.random(rows) < 0.01, rng.integers(0, BOUND_NS, rows), 0)
    order = np.arange(rows) if ordered else np.argsort(times + late, kind="stable")
    columns = (times, code.astype(np.int32), bid, bid + _CENT)
    return Quotes(*(column[order] for column in columns))


class JoinTask(Task):
    """The quote that prevailed for each trade."""

    ordered = True

    def trades(self) -> dict[str, Any]:
        """Return the columns of the trades."""
        ticks = self.ticks.load()
        order: Any = np.argsort(ticks.ts_event, kind="stable") if self.ordered else slice(None)
        names = ("ts_event", "code", "price", "size")
        return {name: getattr(ticks, name)[order] for name in names}

    def quotes(self) -> dict[str, Any]:
        """Return the columns of the quotes."""
        found = quotes_of(self.ticks, ordered=self.ordered)
        return {name: getattr(found, name) for name in Quotes.__annotations__}

    @abstractmethod
    def joined(self, answer: Any) -> Joined:
        """Return what an answer comes to."""

    def bars(self, answer: Any) -> Bars:
        """Refuse: there are no bars in an answer."""
        raise NotImplementedError

    def check(self, answer: Any) -> Difference:
        """Return how an answer differs from that of a binary search in each symbol."""
        found, right = self.joined(answer), self._reference()
        return Difference("" if found == right else f"{found} instead of {right}", ())

    def _reference(self) -> Joined:
        path = self.ticks.folder / "asof.npy"
        if not path.exists():
            np.save(path, np.array(self._worked_out(), np.int64))
        return Joined(*np.load(path).tolist())

    def _worked_out(self) -> tuple[int, ...]:
        trades, quotes = self.ticks.load(), quotes_of(self.ticks, ordered=True)
        totals = np.zeros(4, np.int64)
        for code in range(self.ticks.symbols):
            own = np.flatnonzero(trades.code == code)
            book = np.flatnonzero(quotes.code == code)
            place = np.searchsorted(quotes.ts_event[book], trades.ts_event[own], side="right")
            own, place = own[place > 0], place[place > 0] - 1
            bid, ask = (p[book][place] // _CENT for p in (quotes.bid_price, quotes.ask_price))
            turnover = int((ask * (trades.size[own] // SECOND_NS)).sum())
            totals += (0, -len(own), int(bid.sum()), turnover)
        return (len(trades), len(trades) + int(totals[0] + totals[1]), *totals[2:].tolist())

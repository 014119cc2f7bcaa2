"""A seeded market: rows in order of arrival, with their planted defects, block by block.

Everything follows from raw PCG64 words and integer arithmetic, so a seed means the same
rows on every machine. Rows are made in order of event time and then put in order of
arrival: most arrive in place; *displaced* rows (disordered, late, second copies) arrive
right after an *anchor*, a row in place. The newest event time seen before a displaced row
is therefore its anchor's, and how far it is behind is known without looking at the result.
"""

from __future__ import annotations

__all__ = (
    "BLOCK_ROWS",
    "Block",
    "Market",
    "MarketSettings",
    "quote_columns",
    "trade_columns",
)

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.source.synthetic_prices import FairPrices
from market_data_pipeline.source.synthetic_tables import (
    GAP_BITS,
    STRETCH_COUNT,
    STRETCH_WORDS,
    SYMBOL_BITS,
    gap_table,
    size_table,
    stretches,
    zipf_table,
)

BLOCK_ROWS: Final = 65_536
"""Rows made at a time. Part of what a seed means: it never changes."""

_TICK: Final = 10_000_000  # 0.01 in units of 1e-9
_MIN_TICKS: Final = 8  # keeps every bid above zero
_COPY, _DISORDERED, _LATE = 1, 2, 3

Int64s: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]
Columns: TypeAlias = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSettings:
    """What to make; durations in nanoseconds, shares between 0 and 1."""

    kind: Literal["trades", "quotes"]
    rows: int
    symbol_count: int
    seed: int
    start_ns: int
    rate: float
    zipf: float
    duplicates: float
    disorder: float
    disorder_max_ns: int
    late: float
    late_by_ns: int
    bound_ns: int
    gap: int


@dataclass(frozen=True, slots=True)
class Block:
    """Rows in order of arrival.

    Attributes:
        columns: The market's columns; `symbol` is the symbol's rank, 0 the most active.
        lag: (n,) nanoseconds a row's event time is behind the newest before it, else 0.
        copy: (n,) bool, true for the second arrival of a row.
        drawn: Rows of the market drawn so far, rows lost in the gap included.
    """

    columns: Columns
    lag: Int64s
    copy: npt.NDArray[np.bool_]
    drawn: int

    @property
    def times(self) -> Int64s:
        """The event times, (n,) nanoseconds."""
        times: Int64s = self.columns["ts_event"]
        return times


class Market:
    """Makes the blocks of one feed, in order.

    Attributes:
        gap_rank: Rank of the symbol that has the sequence gap.
        gap_first: First sequence number that is missing, 0 while there is none.
        gap_missing: Sequence numbers that are missing so far.
    """

    def __init__(self, settings: MarketSettings) -> None:
        self._settings = settings
        self._drawn = 0
        self._time = settings.start_ns
        self._prices = FairPrices(settings.seed, settings.symbol_count, settings.start_ns)
        self._symbol_of = zipf_table(settings.symbol_count, settings.zipf)
        self._gap_of = gap_table(settings.rate)
        self._size_of = size_table()
        self._sequence = np.zeros(settings.symbol_count, np.int64)
        self._waiting: Columns = {}
        self._anchor = settings.start_ns
        self.gap_rank = min(1, settings.symbol_count - 1)
        self.gap_first = 0
        self.gap_missing = 0

    def next_block(self) -> Block | None:
        """Return the next rows, possibly none; None after the last."""
        total = self._settings.rows
        if self._drawn == total:
            return None
        first = self._drawn
        bits, plan, pace = self._words(first // BLOCK_ROWS)
        self._drawn = min(total, first + BLOCK_ROWS)
        count = self._drawn - first
        made = self._make(first, bits[:count], plan[:count], pace)
        return self._arrive(made, last=self._drawn == total)

    def _words(self, block: int) -> tuple[Words, Words, Words]:
        kind = 1 if self._settings.kind == "trades" else 2
        generator = np.random.PCG64(np.random.SeedSequence([self._settings.seed, kind, block]))
        words: Words = generator.random_raw(2 * BLOCK_ROWS + STRETCH_WORDS)
        return (
            words[:BLOCK_ROWS],
            words[BLOCK_ROWS : 2 * BLOCK_ROWS],
            words[2 * BLOCK_ROWS :],
        )

    def _make(self, first: int, words: Words, plan: Words, pace: Words) -> Columns:
        """Return the rows in order of event time; `due` and `fate` say how they arrive."""
        bits: Int64s = words.view(np.int64)
        times = self._gap_of[bits & ((1 << GAP_BITS) - 1)]
        times *= np.repeat(stretches(pace), BLOCK_ROWS // STRETCH_COUNT)[: len(times)]
        times //= 1_000
        np.maximum(times, 1, out=times)
        np.cumsum(times, out=times)
        times += self._time
        self._time = int(times[-1])
        symbol = self._symbol_of[(bits >> GAP_BITS) & ((1 << SYMBOL_BITS) - 1)]
        bits = (bits >> (GAP_BITS + SYMBOL_BITS)) & 0x7FFFFFFF
        made: Columns = {"ts_event": times, "symbol": symbol, "sequence": self._number(symbol)}
        fair = self._prices.at(times, symbol)
        if self._settings.kind == "trades":
            made |= trade_columns(bits, fair, self._size_of)
            made["trade_id"] = np.arange(first + 1, first + 1 + len(bits))
        else:
            made |= quote_columns(bits, fair, self._size_of)
        made["fate"], made["due"] = self._fates(plan, times)
        return self._lose(first, made)

    def _number(self, symbol: npt.NDArray[np.uint16]) -> Int64s:
        order = np.argsort(symbol, kind="stable")
        counts = np.bincount(symbol, minlength=len(self._sequence))
        before = np.cumsum(counts) - counts
        sequence = np.empty(len(symbol), np.int64)
        offset = np.repeat(self._sequence - before, counts)
        sequence[order] = np.arange(1, len(symbol) + 1) + offset
        self._sequence += counts
        return sequence

    def _fates(self, plan: Words, times: Int64s) -> tuple[npt.NDArray[np.int8], Int64s]:
        settings = self._settings
        share = (plan >> np.uint64(32)).astype(np.int64)
        depth = (plan & np.uint64(0xFFFFFFFF)).astype(np.int64)
        fate = np.zeros(len(times), np.int8)
        edges = np.cumsum([settings.late, settings.duplicates, settings.disorder])
        late, copied, disordered = (edges * 2**32).astype(np.int64).tolist()
        fate[share < disordered] = _DISORDERED
        fate[share < copied] = _COPY
        fate[share < late] = _LATE
        if self._drawn == settings.rows:
            fate[-1] = 0  # the last row is in place, so that every displaced one has an anchor
        due = np.zeros(len(times), np.int64)
        chosen = np.flatnonzero(fate)
        is_late = fate[chosen] == _LATE
        far = settings.bound_ns + settings.late_by_ns
        span = np.where(is_late, max(1, settings.late_by_ns), max(1, settings.disorder_max_ns))
        behind = 1 + _scaled(depth[chosen], span)
        due[chosen] = times[chosen] + behind + np.where(is_late, far, 0)
        return fate, due

    def _lose(self, first: int, made: Columns) -> Columns:
        settings = self._settings
        middle = settings.rows // 2
        if self.gap_missing == settings.gap or self._drawn <= middle:
            return made
        rows = np.flatnonzero(made["symbol"] == self.gap_rank)
        rows = rows[(rows >= middle - first) & (rows != settings.rows - 1 - first)]
        rows = rows[: settings.gap - self.gap_missing]
        if len(rows) and not self.gap_first:
            self.gap_first = int(made["sequence"][rows[0]])
        self.gap_missing += len(rows)
        return {name: np.delete(column, rows) for name, column in made.items()}

    def _arrive(self, made: Columns, *, last: bool) -> Block:
        """Put rows in order of arrival, keeping back those whose anchor is yet to come."""
        fate = made["fate"]
        in_place = (fate == 0) | (fate == _COPY)
        displaced = np.flatnonzero(fate)
        moved = {name: column[displaced] for name, column in made.items()}
        placed = {name: column[in_place] for name, column in made.items()}
        if self._waiting:
            moved = {
                name: np.concatenate([self._waiting[name], column])
                for name, column in moved.items()
            }
        anchors: Int64s = placed["ts_event"]
        slot, ready = _slots(moved, anchors, last=last)
        self._waiting = {name: column[~ready] for name, column in moved.items()}
        moved = {name: column[ready] for name, column in moved.items()}
        slot = slot[ready]
        before = np.concatenate([[self._anchor], anchors])[slot]
        order = np.lexsort((moved["ts_event"], slot))
        lag = np.maximum(before - moved["ts_event"], 0)[order]
        moved = {name: column[order] for name, column in moved.items()}
        if len(anchors):
            self._anchor = int(anchors[-1])
        return self._merged(placed, moved, slot[order], lag)

    def _merged(self, placed: Columns, moved: Columns, slot: Int64s, lag: Int64s) -> Block:
        count = len(placed["fate"]) + len(slot)
        to = slot + np.arange(len(slot))
        stays = np.ones(count, bool)
        stays[to] = False
        columns: Columns = {}
        for name, column in placed.items():
            if name in {"fate", "due"}:
                continue
            merged = np.empty(count, column.dtype)
            merged[stays] = column
            merged[to] = moved[name]
            columns[name] = merged
        lags = np.zeros(count, np.int64)
        lags[to] = lag
        copy = np.zeros(count, bool)
        copy[to] = moved["fate"] == _COPY
        return Block(columns, lags, copy, self._drawn)


def _slots(moved: Columns, anchors: Int64s, *, last: bool) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Return after how many rows in place each displaced row arrives, and if in this block.

    A disordered row arrives before the first row in place that is newer than its due
    time, a late one after the first that has reached it.
    """
    due = moved["due"]
    is_late = moved["fate"] == _LATE
    slot = np.where(
        is_late,
        np.searchsorted(anchors, due, side="left") + 1,
        np.searchsorted(anchors, due, side="right"),
    )
    ready = np.where(is_late, slot <= len(anchors), slot < len(anchors))
    if last:
        return np.minimum(slot, len(anchors)), np.ones(len(slot), bool)
    return slot, ready


def _scaled(bits: Int64s, span: Int64s) -> Int64s:
    """Return 32-bit words scaled to `0 <= x < span`, without leaving int64."""
    high, low = np.divmod(span, 1 << 31)
    return bits * high // 2 + (bits * low >> 32)


def trade_columns(bits: Int64s, fair: Int64s, size_of: Int64s) -> Columns:
    """Return price, size and side of trades.

    Args:
        bits: (n,) random words of 31 bits.
        fair: (n,) fair prices in ticks.
        size_of: The table of sizes.
    """
    bought = bits & 1
    slip = (bits >> 1 & 3) * (bits >> 3 & 1) - (bits >> 4 & 3) * (bits >> 6 & 1)
    price = (fair + _MIN_TICKS + bought + (slip >> 1)) * _TICK
    size = size_of[bits >> 8 & 0xFF]
    side = np.array([ord("A"), ord("B")], np.uint8)[bought]
    return {"price": price, "size": size, "side": side}


def quote_columns(bits: Int64s, fair: Int64s, size_of: Int64s) -> Columns:
    """Return prices and sizes of the two sides of quotes; see `trade_columns`."""
    bid = (fair + _MIN_TICKS - (bits & 1)) * _TICK
    ask = (fair + _MIN_TICKS + 1 + (bits >> 1 & 1)) * _TICK
    return {
        "bid_price": bid,
        "bid_size": size_of[bits >> 8 & 0xFF],
        "ask_price": ask,
        "ask_size": size_of[bits >> 16 & 0xFF],
    }

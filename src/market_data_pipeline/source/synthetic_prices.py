"""The fair price of every symbol of a synthetic market: random walks in event time."""

from __future__ import annotations

__all__ = ("FairPrices",)

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

_STEP_NS: Final = 250_000_000
_FRACTION_BITS: Final = 10  # the walk is held in 1/1024 of a tick
_PANEL_CELLS: Final = 1 << 18
_BYTES_MEAN: Final = 510  # of the sum of four random bytes
_VOLATILITY: Final = 2_100  # a step of one byte-sum unit moves the price by 1/2100 permille

Int64s: TypeAlias = npt.NDArray[np.int64]


class FairPrices:
    """Random walks on a grid of event time, one a symbol, folded at zero.

    They depend on the seed, the number of symbols and the start alone, so trades and
    quotes made with the same ones are of one market. Times must be asked for in order.
    """

    def __init__(self, seed: int, symbol_count: int, start_ns: int) -> None:
        self._seed = seed
        self._start_ns = start_ns
        self._symbol_count = symbol_count
        self._steps = max(1, _PANEL_CELLS // symbol_count)
        self._panel = -1
        words = self._words(0, symbol_count)
        ticks = 2_000 + (words % np.uint64(38_000)).astype(np.int64)
        self._last = ticks << _FRACTION_BITS
        self._scale = np.maximum(1, (ticks << _FRACTION_BITS) // (_VOLATILITY * 1_000))
        self._walk: Int64s = np.empty((0, symbol_count), np.int64)

    def at(self, times: Int64s, symbols: npt.NDArray[np.uint16]) -> Int64s:
        """Return the fair prices, (n,) ticks >= 0.

        Args:
            times: (n,) rising event times, none before those of the last call's panel.
            symbols: (n,) ranks of symbols.
        """
        step = (times - self._start_ns) // _STEP_NS
        found = np.empty(len(times), np.int64)
        done = 0
        while done < len(times):
            panel = int(step[done]) // self._steps
            self._move_to(panel)
            first = panel * self._steps
            stop = int(np.searchsorted(step, first + self._steps, side="left"))
            found[done:stop] = self._walk[step[done:stop] - first, symbols[done:stop]]
            done = stop
        return np.abs(found) >> _FRACTION_BITS

    def _move_to(self, panel: int) -> None:
        while self._panel < panel:
            self._panel += 1
            words = self._words(self._panel + 1, self._steps * self._symbol_count // 2 + 1)
            parts = words.astype("<u8", copy=False).view(np.uint8)[
                : self._steps * self._symbol_count * 4
            ]
            sums = parts.reshape(self._steps, self._symbol_count, 4).sum(axis=2, dtype=np.int64)
            walk = np.cumsum((sums - _BYTES_MEAN) * self._scale, axis=0) + self._last
            self._last = walk[-1]
            self._walk = walk

    def _words(self, number: int, count: int) -> npt.NDArray[np.uint64]:
        generator = np.random.PCG64(np.random.SeedSequence([self._seed, 0, number]))
        words: npt.NDArray[np.uint64] = generator.random_raw(count)
        return words

"""The functions on rows that are given to every engine, and what must come of them."""

from __future__ import annotations

__all__ = ("Row", "check_rows", "doubled", "is_large")

from typing import Any, NamedTuple

import numpy as np

from benchmarks.answers import Difference
from benchmarks.ticks import SECOND_NS, Ticks, TickSet, symbol_names

LEAST = 100


def doubled(row: Any) -> Any:
    """Return a row with twice the size: the `map`."""
    return row.replace(size=row.size * 2)


def is_large(row: Any) -> bool:
    """Tell whether a row is to be kept: the `filter`."""
    return bool(row.size > LEAST)


class Row(NamedTuple):
    """A row for engines that have no rows of their own, as cheap as Python makes them."""

    ts_event: int
    symbol: str
    price: float
    size: int

    def replace(self, size: int) -> Row:
        """Return the row with another size."""
        return Row(self.ts_event, self.symbol, self.price, size)

    @staticmethod
    def of(ticks: Ticks, symbols: int) -> list[Row]:
        """Return the rows of ticks."""
        names = symbol_names(symbols)
        return [
            Row(time, names[code], price, size)
            for time, code, price, size in zip(
                ticks.ts_event.tolist(),
                ticks.code.tolist(),
                (ticks.price / 1e9).tolist(),
                (ticks.size // SECOND_NS).tolist(),
                strict=True,
            )
        ]


def check_rows(ticks: TickSet, rows: int, size: int) -> Difference:
    """Compare the number of rows kept and the sum of their sizes with the right ones."""
    sizes = 2 * (ticks.load().size // SECOND_NS)
    kept = sizes[sizes > LEAST]
    right = len(kept), int(np.sum(kept))
    return Difference("" if (rows, size) == right else f"{rows, size} is not {right}", ())

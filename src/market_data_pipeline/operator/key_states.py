"""One row of numbers for each key, forgotten when the key has had no row for long."""

from __future__ import annotations

__all__ = ("KeyStates",)

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch
from market_data_pipeline.operator.key_slots import KeySlots, key_slots_of
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]

_LEAST_ROWS: Final = 16


class KeyStates:
    """A table of int64 with a row for each key.

    A kernel makes word 0 other than zero when it takes the first row of a key, keeps the
    key's highest event time in another word, and takes the key for a new one once the
    watermark has reached that time plus `forget_ns`; so rows can be freed from then on.

    Args:
        names: Columns of the key.
        words: Words of a row.
        highest: Which word holds the highest event time.
        forget_ns: How long a key without a row is remembered, event time.

    Attributes:
        table: (k, words) int64, zeros where there is no key.
    """

    def __init__(self, names: Sequence[str], *, words: int, highest: int, forget_ns: int) -> None:
        self._names = tuple(names)
        self._highest = highest
        self._forget = forget_ns
        self._keys: KeySlots | None = None
        self.table = np.zeros((_LEAST_ROWS, words), np.int64)

    @property
    def bound(self) -> bool:
        """True once the columns are known."""
        return self._keys is not None

    def bind(self, schema: Schema, node: str) -> None:
        """Learn the columns of the key.

        Raises:
            SchemaError: If one is missing, or of a type that cannot be compared.
        """
        self._keys = key_slots_of(schema, self._names, node)

    def slots(
        self, batch: Batch, watermark: int, drop: Callable[[Int64s], None] | None = None
    ) -> npt.NDArray[Any]:
        """Return which row of the table belongs to each row of a batch.

        Args:
            batch: The rows.
            watermark: The watermark before them.
            drop: Told the rows of the table that are freed, before they are.
        """
        keys = self._known
        if keys.crowded(len(batch)):
            there = self.table[:, 0] != 0
            # Compared as the kernel does: an expiry past the last instant never comes.
            live = there & (self.table[:, self._highest] > watermark - self._forget)
            if drop is not None:
                drop(np.flatnonzero(there & ~live))
            kept = keys.compact(live)
            self.table[: len(kept)] = self.table[kept]
            self.table[len(kept) :] = 0
        slots = keys.slots(batch)
        self._make_room(keys.used(batch))
        return slots

    def saved(self, slots: Int64s, symbols: SymbolTable) -> tuple[Any, Any, Any]:
        """Return key groups and keys of rows of the table, as they are saved."""
        return self._known.saved(slots, symbols)

    def loaded(self, first: Any, second: Any, symbols: SymbolTable) -> Int64s:
        """Return the rows of the table for saved keys.

        Raises:
            SnapshotError: If they were saved of columns of other types.
        """
        slots = self._known.loaded(first, second, symbols)
        if len(slots):
            self._make_room(int(slots.max()) + 1)
        return slots

    @property
    def _known(self) -> KeySlots:
        assert self._keys is not None  # noqa: S101 - bound with the first rows
        return self._keys

    def _make_room(self, rows: int) -> None:
        have = len(self.table)
        if rows > have:
            added = max(rows, 2 * have) - have
            more = np.zeros((added, self.table.shape[1]), np.int64)
            self.table = np.concatenate([self.table, more])

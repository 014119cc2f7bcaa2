"""A small number for each key, to be the place of its state in an array."""

from __future__ import annotations

__all__ = ("KeySlots", "key_slots_of")

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.operator.keys import key_of
from market_data_pipeline.records import Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]

_LEAST_PLACES: Final = 1024


class KeySlots(Protocol):
    """Knows the slot of each key; slots are dense and start at 0."""

    def slots(self, batch: Batch) -> npt.NDArray[Any]:
        """Return the slot of each row's key, (n,) int32 or int64."""
        ...

    def used(self, batch: Batch) -> int:
        """Return a number above all slots of a batch that `slots` was asked for."""
        ...

    def crowded(self, rows: int) -> bool:
        """Tell whether so many more keys need room; then `compact` is worth its time."""
        ...

    def compact(self, live: npt.NDArray[np.bool_]) -> Int64s:
        """Forget the keys whose slots are not live; return the old slot of each new one."""
        ...

    def saved(self, slots: Int64s, symbols: SymbolTable) -> tuple[Any, Any, Any]:
        """Return the key group and the key of each slot as they are saved."""
        ...

    def loaded(self, first: Any, second: Any, symbols: SymbolTable) -> Int64s:
        """Return the slots of saved keys, which may come several times.

        Raises:
            SnapshotError: If they were saved of columns of other types.
        """
        ...


def key_slots_of(schema: Schema, names: Sequence[str], node: str) -> KeySlots:
    """Return how to number the keys made of some columns; of none, there is one key.

    Raises:
        SchemaError: If a column is missing, or of a type that cannot be compared.
    """
    if not names:
        return _OneKey()
    if len(names) == 1 and names[0] in schema and schema[names[0]].kind is Kind.SYMBOL:
        return _Symbols(names[0])
    return _Table(key_of(schema, names, node))


class _Direct:
    """Slots that are known without a table."""

    def crowded(self, rows: int) -> bool:  # noqa: ARG002
        return False

    def compact(self, live: npt.NDArray[np.bool_]) -> Int64s:
        return np.arange(len(live))


class _OneKey(_Direct):
    def __init__(self) -> None:
        self._zeros = np.zeros(1, np.int32)

    def slots(self, batch: Batch) -> npt.NDArray[Any]:
        if len(self._zeros) < len(batch):
            self._zeros = np.zeros(len(batch), np.int32)
        return self._zeros[: len(batch)]

    def used(self, batch: Batch) -> int:  # noqa: ARG002
        return 1

    def saved(self, slots: Int64s, symbols: SymbolTable) -> tuple[Any, Any, Any]:  # noqa: ARG002
        zeros = np.zeros(len(slots), np.int64)
        return zeros.astype(np.int16), zeros, zeros

    def loaded(self, first: Any, second: Any, symbols: SymbolTable) -> Int64s:  # noqa: ARG002
        return np.zeros(len(first), np.int64)


class _Symbols(_Direct):
    """The codes of symbols are dense themselves."""

    def __init__(self, name: str) -> None:
        self._name = name

    def slots(self, batch: Batch) -> npt.NDArray[Any]:
        return np.ascontiguousarray(batch.columns[self._name])

    def used(self, batch: Batch) -> int:
        return len(batch.symbols)

    def saved(self, slots: Int64s, symbols: SymbolTable) -> tuple[Any, Any, Any]:
        names = np.array([symbols.name(slot) for slot in slots.tolist()], np.str_)
        groups = symbols.key_groups(slots.astype(np.int32))
        return groups, names, np.zeros(len(slots), np.int64)

    def loaded(self, first: Any, second: Any, symbols: SymbolTable) -> Int64s:  # noqa: ARG002
        if len(first) and first.dtype.kind != "U":
            msg = "the saved keys are of columns of other types"
            raise SnapshotError(msg)
        return symbols.encode_texts(first).astype(np.int64)


class _Table:
    """A hash table from key to slot."""

    def __init__(self, key: Any) -> None:
        from market_data_pipeline.kernels.key_slots import find_slots, insert_slots

        self._key = key
        self._find = find_slots
        self._insert = insert_slots
        self._places = np.full(_LEAST_PLACES, -1, np.int32)
        self._keys = np.empty((_LEAST_PLACES // 2, 2), np.int64)
        self._used = 0

    def slots(self, batch: Batch) -> npt.NDArray[Any]:
        first, second = self._key.halves(batch)
        return self._slots(np.ascontiguousarray(first), np.ascontiguousarray(second))

    def _slots(self, first: npt.NDArray[Any], second: Int64s) -> Int64s:
        if self.crowded(len(second)):
            self._make_anew(self._keys[: self._used], self._used + len(second))
        out = np.empty(len(second), np.int64)
        self._used = self._find(self._places, self._keys, self._used, first, second, out)
        return out

    def used(self, batch: Batch) -> int:  # noqa: ARG002
        return self._used

    def crowded(self, rows: int) -> bool:
        return self._used + rows > len(self._keys)

    def compact(self, live: npt.NDArray[np.bool_]) -> Int64s:
        kept = np.flatnonzero(live[: self._used])
        self._make_anew(self._keys[kept], 0)
        return kept

    def _make_anew(self, keys: Int64s, room: int) -> None:
        # A quarter full at most, so that it is not soon made anew again.
        places = max(_LEAST_PLACES, 1 << (4 * max(len(keys), room // 2) - 1).bit_length())
        self._used = len(keys)
        table = np.empty((places // 2, 2), np.int64)
        table[: len(keys)] = keys
        self._keys = table
        self._places = np.full(places, -1, np.int32)
        self._insert(self._places, self._keys, self._used)

    def saved(self, slots: Int64s, symbols: SymbolTable) -> tuple[Any, Any, Any]:
        halves = (self._keys[slots, 0], self._keys[slots, 1])
        first, second = self._key.saved(halves, symbols)
        return self._key.groups(halves, symbols), first, second

    def loaded(self, first: Any, second: Any, symbols: SymbolTable) -> Int64s:
        one, two = self._key.loaded(first, second, symbols)
        return self._slots(one, two)

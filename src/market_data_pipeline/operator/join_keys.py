"""The keys of a join as small numbers, the same for both sides."""

from __future__ import annotations

__all__ = ("JoinKeys", "check_keys", "keys_for")

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.keys import key_of
from market_data_pipeline.records import Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Ids = npt.NDArray[np.int32]
_LEAST_SLOTS = 1024


def check_keys(left: Schema, right: Schema, names: Sequence[str], node: str) -> None:
    """Do nothing if both sides have the columns of the key, of the same types.

    Raises:
        SchemaError: If a column is missing, differs, or cannot be compared.
    """
    if not names:
        return
    key_of(left, names, node)
    key_of(right, names, node)
    for name in names:
        if left[name] != right[name]:
            msg = (
                f"`{name}` is {left[name]} on the left and {right[name]} on the right of "
                f"`{node}`; bring them to one type with `assign`"
            )
            raise SchemaError(msg, node=node)


def keys_for(names: Sequence[str], schema: Schema, node: str) -> JoinKeys:
    """Return how to number the keys of the rows of a schema and of those that fit it."""
    if not names:
        return _NoKeys()
    if len(names) == 1 and schema[names[0]].kind is Kind.SYMBOL:
        return _SymbolKeys(names[0])
    return _TableKeys(names, schema, node)


class JoinKeys(Protocol):
    """Numbers for keys.

    Attributes:
        count: Every number given so far is below this.
    """

    count: int

    def ids(self, batch: Batch, *, adding: bool) -> Ids:
        """Return the number of each row's key, (n,) int32; may be -1 if not `adding`."""
        ...

    def groups(self, batch: Batch) -> npt.NDArray[np.int16]:
        """Return the key group of each row, (n,) int16."""
        ...

    def forget(self) -> None:
        """Begin anew: the keys of the rows that stay are numbered again."""
        ...


class _NoKeys:
    """One key for all rows."""

    def __init__(self) -> None:
        self.count = 1
        self._zeros = np.zeros(1, np.int32)

    def ids(self, batch: Batch, *, adding: bool) -> Ids:  # noqa: ARG002
        if len(self._zeros) < len(batch):
            self._zeros = np.zeros(len(batch), np.int32)
        return self._zeros[: len(batch)]

    def groups(self, batch: Batch) -> npt.NDArray[np.int16]:
        return np.zeros(len(batch), np.int16)

    def forget(self) -> None:
        return


class _SymbolKeys:
    """A symbol's code is its number."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.count = 0

    def ids(self, batch: Batch, *, adding: bool) -> Ids:  # noqa: ARG002
        self.count = len(batch.symbols)
        return np.ascontiguousarray(batch[self._name])

    def groups(self, batch: Batch) -> npt.NDArray[np.int16]:
        return batch.symbols.key_groups(batch[self._name])

    def forget(self) -> None:
        return


class _TableKeys:
    """Keys of any columns, numbered as they come."""

    def __init__(self, names: Sequence[str], schema: Schema, node: str) -> None:
        from market_data_pipeline.kernels.key_ids import find_ids

        self._find = find_ids
        self._key = key_of(schema, names, node)
        self.count = 0
        self._first = self._second = np.empty(0, np.int64)
        self._make_anew(_LEAST_SLOTS)

    def _make_anew(self, slots: int) -> None:
        count = self.count
        first, second = self._first[:count], self._second[:count]
        self._slots = np.full(slots, -1, np.int32)
        self._first = np.empty(slots // 2, np.int64)
        self._second = np.empty(slots // 2, np.int64)
        again = np.empty(count, np.int32)
        self._find(self._slots, self._first, self._second, 0, first, second, 1, again)

    def _halves(self, batch: Batch) -> tuple[Any, Any]:
        first, second = self._key.halves(batch)
        return np.ascontiguousarray(first, np.int64), np.ascontiguousarray(second, np.int64)

    def ids(self, batch: Batch, *, adding: bool) -> Ids:
        first, second = self._halves(batch)
        needed = self.count + len(batch)
        if adding and needed > len(self._first):
            self._make_anew(1 << (2 * needed - 1).bit_length())
        out = np.empty(len(batch), np.int32)
        self.count = self._find(
            self._slots, self._first, self._second, self.count, first, second, int(adding), out
        )
        return out

    def groups(self, batch: Batch) -> npt.NDArray[np.int16]:
        symbols: SymbolTable = batch.symbols
        return self._key.groups(self._key.halves(batch), symbols)

    def forget(self) -> None:
        self.count = 0
        self._make_anew(_LEAST_SLOTS)

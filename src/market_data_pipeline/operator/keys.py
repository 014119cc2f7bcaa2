"""The key of a row as two int64: exact where it fits, else a fingerprint."""

from __future__ import annotations

__all__ = ("ExactKey", "HashedKey", "key_of")

from collections.abc import Sequence
from typing import Any

import mmh3
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.errors import SchemaError, SnapshotError
from market_data_pipeline.kernels.murmur import hash_bytes
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.records import Kind, Schema
from market_data_pipeline.symbols import KEY_GROUP_COUNT, SymbolTable

Halves = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]

_INTEGERS = frozenset({Kind.TIME, Kind.SYMBOL, Kind.FIXED, Kind.INT, Kind.CHAR, Kind.BOOL})
_GROUP_BITS = KEY_GROUP_COUNT - 1


def key_of(schema: Schema, names: Sequence[str], node: str) -> ExactKey | HashedKey:
    """Return how to make keys of some columns.

    Raises:
        SchemaError: If a column is missing, or of a type that cannot be compared.
    """
    check_columns(schema, names, node)
    for name in names:
        field = schema[name]
        if field.kind is Kind.ARROW and pa.types.is_nested(field.arrow):
            msg = f"`{name}` of type {field.arrow} cannot be part of a key"
            raise SchemaError(msg, node=node)
    if len(names) <= 2 and all(schema[name].kind in _INTEGERS for name in names):
        return ExactKey(schema, names)
    return HashedKey(schema, names)


class ExactKey:
    """One or two columns that are integers inside; a symbol comes first."""

    hashed = False

    def __init__(self, schema: Schema, names: Sequence[str]) -> None:
        ordered = sorted(names, key=lambda name: schema[name].kind is not Kind.SYMBOL)
        self._first = ordered[0] if len(ordered) == 2 else None
        self._second = ordered[-1]
        self._zeros = np.zeros(1, np.int32)
        symbol = [schema[name].kind is Kind.SYMBOL for name in ordered]
        self._symbolic = symbol if len(ordered) == 2 else [False, *symbol]

    def halves(self, batch: Batch) -> Halves:
        """Return the key of each row, (n,) int32 or int64 and (n,) int64."""
        second = _int64s(batch[self._second])
        if self._first is None:
            if len(self._zeros) < len(batch):
                self._zeros = np.zeros(len(batch), np.int32)
            return self._zeros[: len(batch)], second
        first: Any = batch[self._first]
        return (first if first.dtype == np.int32 else _int64s(first)), second

    def saved(self, halves: Halves, symbols: SymbolTable) -> Halves:
        """Return keys as they are saved: names in the place of symbol codes."""
        saved: list[Any] = [
            symbols.texts(half.astype(np.int32, copy=False)) if symbolic else half
            for half, symbolic in zip(halves, self._symbolic, strict=True)
        ]
        return saved[0], saved[1]

    def loaded(self, first: Any, second: Any, symbols: SymbolTable) -> Halves:
        """Return saved keys as they are in this run.

        Raises:
            SnapshotError: If they were saved of columns of other types.
        """
        halves = []
        for half, symbolic in zip((first, second), self._symbolic, strict=True):
            if len(half) and symbolic != (half.dtype.kind == "U"):
                msg = "the saved keys are of columns of other types"
                raise SnapshotError(msg)
            halves.append(_int64s(symbols.encode_texts(half) if symbolic else half))
        return halves[0], halves[1]

    def groups(self, halves: Halves, symbols: SymbolTable) -> npt.NDArray[np.int16]:
        """Return the key group of each key, (n,) int16."""
        for half, symbolic in zip(halves, self._symbolic, strict=True):
            if symbolic:
                return symbols.key_groups(half.astype(np.int32))
        first, _ = _hash_rows(list(halves))
        return (first & _GROUP_BITS).astype(np.int16)


class HashedKey:
    """Columns of any number and type as a 128-bit fingerprint of their content.

    MurmurHash3 (x64, 128 bit). The lowest seven bits of the first half are the key group,
    which is the symbol's where the key has a symbol. That two of n different keys have one
    fingerprint has a probability of about n**2 / 2**122: less than 1e-18 for a billion keys.
    """

    hashed = True

    def __init__(self, schema: Schema, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._symbol = next((n for n in names if schema[n].kind is Kind.SYMBOL), None)
        self._known: npt.NDArray[np.int64] = np.empty((0, 2), np.int64)

    def halves(self, batch: Batch) -> Halves:
        """Return the fingerprint of each row, two (n,) int64."""
        parts: list[npt.NDArray[np.int64]] = []
        for name in self._names:
            column = batch[name]
            if batch.schema[name].kind is Kind.SYMBOL:
                hashes = self._symbol_hashes(batch.symbols)[column]
                parts += (hashes[:, 0], hashes[:, 1])
            else:
                parts += _stable_parts(column)
        first, second = _hash_rows(parts)
        if self._symbol is not None:
            codes: Any = batch[self._symbol]
            first = (first & ~_GROUP_BITS) | batch.symbols.key_groups(codes)
        return first, second

    def saved(self, halves: Halves, symbols: SymbolTable) -> Halves:  # noqa: ARG002
        """Return keys as they are saved: a fingerprint has no symbol codes in it."""
        return halves

    def loaded(self, first: Any, second: Any, symbols: SymbolTable) -> Halves:  # noqa: ARG002
        """Return saved keys as they are in this run.

        Raises:
            SnapshotError: If they were saved of columns of other types.
        """
        if first.dtype.kind == "U" or second.dtype.kind == "U":
            msg = "the saved keys are of columns of other types"
            raise SnapshotError(msg)
        return _int64s(first), _int64s(second)

    def groups(self, halves: Halves, symbols: SymbolTable) -> npt.NDArray[np.int16]:  # noqa: ARG002
        """Return the key group of each key, (n,) int16."""
        return (halves[0] & _GROUP_BITS).astype(np.int16)

    def _symbol_hashes(self, symbols: SymbolTable) -> npt.NDArray[np.int64]:
        known = len(self._known)
        if known < len(symbols):
            added = [mmh3.hash64(name.encode()) for name in symbols.names[known:]]
            self._known = np.concatenate([self._known, np.array(added, np.int64)])
        return self._known


def _int64s(column: Any) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(column, np.int64)


def _stable_parts(column: Column) -> list[npt.NDArray[np.int64]]:
    """Return a column as int64 columns that are equal where its values are."""
    if not isinstance(column, pa.Array):
        if column.dtype == np.float64:
            # Zero has two signs and NaN many forms; one of each, to be equal as bits.
            plain = np.where(np.isnan(column), np.nan, column + 0.0)
            return [plain.view(np.int64)]
        return [_int64s(column)]
    parts = list(_text_hashes(column))
    if column.null_count:
        parts.append(_int64s(column.is_null().to_numpy(zero_copy_only=False)))
    else:
        parts.append(np.zeros(len(column), np.int64))
    return parts


def _text_hashes(column: pa.Array) -> Halves:
    if not (pa.types.is_large_binary(column.type) or pa.types.is_binary(column.type)):
        column = pc.cast(column, pa.large_string())
    column = pc.cast(
        pc.fill_null(column, b"" if pa.types.is_binary(column.type) else ""), pa.large_binary()
    )
    _, offsets, data = column.buffers()
    first, second = np.empty(len(column), np.int64), np.empty(len(column), np.int64)
    starts = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    hash_bytes(content, starts, first, second)
    return first, second


def _hash_rows(parts: Sequence[npt.NDArray[Any]]) -> Halves:
    rows = np.empty((len(parts[0]), len(parts)), np.int64)
    for i, part in enumerate(parts):
        rows[:, i] = part
    width = 8 * len(parts)
    offsets = np.arange(0, width * (len(rows) + 1), width, dtype=np.int64)
    first, second = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    hash_bytes(rows.reshape(-1).view(np.uint8), offsets, first, second)
    return first, second

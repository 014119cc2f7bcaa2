"""Batches to the binary form of PostgreSQL's COPY, column by column.

A cell is four bytes of length and the value; -1 stands for NULL. The cells of many rows
are laid side by side in one array of bytes, as wide as the widest row, and what a row does
not use is left out at the end. So no row costs a call of Python.
"""

from __future__ import annotations

__all__ = ("SIGNATURE", "TRAILER", "CopyRows")

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.sink.postgres_sql import Times
from market_data_pipeline.symbols import SymbolTable

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
"""What comes before the first row."""
TRAILER: Final = b"\xff\xff"
"""What comes after the last row."""

_CHUNK_BYTES: Final = 4 * 1024 * 1024
_EPOCH_US: Final = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from which PostgreSQL counts."""
_EPOCH_DAYS: Final = 10_957
_NEGATIVE: Final = 0x4000

Bytes: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Cells:
    """One column of rows.

    Attributes:
        values: (n, width) bytes.
        lengths: (n,) how many of them a cell has; None if all.
        missing: (n,) true where a cell is NULL; None if none is.
    """

    values: Bytes
    lengths: npt.NDArray[np.int64] | None = None
    missing: Mask | None = None


@final
class CopyRows:
    """Makes rows of one schema into bytes for COPY.

    Attributes:
        shortened: Times that lost nanoseconds, so far.
    """

    def __init__(self, schema: Schema, columns: Sequence[str], times: Times) -> None:
        """Settle the columns.

        Args:
            schema: The columns of the batches.
            columns: Those to write, in order.
            times: How times are kept.
        """
        self._fields = [schema[name] for name in columns]
        self._times = times
        self._names: tuple[SymbolTable, int, Bytes, npt.NDArray[np.int64]] | None = None
        self.shortened = 0

    def encoded(self, batch: Batch) -> Iterator[bytes]:
        """Give the rows of a batch in pieces of some megabytes.

        Raises:
            OutputError: If a text holds a zero byte, which PostgreSQL cannot keep.
        """
        rows = max(1, len(batch))
        start = 0
        while start < len(batch):
            part = batch.slice(start, start + rows)
            width = self._width(part)
            if width * len(part) > _CHUNK_BYTES and len(part) > 1:
                rows = max(1, min(len(part) // 2, _CHUNK_BYTES // width))
                continue
            yield self._rows(part)
            start += len(part)

    def _width(self, batch: Batch) -> int:
        """Return about how many bytes the widest row has."""
        width = 2
        for field in self._fields:
            column = batch[field.name]
            width += 32
            if field.kind is Kind.ARROW and _is_text(column.type):
                width += int(np.diff(_offsets(column)).max(initial=0))
        return width

    def _rows(self, batch: Batch) -> bytes:
        cells = [self._cells(field, batch) for field in self._fields]
        width = 2 + sum(4 + cell.values.shape[1] for cell in cells)
        rows = np.empty((len(batch), width), np.uint8)
        rows[:, :2] = np.frombuffer(len(cells).to_bytes(2, "big"), np.uint8)
        kept: Mask | None = None
        at = 2
        for cell in cells:
            size = cell.values.shape[1]
            lengths = cell.lengths
            if cell.missing is not None:
                lengths = np.where(cell.missing, -1, size if lengths is None else lengths)
            if lengths is None:
                rows[:, at : at + 4] = np.frombuffer(size.to_bytes(4, "big"), np.uint8)
            else:
                rows[:, at : at + 4] = _big(lengths, ">i4")
                if kept is None:
                    kept = np.ones((len(batch), width), np.bool_)
                kept[:, at + 4 : at + 4 + size] = np.arange(size) < lengths[:, None]
            rows[:, at + 4 : at + 4 + size] = cell.values
            at += 4 + size
        return rows.tobytes() if kept is None else rows[kept].tobytes()

    def _cells(self, field: Field, batch: Batch) -> _Cells:
        column: Any = batch[field.name]
        if field.kind is Kind.TIME:
            return self._time(column)
        if field.kind is Kind.SYMBOL:
            names, lengths = self._symbols(batch.symbols)
            return _Cells(names[column], lengths[column])
        if field.kind is Kind.FIXED:
            missing = _undefined(column)
            values = column if missing is None else np.where(missing, 0, column)
            return _Cells(_numeric(values, field.scale), None, missing)
        if field.kind is Kind.INT:
            return _Cells(_big(column, ">i8"), None, _undefined(column))
        if field.kind is Kind.FLOAT:
            return _Cells(_big(column, ">f8"))
        if field.kind is Kind.BOOL:
            return _Cells(_big(column, "u1"))
        if field.kind is Kind.CHAR:
            return _letters(column)
        return self._arrow(field, column)

    def _time(self, values: npt.NDArray[np.int64]) -> _Cells:
        missing = _undefined(values)
        if self._times == "bigint":
            return _Cells(_big(values, ">i8"), None, missing)
        micros, rest = np.divmod(values, 1000)
        self.shortened += int(np.count_nonzero(rest if missing is None else rest[~missing]))
        return _Cells(_big(micros - _EPOCH_US, ">i8"), None, missing)

    def _symbols(self, symbols: SymbolTable) -> tuple[Bytes, npt.NDArray[np.int64]]:
        known = self._names
        if known is None or known[0] is not symbols or known[1] != len(symbols):
            names = symbols.arrow_names()
            cells = _text("symbol", names)
            lengths = np.diff(_offsets(names)).astype(np.int64)
            known = self._names = (symbols, len(symbols), cells.values, lengths)
        return known[2], known[3]

    def _arrow(self, field: Field, column: Any) -> _Cells:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
            kind = column.type
        if _is_text(kind):
            return _text(field.name, column)
        missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        if pa.types.is_timestamp(kind):
            whole = column.cast(pa.timestamp("ns", kind.tz)).view(pa.int64())
            cells = self._time(_filled(whole, UNDEFINED))
        elif pa.types.is_decimal(kind):
            cells = _decimals(column, kind.scale)
        elif pa.types.is_date(kind):
            cells = _Cells(_big(_filled(column.view(pa.int32()), 0) - _EPOCH_DAYS, ">i4"))
        elif pa.types.is_floating(kind):
            cells = _Cells(_big(_filled(column.cast(pa.float64()), 0), ">f8"))
        elif pa.types.is_boolean(kind):
            cells = _Cells(_big(_filled(column, value=False), "u1"))
        else:
            cells = _Cells(_big(_filled(column.cast(pa.int64()), 0), ">i8"))
        cells.missing = missing
        return cells


def _big(values: npt.NDArray[Any], code: str) -> Bytes:
    """Return numbers as (n, width) bytes, the highest first."""
    ordered = np.ascontiguousarray(values.astype(code))
    cells: Bytes = ordered.view(np.uint8).reshape(len(values), ordered.itemsize)
    return cells


def _undefined(values: npt.NDArray[np.int64]) -> Mask | None:
    missing: Mask = values == UNDEFINED
    return missing if missing.any() else None


def _filled(column: Any, value: Any) -> npt.NDArray[Any]:
    filled = column.fill_null(value) if column.null_count else column
    array: npt.NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return array


def _numeric(values: npt.NDArray[np.int64], scale: int) -> Bytes:
    """Return fixed point as PostgreSQL's numbers: digits to the base of 10,000.

    All have as many digits, with zeros at the ends, which the server drops.
    """
    magnitude = np.abs(values).view(np.uint64)
    whole, rest = np.divmod(magnitude, np.uint64(10**scale))
    count_after = -(-scale // 4)
    count_before = 1
    while count_before < 5 and int(whole.max(initial=0)) >= 10_000**count_before:
        count_before += 1
    cells = np.empty((len(values), 4 + count_before + count_after), ">u2")
    cells[:, 0] = count_before + count_after
    cells[:, 1] = count_before - 1
    cells[:, 2] = np.where(values < 0, _NEGATIVE, 0)
    cells[:, 3] = scale
    base = np.uint64(10_000)
    for at in range(count_before - 1, -1, -1):
        whole, digit = np.divmod(whole, base)
        cells[:, 4 + at] = digit
    if count_after:
        used = 4 - (count_after * 4 - scale)
        rest, digit = np.divmod(rest, np.uint64(10**used))
        cells[:, 4 + count_before + count_after - 1] = digit * np.uint64(10 ** (4 - used))
        for at in range(count_after - 2, -1, -1):
            rest, digit = np.divmod(rest, base)
            cells[:, 4 + count_before + at] = digit
    return cells.view(np.uint8)


def _decimals(column: Any, scale: int) -> _Cells:
    words = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)]
    values = np.where(column.is_null().to_numpy(zero_copy_only=False), 0, words[:, 0])
    wide = (words[:, 1] != words[:, 0] >> 63) & column.is_valid().to_numpy(zero_copy_only=False)
    if 0 <= scale <= 18 and not wide.any():
        return _Cells(_numeric(values, scale))
    return _joined([_wide(value) for value in column.to_pylist()])


def _wide(value: Decimal | None) -> bytes:
    """Return one number of any size."""
    if value is None:
        return b""
    sign, digits, exponent = value.as_tuple()
    places = max(0, -int(exponent))
    after = -(-places // 4)
    number = int("".join(map(str, digits))) * 10 ** (after * 4 - places + max(0, int(exponent)))
    found: list[int] = []
    while number:
        number, digit = divmod(number, 10_000)
        found.append(digit)
    found.extend([0] * (after + 1 - len(found)))
    header = [len(found), len(found) - after - 1, _NEGATIVE if sign else 0, places]
    return np.array([*header, *reversed(found)], ">u2").tobytes()


def _letters(values: npt.NDArray[np.uint8]) -> _Cells:
    missing = values == 0
    if values.max(initial=0) < 128:
        return _Cells(values.reshape(-1, 1).copy(), None, missing if missing.any() else None)
    cells = _joined([chr(code).encode() for code in values.tolist()])
    cells.missing = missing
    return cells


def _joined(values: Sequence[bytes]) -> _Cells:
    return _text("", pa.array(values, pa.binary()), binary=True)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _offsets(column: Column) -> npt.NDArray[Any]:
    array: Any = column
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    if len(array) == 0:
        return np.zeros(1, np.int64)
    offsets = np.frombuffer(array.buffers()[1], np.int64 if large else np.int32)
    return offsets[array.offset : array.offset + len(array) + 1]


def _text(name: str, column: Any, *, binary: bool = False) -> _Cells:
    offsets = _offsets(column).astype(np.int64)
    missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    lengths = np.diff(offsets)
    width = int(lengths.max(initial=0))
    data = column.buffers()[2] if len(column) else None
    if width == 0 or data is None:
        return _Cells(np.empty((len(column), 0), np.uint8), np.zeros_like(lengths), missing)
    source = np.frombuffer(data, np.uint8)
    is_binary = binary or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    if not is_binary and not source[offsets[0] : offsets[-1]].all():
        msg = f"a text in column `{name}` holds a zero byte, which PostgreSQL cannot keep"
        raise OutputError(msg)
    places = np.minimum(offsets[:-1, None] + np.arange(width), len(source) - 1)
    return _Cells(source[places], lengths, missing)

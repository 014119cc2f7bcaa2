"""A file's column, whatever its type, to one of ours: values and a status for each row."""

from __future__ import annotations

__all__ = (
    "Cells",
    "Column",
    "Text",
    "Values",
    "by_dictionary",
    "cell_text",
    "row_text",
    "filled",
    "is_text",
    "plain",
    "plain_type",
    "text_of",
    "to_array",
    "to_bools",
    "to_fixed",
    "to_ints",
    "to_sides",
    "to_strings",
    "to_typed",
    "with_nulls",
)

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from market_data_pipeline.kernels import status as st

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
Cells = tuple[Values, Bytes | None]
"""Values, and the status of each row (`kernels.status`), or None where all are `OK`."""

_NO_BYTES: Final = np.zeros(1, np.uint8)
_DETAIL_CHARS: Final = 60
_LINE_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Text:
    """A column of text scattered over a block of bytes.

    Attributes:
        starts: (n,) int32, where the text of each row starts in `data`.
        ends: (n,) int32, where it ends.
        data: (bytes,) uint8.
    """

    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    data: Bytes

    def __len__(self) -> int:
        return len(self.starts)


Column: TypeAlias = "pa.Array | Text"


def text_of(array: pa.Array) -> Text:
    """Return an Arrow string or binary array as `Text`, without copying it."""
    if array.type not in (pa.string(), pa.binary()):
        array = array.cast(pa.string())
    _, places, data = array.buffers()
    if places is None:
        return Text(np.zeros(0, np.int32), np.zeros(0, np.int32), _NO_BYTES)
    offsets = np.frombuffer(places, np.int32)[array.offset : array.offset + len(array) + 1]
    held = np.frombuffer(data, np.uint8) if data is not None and data.size else _NO_BYTES
    return Text(offsets[:-1], offsets[1:], held)


def cell_text(column: Column, row: int) -> str:
    """Return one cell as it stands in the file, shortened, for a message."""
    if isinstance(column, Text):
        raw = column.data[column.starts[row] : column.ends[row]].tobytes()
        text = raw.decode("utf-8", "backslashreplace")
    else:
        cell = column.slice(row, 1)
        if pa.types.is_dictionary(cell.type):
            cell = cell.dictionary_decode()
        text = str(cell.cast(pa.string())[0].as_py())
    return text if len(text) <= _DETAIL_CHARS else text[: _DETAIL_CHARS - 3] + "..."


def row_text(columns: Mapping[str, Column], row: int) -> str | None:
    """Return a row as it came: its line in a text file, else its cells as JSON.

    Args:
        columns: The columns that are read.
        row: Which row.
    """
    texts = [column for column in columns.values() if isinstance(column, Text)]
    if texts:
        # Some may be made of others, over bytes of their own.
        [(block, _)] = Counter(id(text.data) for text in texts).most_common(1)
        own = [text for text in texts if id(text.data) == block]
        end = max(int(text.ends[row]) for text in own)
        return _line_at(own[0].data, end) if end > 0 else None
    cells = {name: _whole_text(column, row) for name, column in columns.items()}
    return json.dumps(cells, ensure_ascii=False)


def _line_at(data: Bytes, place: int) -> str:
    """Return the line of text around a byte; of a very long one what is near."""
    first = max(0, place - _LINE_BYTES)
    before = data[first:place].tobytes()
    after = data[place : place + _LINE_BYTES].tobytes()
    line = before[before.rfind(b"\n") + 1 :] + after.partition(b"\n")[0]
    return line.removesuffix(b"\r").decode("utf-8", "backslashreplace")


def _whole_text(column: pa.Array, row: int) -> str | None:
    cell = column.slice(row, 1)
    if pa.types.is_dictionary(cell.type):
        cell = cell.dictionary_decode()
    text: str | None = cell.cast(pa.string())[0].as_py()
    return text


def to_array(array: pa.Array, dtype: npt.DTypeLike) -> Values:
    """Return the values of a fixed-width array without copying; undefined where null."""
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype)[array.offset : array.offset + len(array)]


def with_nulls(array: pa.Array, status: Bytes | None) -> Bytes | None:
    """Return the status with `EMPTY` where the array is null."""
    if not array.null_count:
        return status
    if status is None:
        status = np.zeros(len(array), np.uint8)
    status[array.is_null().to_numpy(zero_copy_only=False)] = st.EMPTY
    return status


def by_dictionary(array: pa.DictionaryArray, convert: Callable[[pa.Array], Cells]) -> Cells:
    """Convert the distinct values of a dictionary array, then spread them over its rows."""
    indices = array.indices
    if indices.null_count:
        indices = indices.fill_null(0)
    values, status = convert(array.dictionary)
    if not len(values):
        return np.zeros(len(array), values.dtype), with_nulls(array, None)
    rows = indices.to_numpy(zero_copy_only=False)
    return values[rows], with_nulls(array, None if status is None else status[rows])


def to_fixed(column: Column, scale: int) -> Cells:
    """Return decimal numbers of any type as fixed point of `scale` places."""
    if isinstance(column, Text):
        return _fixed_from_text(column, scale)
    kind = column.type
    if pa.types.is_dictionary(kind):
        return by_dictionary(column, lambda array: to_fixed(array, scale))
    if pa.types.is_float64(kind):
        values, status = _fixed_from_floats(to_array(column, np.float64), scale)
    elif pa.types.is_integer(kind):
        values, status = _fixed_from_ints(column, scale)
    elif pa.types.is_decimal(kind):
        values, status = _fixed_from_decimals(column, scale)
    else:
        # Text; and float32, whose shortest decimal Arrow prints.
        values, status = _fixed_from_text(text_of(column), scale)
    return values, with_nulls(column, status)


def _fixed_from_text(text: Text, scale: int) -> Cells:
    from market_data_pipeline.kernels.decimal_text import decimal_text_to_fixed

    out, status = np.empty(len(text), np.int64), np.empty(len(text), np.uint8)
    bad = decimal_text_to_fixed(text.starts, text.ends, text.data, scale, out, status)
    return out, status if bad else None


def _blank(rows: int) -> Int64s:
    """Return an array to be written, from Arrow's pool, which keeps memory that is freed.

    NumPy gives memory of this size back each time, and to get it anew costs several times
    what a conversion does.
    """
    return np.frombuffer(pa.allocate_buffer(8 * rows), np.int64)


def _fixed_from_floats(values: Values, scale: int) -> Cells:
    from market_data_pipeline.kernels.fixed import floats_to_fixed, floats_to_fixed_checked

    out = _blank(len(values))
    if not floats_to_fixed(values, float(10**scale), out):
        return out, None
    status = np.empty(len(values), np.uint8)
    if not floats_to_fixed_checked(values, scale, out, status):
        return out, None
    unsure = np.flatnonzero(status == st.UNSURE)
    if len(unsure):
        texts = pa.array([repr(x) for x in values[unsure].tolist()], pa.string())
        found, codes = _fixed_from_text(text_of(texts), scale)
        out[unsure] = found
        status[unsure] = st.OK if codes is None else codes
    return out, status


def _int64s(column: pa.Array) -> tuple[Int64s, Bytes | None]:
    if pa.types.is_uint64(column.type):
        values = to_array(column, np.int64)
        if len(values) and values.min() < 0:
            return values, np.where(values < 0, st.OVERFLOW, st.OK).astype(np.uint8)
        return values, None
    return to_array(column.cast(pa.int64()), np.int64), None


def _fixed_from_ints(column: pa.Array, scale: int) -> Cells:
    from market_data_pipeline.kernels.fixed import ints_to_fixed

    values, status = _int64s(column)
    out, codes = _blank(len(values)), np.empty(len(values), np.uint8)
    if not ints_to_fixed(values, 10**scale, out, codes):
        return out, status
    return out, codes if status is None else np.maximum(codes, status)


def _fixed_from_decimals(column: pa.Array, scale: int) -> Cells:
    if pa.types.is_decimal128(column.type) and 0 <= column.type.scale <= scale:
        halves = to_array(column, np.dtype((np.int64, 2)))
        low = np.ascontiguousarray(halves[:, 0])
        if column.null_count:
            low[column.is_null().to_numpy(zero_copy_only=False)] = 0
        if column.null_count or bool((halves[:, 1] == low >> 63).all()):
            narrow = pa.array(low)
            wide = halves[:, 1] != low >> 63
            values, status = _fixed_from_ints(narrow, scale - column.type.scale)
            if column.null_count and wide.any():
                status = np.zeros(len(low), np.uint8) if status is None else status
                status[wide] = st.OVERFLOW
            return values, status
    return _fixed_from_text(text_of(column.cast(pa.string())), scale)


def to_ints(column: Column) -> Cells:
    """Return whole numbers of any type as int64."""
    from market_data_pipeline.kernels.integer_text import integer_text_to_ints

    if not isinstance(column, Text):
        kind = column.type
        if pa.types.is_dictionary(kind):
            return by_dictionary(column, to_ints)
        if pa.types.is_integer(kind):
            values, status = _int64s(column)
            return values, with_nulls(column, status)
        if not is_text(kind):
            values, status = to_fixed(column, 0)
            return values, status
    text = column if isinstance(column, Text) else text_of(column)
    out, codes = np.empty(len(text), np.int64), np.empty(len(text), np.uint8)
    bad = integer_text_to_ints(text.starts, text.ends, text.data, out, codes)
    status = codes if bad else None
    return out, status if isinstance(column, Text) else with_nulls(column, status)


def to_sides(column: Column) -> Cells:
    """Return words for a side as `A`, `B` or `N`, (n,) uint8; null is `N`."""
    from market_data_pipeline.kernels.side_text import side_text_to_chars

    if isinstance(column, Text):
        text = column
    elif pa.types.is_dictionary(column.type):
        return by_dictionary(filled(column, ""), to_sides)
    else:
        text = text_of(filled(column.cast(pa.string()), ""))
    out, codes = np.empty(len(text), np.uint8), np.empty(len(text), np.uint8)
    bad = side_text_to_chars(text.starts, text.ends, text.data, out, codes)
    return out, codes if bad else None


def to_strings(text: Text) -> tuple[pa.Array, Bytes | None]:
    """Return text as an Arrow string array; a row that is not UTF-8 is `BAD_TEXT` and empty."""
    from market_data_pipeline.kernels.gather_text import gather_text

    offsets = np.empty(len(text) + 1, np.int32)
    out = np.empty(int((text.ends - text.starts).sum(dtype=np.int64)), np.uint8)
    used = gather_text(text.starts, text.ends, text.data, offsets, out)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out[:used])]
    raw = pa.Array.from_buffers(pa.binary(), len(text), buffers)
    try:
        return raw.cast(pa.string()), None
    except pa.ArrowInvalid:
        return _strings_checked(raw)


def _strings_checked(raw: pa.Array) -> tuple[pa.Array, Bytes | None]:
    texts, status = [], np.zeros(len(raw), np.uint8)
    for row, value in enumerate(raw.to_pylist()):
        try:
            texts.append(value.decode())
        except UnicodeDecodeError:
            texts.append("")
            status[row] = st.BAD_TEXT
    return pa.array(texts, pa.string()), status


def to_typed(column: Column, kind: pa.DataType | None) -> tuple[pa.Array, Bytes | None]:
    """Return a column as an Arrow type; text that is empty is null, wrong text `MALFORMED`."""
    array, status = to_strings(column) if isinstance(column, Text) else (plain(column), None)
    if kind is None or array.type == kind or not is_text(array.type):
        return array, status
    functions: Any = pc  # most are made at run time, unseen by type checkers
    array = functions.if_else(functions.equal(array, ""), pa.scalar(None, array.type), array)
    try:
        return array.cast(kind), status
    except pa.ArrowInvalid:
        return _typed_checked(array, kind, status)


def _typed_checked(
    array: pa.Array, kind: pa.DataType, status: Bytes | None
) -> tuple[pa.Array, Bytes | None]:
    values: list[Any] = []
    status = np.zeros(len(array), np.uint8) if status is None else status.copy()
    for row in range(len(array)):
        try:
            values.append(array[row].cast(kind))
        except pa.ArrowInvalid:
            values.append(pa.scalar(None, kind))
            status[row] = st.MALFORMED
    return pa.array([value.as_py() for value in values], kind), status


def to_bools(column: Column) -> Cells:
    """Return truth values, (n,) bool; null is `EMPTY`."""
    array, status = to_typed(column, pa.bool_())
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    values = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")
    empty = with_nulls(array, None)
    if status is None or empty is None:
        return values[array.offset :].astype(np.bool_), empty if status is None else status
    return values[array.offset :].astype(np.bool_), np.where(status == st.OK, empty, status)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is one of Arrow's string types."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column rides along.

    Writers have several types for text, and Polars has its own; behind a source there is
    one, so that files of different writers go together and every operator knows it.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_text(kind):
        return pa.string()
    is_bytes = pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return pa.binary() if is_bytes else kind


def plain(array: pa.Array) -> pa.Array:
    """Return a column that rides along: a dictionary's values in place of its indices."""
    kind = plain_type(array.type)
    if pa.types.is_dictionary(array.type):
        values = array.dictionary
        if values.type != kind:
            array = pa.DictionaryArray.from_arrays(array.indices, values.cast(kind))
        return array.dictionary_decode()
    return array if array.type == kind else array.cast(kind)


def filled(array: pa.Array, value: object) -> pa.Array:
    """Return the array with nulls replaced."""
    return pc.fill_null(array, value) if array.null_count else array

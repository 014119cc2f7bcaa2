"""Arrow columns as text: the one way values are written in CSV, JSON lines and hashes."""

from __future__ import annotations

__all__ = ("column_text", "json_text")

import json
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import compute

_pc: Any = compute  # its functions are made at run time, unseen by type checkers
_DATE_LENGTH: Final = 10


def column_text(array: pa.Array) -> pa.Array:
    """Return each value as text; null stays null.

    Times are ISO 8601 with nanoseconds and `Z`: `2024-01-31T09:30:00.000000001Z`. A time
    without a zone is UTC. Decimals have all digits they need, at least one after the
    point, and no exponent. Floats have the fewest digits that give the float back.

    Args:
        array: A column of any type without nested values.
    """
    if pa.types.is_dictionary(array.type):
        return column_text(array.dictionary).take(array.indices)
    if pa.types.is_timestamp(array.type):
        return _time_text(array)
    if pa.types.is_decimal(array.type):
        return _decimal_text(array)
    return array if pa.types.is_string(array.type) else array.cast(pa.string())


def json_text(array: pa.Array) -> pa.Array:
    """Return each value as JSON: text and times quoted, null and NaN as `null`."""
    of = array.type
    if pa.types.is_dictionary(of):
        return json_text(array.dictionary).take(array.indices).fill_null("null")
    if pa.types.is_integer(of) or pa.types.is_boolean(of) or pa.types.is_decimal(of):
        return column_text(array).fill_null("null")
    if pa.types.is_floating(of):
        finite = _pc.is_finite(array)
        return _pc.if_else(finite, column_text(array), None).fill_null("null")
    if pa.types.is_timestamp(of):
        text = column_text(array)
        return _joined('"', text, '"').fill_null("null")
    if pa.types.is_nested(of):
        return _quoted(array.to_pylist())
    distinct = column_text(array).dictionary_encode()
    return _quoted(distinct.dictionary.to_pylist()).take(distinct.indices).fill_null("null")


def _quoted(values: list[Any]) -> pa.Array:
    text = [json.dumps(v, ensure_ascii=False, default=str) for v in values]
    return pa.array(text, pa.string())


def _joined(*parts: object) -> pa.Array:
    return _pc.binary_join_element_wise(*parts, "")


def _time_text(array: pa.Array) -> pa.Array:
    if array.type.unit != "ns":
        array = array.cast(pa.timestamp("ns", array.type.tz))
    text = array.view(pa.timestamp("ns")).cast(pa.string())
    return _joined(_pc.binary_replace_slice(text, _DATE_LENGTH, _DATE_LENGTH + 1, "T"), "Z")


def _decimal_text(array: pa.Array) -> pa.Array:
    scale = array.type.scale
    words = None if array.type.bit_width != 128 else _words(array)
    if scale < 1 or words is None or not _fit(words, array):
        return pa.array([None if v is None else _plain(v) for v in array.to_pylist()], pa.string())
    values = words[:, 0]
    missing = np.asarray(array.is_null()) if array.null_count else None
    magnitude = np.abs(values).view(np.uint64)
    whole, fraction = np.divmod(magnitude, np.uint64(10**scale))
    first, rest = np.divmod(fraction, np.uint64(10 ** (scale - 1)))
    signs = pa.array(["", "-"]).take(pa.array((values < 0).astype(np.int8)))
    whole_text = pa.array(whole, mask=missing).cast(pa.string())
    first_text = pa.array(first).cast(pa.string())
    if scale == 1:
        return _joined(signs, whole_text, ".", first_text)
    padded = _pc.utf8_lpad(pa.array(rest).cast(pa.string()), scale - 1, "0")
    rest_text = _pc.ascii_rtrim(padded, "0")
    return _joined(signs, whole_text, ".", first_text, rest_text)


def _words(array: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)
    return words[array.offset : array.offset + len(array)]


def _fit(words: np.ndarray[Any, np.dtype[np.int64]], array: pa.Array) -> bool:
    """Tell whether all values are 64-bit integers before scaling."""
    wide = words[:, 1] != words[:, 0] >> 63
    return not wide.any() or not (wide & np.asarray(array.is_valid())).any()


def _plain(value: object) -> str:
    text = f"{value:f}"
    if "." not in text:
        return text + ".0"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}"

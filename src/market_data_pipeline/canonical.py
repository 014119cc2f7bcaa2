"""The canonical hash of a table: equal for equal rows, however they are held.

The canonical form is text. Its first line is the JSON array of the column names, sorted.
Then comes one line for each row, a JSON array of its values in that order; the lines are
sorted bytewise and duplicates stay. There are no spaces outside of text, and every line
ends with a line feed. The hash is the SHA-256 of this text in UTF-8.

Values are written so that the type they are held in does not matter: a number is a plain
decimal without exponent or needless zeros (a float first becomes the shortest decimal
that gives the float back), a time is ISO 8601 with nanoseconds and `Z` (without a zone
it is UTC), text is a JSON string, null and NaN are `null`.
"""

from __future__ import annotations

__all__ = ("canonical_hash", "canonical_lines")

import hashlib
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from market_data_pipeline.arrow_text import json_text

_pc: Any = compute  # its functions are made at run time, unseen by type checkers


def canonical_hash(table: pa.Table) -> str:
    """Return the SHA-256 of the canonical form, 64 hexadecimal digits.

    It does not depend on the order of rows or columns, on chunks, on dictionary encoding,
    or on whether prices are floats or decimals.

    Args:
        table: Rows with columns of any types; names must differ.
    """
    names = json.dumps(sorted(table.column_names), ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(f"{names}\n".encode())
    lines = canonical_lines(table)
    if len(lines):
        _, offsets, data = lines.buffers()
        ends = np.frombuffer(offsets, np.int64)
        digest.update(data.slice(int(ends[lines.offset]), int(ends[lines.offset + len(lines)])))
    return digest.hexdigest()


def canonical_lines(table: pa.Table) -> pa.Array:
    """Return the rows in their canonical form, sorted, each with its line feed."""
    names = sorted(table.column_names)
    if not names:
        return pa.array([], pa.large_string())
    parts: list[object] = []
    for name in names:
        column = table.column(name).combine_chunks()
        parts += [_text("," if parts else "["), _value_text(column).cast(pa.large_string())]
    lines = _pc.binary_join_element_wise(*parts, _text("]\n"), _text(""))
    return lines.take(_pc.array_sort_indices(lines))


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())


def _value_text(array: pa.Array) -> pa.Array:
    of = array.type
    if pa.types.is_dictionary(of):
        return _value_text(array.dictionary_decode())
    if pa.types.is_decimal(of):
        trimmed = _pc.ascii_rtrim(json_text(array), "0")
        return _pc.ascii_rtrim(trimmed, ".")
    return _float_text(array) if pa.types.is_floating(of) else json_text(array)


def _float_text(array: pa.Array) -> pa.Array:
    # Adding zero turns -0.0 into 0.0.
    text = _pc.add(array, pa.scalar(0, array.type)).cast(pa.string())
    exponents = _pc.match_substring(text, "e").fill_null(fill_value=False)
    plain = [f"{Decimal(value):f}" for value in text.filter(exponents).to_pylist()]
    text = _pc.replace_with_mask(text, exponents, pa.array(plain, pa.string()))
    number = _pc.if_else(_pc.is_nan(array), None, text)
    return number.fill_null("null")

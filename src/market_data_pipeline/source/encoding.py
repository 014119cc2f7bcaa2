"""A file's symbols to codes of the run's table."""

from __future__ import annotations

__all__ = ("SymbolEncoder",)

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.kernels import status as st
from market_data_pipeline.source.cells import (
    Bytes,
    Column,
    Text,
    to_array,
    to_strings,
    with_nulls,
)
from market_data_pipeline.symbols import SymbolTable

Codes = npt.NDArray[np.int32]

_NONE = -1


class SymbolEncoder:
    """Encodes columns of symbols; a dictionary that comes again is translated once.

    Spaces around a symbol are no part of it.
    """

    def __init__(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._dictionary: pa.Array | None = None
        self._translation: Codes = np.zeros(0, np.int32)
        self._is_identity = False
        self._has_empty = False

    def encode(self, column: Column) -> tuple[Codes, Bytes | None]:
        """Return codes, (n,) int32, and the status of each row, or None if all are `OK`."""
        array, status = to_strings(column) if isinstance(column, Text) else (column, None)
        names = _as_dictionary(array)
        self._translate(names.dictionary)
        nulls = names.indices.null_count
        indices = names.indices.fill_null(0) if nulls else names.indices
        # `to_numpy` would import pandas, which takes longer than reading a small file.
        codes: Codes = to_array(indices, str(indices.type))
        if not len(self._translation):
            return np.zeros(len(codes), np.int32), with_nulls(names, status)
        if not self._is_identity or codes.dtype != np.int32:
            codes = self._translation[codes]
        if self._has_empty or nulls:
            status = np.zeros(len(codes), np.uint8) if status is None else status
            status[(codes == _NONE) & (status == st.OK)] = st.EMPTY
            status = with_nulls(names, status)
        return codes, status

    def _translate(self, dictionary: pa.Array) -> None:
        if self._dictionary is not None and self._dictionary.equals(dictionary):
            return
        names = [str(name).strip() for name in dictionary.to_pylist()]
        codes = [self._symbols.code(name) if name else _NONE for name in names]
        self._dictionary = dictionary
        self._translation = np.array(codes, np.int32)
        self._is_identity = codes == list(range(len(codes)))
        self._has_empty = _NONE in codes


def _as_dictionary(array: pa.Array) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(array.type):
        texts = array.cast(pa.string()) if pa.types.is_integer(array.type) else array
        return texts.dictionary_encode()
    if not pa.types.is_string(array.type.value_type):
        # Not all of Arrow's texts can be looked up by index, so names are cast first.
        names = array.dictionary.cast(pa.string())
        array = pa.DictionaryArray.from_arrays(array.indices, names)
    if array.dictionary.null_count:
        return array.dictionary_decode().dictionary_encode()
    return array

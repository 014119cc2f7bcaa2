"""Batches to Arrow tables, as they lie in files and databases.

| column | in Arrow |
|---|---|
| time | `timestamp[ns, UTC]`; `UNDEFINED` is null |
| symbol | `string`, or `dictionary<int32, string>` where that is asked for |
| fixed point | the nearest `float64`, or exactly as `decimal128(38, scale)`; `UNDEFINED` is null |
| int | `int64`; `UNDEFINED` is null |
| float, bool | `double`, `bool` |
| char | `string` of one letter; byte 0 is null |
| Arrow | as it is |
"""

from __future__ import annotations

__all__ = ("ArrowRows", "Prices", "check_columns")

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.sink.floats import nearest_floats
from market_data_pipeline.symbols import SymbolTable

Prices: TypeAlias = Literal["float64", "decimal"]
"""How fixed-point columns are written."""

_DECIMAL_DIGITS: Final = 38
_PLAIN: Final = {Kind.INT: pa.int64(), Kind.FLOAT: pa.float64(), Kind.BOOL: pa.bool_()}


class ArrowRows:
    """Turns batches of one schema into Arrow tables.

    Attributes:
        source: The columns of the batches.
        schema: The columns of the tables, in the same order.
    """

    def __init__(
        self,
        source: Schema,
        *,
        prices: Prices = "float64",
        dictionary: bool = False,
        timezone: str | None = "UTC",
    ) -> None:
        """Settle the types.

        Args:
            source: The columns of the batches.
            prices: How fixed-point columns are written.
            dictionary: True for symbols as dictionary arrays, False for strings.
            timezone: Zone of the timestamps' type; None for a type without one.
        """
        self.source = source
        self._prices = prices
        self._dictionary = dictionary
        self._time_type = pa.timestamp("ns", timezone)
        self._symbols: SymbolTable | None = None
        self._names = pa.nulls(0, pa.string())
        self.schema = pa.schema([(field.name, self._type(field)) for field in source])

    def _type(self, field: Field) -> pa.DataType:
        if field.kind is Kind.TIME:
            return self._time_type
        if field.kind is Kind.SYMBOL:
            return pa.dictionary(pa.int32(), pa.string()) if self._dictionary else pa.string()
        if field.kind is Kind.FIXED:
            decimal = pa.decimal128(_DECIMAL_DIGITS, field.scale)
            return decimal if self._prices == "decimal" else pa.float64()
        if field.kind is Kind.CHAR:
            return pa.string()
        return field.arrow if field.kind is Kind.ARROW else _PLAIN[field.kind]

    def table(self, batches: Sequence[Batch]) -> pa.Table:
        """Return the rows of batches, in order, as a table of one chunk.

        Raises:
            SchemaError: If a batch has other columns.
        """
        self.check(batches)
        if not batches:
            return self.schema.empty_table()
        arrays = [self._array(field, batches) for field in self.source]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def check(self, batches: Sequence[Batch]) -> None:
        """Refuse batches with other columns.

        Raises:
            SchemaError: If there is one.
        """
        check_columns(self.source, batches)

    def _array(self, field: Field, batches: Sequence[Batch]) -> pa.Array:
        parts = [batch.columns[field.name] for batch in batches]
        if field.kind is Kind.ARROW:
            return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
        values = np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
        if field.kind is Kind.TIME:
            return _array(self._time_type, values, _undefined(values))
        if field.kind is Kind.SYMBOL:
            return self._symbol_array(values, batches[0].symbols)
        if field.kind is Kind.FIXED:
            return self._fixed_array(field, values)
        if field.kind is Kind.CHAR:
            return _letters(values)
        if field.kind is Kind.BOOL:
            return pa.array(values, pa.bool_())
        missing = _undefined(values) if field.kind is Kind.INT else None
        return _array(_PLAIN[field.kind], values, missing)

    def _symbol_array(self, codes: npt.NDArray[np.int32], symbols: SymbolTable) -> pa.Array:
        if symbols is not self._symbols or len(symbols) != len(self._names):
            self._symbols = symbols
            self._names = symbols.arrow_names()
        indices = _array(pa.int32(), codes, None)
        if self._dictionary:
            return pa.DictionaryArray.from_arrays(indices, self._names)
        return self._names.take(indices)

    def _fixed_array(self, field: Field, values: npt.NDArray[np.int64]) -> pa.Array:
        missing = _undefined(values)
        if self._prices == "float64":
            return _array(pa.float64(), nearest_floats(values, field.scale), missing)
        words = np.empty((len(values), 2), np.int64)
        words[:, 0] = values
        words[:, 1] = values >> 63
        return _array(pa.decimal128(_DECIMAL_DIGITS, field.scale), words, missing)


def check_columns(schema: Schema, batches: Sequence[Batch]) -> None:
    """Refuse batches with other columns than these.

    Raises:
        SchemaError: If there is one.
    """
    for batch in batches:
        if batch.schema is not schema and batch.schema != schema:
            msg = (
                f"rows with columns {_names(batch.schema)} cannot follow "
                f"rows with columns {_names(schema)} in one output"
            )
            raise SchemaError(msg)


def _names(schema: Schema) -> str:
    return ", ".join(f"`{field}`" for field in schema)


def _undefined(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_] | None:
    if len(values) == 0 or int(values.max()) != UNDEFINED:
        return None
    missing: npt.NDArray[np.bool_] = values == UNDEFINED
    return missing


def _validity(missing: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    return None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))


def _array(
    of: pa.DataType, values: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None
) -> pa.Array:
    """Return an Arrow array over the memory of a NumPy array, without a copy."""
    return pa.Array.from_buffers(of, len(values), [_validity(missing), pa.py_buffer(values)])


def _letters(values: npt.NDArray[np.uint8]) -> pa.Array:
    if len(values) and values.max() > 127:
        return pa.array([chr(code) if code else None for code in values.tolist()], pa.string())
    missing = values == 0
    offsets = np.arange(len(values) + 1, dtype=np.int32)
    buffers = [
        _validity(missing) if missing.any() else None,
        pa.py_buffer(offsets),
        pa.py_buffer(values),
    ]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)

"""Rows of several kinds as one snapshot, and back."""

from __future__ import annotations

__all__ = ("load_rows", "save_rows")

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Part: TypeAlias = tuple[Batch, npt.NDArray[np.int16]]

# NumPy's bytes lose zeros at their end.
_END: Final = b"\x01"


def save_rows(parts: Mapping[str, Part], scalars: Mapping[str, int]) -> Snapshot:
    """Return rows as a snapshot.

    Args:
        parts: By name, rows in order, and the key group of each.
        scalars: What belongs to the operator as a whole.
    """
    counts = [len(batch) for batch, _ in parts.values()]
    keyed: dict[str, npt.NDArray[Any]] = {
        "part": np.repeat(np.arange(len(parts), dtype=np.int8), counts),
        "order": np.concatenate([np.arange(n) for n in counts]),
    }
    before = 0
    for name, (batch, _) in parts.items():
        for field in batch.schema:
            values = _saved(batch[field.name], field, batch.symbols)
            column = np.zeros(sum(counts), values.dtype)
            column[before : before + len(batch)] = values
            keyed[f"{name}.{field.name}"] = column
        before += len(batch)
    groups = np.concatenate([group for _, group in parts.values()])
    places = {f"part.{name}": place for place, name in enumerate(parts)}
    return Snapshot(groups, keyed, {**places, **scalars})


def load_rows(snapshot: Snapshot, name: str, schema: Schema, symbols: SymbolTable) -> Batch | None:
    """Return the rows of one part in order; None if there is no such part.

    Raises:
        SnapshotError: If they have other columns.
    """
    place = snapshot.scalars.get(f"part.{name}")
    if place is None:
        return None
    keyed = snapshot.keyed
    rows = np.flatnonzero(keyed["part"] == place)
    rows = rows[np.argsort(keyed["order"][rows], kind="stable")]
    prefix = f"{name}."
    known = {column.removeprefix(prefix) for column in keyed if column.startswith(prefix)}
    if known != set(schema.names):
        odd = ", ".join(f"`{column}`" for column in sorted(known ^ set(schema.names)))
        msg = f"the saved rows have other columns; they differ in {odd}"
        raise SnapshotError(msg)
    columns = {f.name: _loaded(keyed[prefix + f.name][rows], f, symbols) for f in schema}
    return Batch(schema, columns, symbols)


def _saved(column: Column, field: Field, symbols: SymbolTable) -> npt.NDArray[Any]:
    if field.kind is Kind.SYMBOL:
        return symbols.texts(column)
    if field.kind is not Kind.ARROW:
        values: npt.NDArray[Any] = column
        return values
    texts = [
        pa.record_batch([column.slice(row, 1)], names=["value"]).serialize().to_pybytes() + _END
        for row in range(len(column))
    ]
    return np.array(texts, np.bytes_)


def _loaded(values: npt.NDArray[Any], field: Field, symbols: SymbolTable) -> Column:
    if field.kind is Kind.SYMBOL:
        return symbols.encode_texts(values)
    if field.kind is not Kind.ARROW:
        return np.ascontiguousarray(values, field.dtype)
    schema = pa.schema([("value", field.arrow)])
    parts = [
        pa.ipc.read_record_batch(pa.py_buffer(text.removesuffix(_END)), schema).column(0)
        for text in values.tolist()
    ]
    return pa.concat_arrays(parts) if parts else pa.nulls(0, field.arrow)

"""Sinks in which a row can take the place of another one with the same key."""

from __future__ import annotations

__all__ = ("REVISION", "check_key", "last_rows", "lasting_rows", "revision_column")

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError, SchemaError, nearest
from market_data_pipeline.records import UNDEFINED, Kind, Schema

REVISION: Final = "revision"
"""The column of bars that says how often they were given out otherwise before."""


def check_key(key: tuple[str, ...], schema: Schema | None = None) -> None:
    """Refuse a key that names a column twice, or one that the rows do not have.

    Raises:
        ConfigError: If a column is there twice.
        SchemaError: If a column is not there.
    """
    if len(set(key)) < len(key):
        msg = f"`key` must name each column once, was {list(key)}"
        raise ConfigError(msg, parameter="key")
    for name in key if schema is not None else ():
        if schema is not None and name not in schema:
            names = ", ".join(f"`{known}`" for known in schema.names)
            close = nearest(name, schema.names)
            msg = f"`key` names `{name}`, which is not there{close} (columns: {names})"
            raise SchemaError(msg)


def revision_column(key: tuple[str, ...], schema: Schema) -> str | None:
    """Return the column whose higher value wins among rows of one key; None if the last does."""
    if not key or REVISION in key or REVISION not in schema:
        return None
    return REVISION if schema[REVISION].kind is Kind.INT else None


def last_rows(table: pa.Table, key: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the positions of the rows that no other with the same key comes after."""
    place = "row number of its own"
    while place in table.column_names:
        place += "_"
    numbered = table.select(list(key)).append_column(place, pa.array(np.arange(len(table))))
    # On Arrow's threads it could end the process by SIGABRT: one that lets go of an array
    # of Python's while the interpreter ends is ended in the middle of C++.
    last = numbered.group_by(list(key), use_threads=False).aggregate([(place, "max")])
    found = last.column(f"{place}_max").combine_chunks()
    return np.sort(np.frombuffer(found.buffers()[1], np.int64)[: len(found)])


def lasting_rows(batch: Batch, key: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the ascending positions of the rows that hold among those with the same key.

    That is the one with the highest revision where there are revisions, and the last of
    those; else the last.
    """
    arrays = {}
    for name in key:
        column = batch[name]
        arrays[name] = column if isinstance(column, pa.Array) else pa.array(column)
    table = pa.table(arrays)
    revision = revision_column(key, batch.schema)
    if revision is None:
        return last_rows(table, key)
    revisions: Any = batch[revision]
    known = np.where(revisions == UNDEFINED, np.iinfo(np.int64).min, revisions)
    order = np.argsort(known, kind="stable")
    last = last_rows(table.take(pa.array(order)), key)
    return np.sort(order[last])

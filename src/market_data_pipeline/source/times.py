"""A file's column of times, whatever its type, to nanoseconds UTC."""

from __future__ import annotations

__all__ = ("to_times",)

from typing import Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.kernels import status as st
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.source.cells import (
    Cells,
    Column,
    Text,
    Values,
    by_dictionary,
    text_of,
    to_array,
    to_fixed,
    to_ints,
    with_nulls,
)
from market_data_pipeline.source.zones import LocalTimes

_UNITS_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_NS_FROM: Final = 100_000_000_000_000_000
# From this magnitude on, an epoch has this many decimal places of its unit in a nanosecond.
_FLOAT_UNITS: Final = ((0.0, 1e11, 9), (1e11, 1e14, 6), (1e14, 1e17, 3), (1e17, np.inf, 0))


def to_times(column: Column, zone: LocalTimes) -> Cells:
    """Return times as nanoseconds UTC.

    Args:
        column: Timestamps of any unit and zone, dates, text, or numbers since the UNIX
            epoch whose unit is told by their magnitude.
        zone: The zone of times that name none.
    """
    if isinstance(column, Text):
        return _from_text(column, zone)
    kind = column.type
    if pa.types.is_dictionary(kind):
        return by_dictionary(column, lambda array: to_times(array, zone))
    if pa.types.is_date(kind):
        midnights = column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
        values, status = _from_timestamps(midnights, zone)
    elif pa.types.is_timestamp(kind):
        values, status = _from_timestamps(column, zone)
    elif pa.types.is_integer(kind):
        values, status = _from_epochs(*to_ints(column))
    elif pa.types.is_float64(kind):
        values, status = _from_floats(column)
    else:
        values, status = _from_text(text_of(column), zone)
    return values, with_nulls(column, status)


def _from_text(text: Text, zone: LocalTimes) -> Cells:
    from market_data_pipeline.kernels.time_text import time_text_to_ns

    out, status = np.empty(len(text), np.int64), np.empty(len(text), np.uint8)
    bad = time_text_to_ns(text.starts, text.ends, text.data, zone.is_utc, out, status)
    if bad and not zone.is_utc:
        zone.to_utc(out, status)
        return out, status if status.any() else None
    return out, status if bad else None


def _from_timestamps(column: pa.Array, zone: LocalTimes) -> Cells:
    unit = _UNITS_NS[column.type.unit]
    values = to_array(column, np.int64)
    status = None
    if unit > 1:
        values = values.copy()
        if column.null_count:
            values[column.is_null().to_numpy(zero_copy_only=False)] = 0
        limit = (UNDEFINED - 1) // unit
        over = (values > limit) | (values < -limit)
        if over.any():
            status = np.where(over, st.OVERFLOW, st.OK).astype(np.uint8)
            values[over] = 0
        values *= unit
    if column.type.tz is None and not zone.is_utc:
        values = values.copy()
        status = np.zeros(len(values), np.uint8) if status is None else status
        status[status == st.OK] = st.LOCAL
        status = with_nulls(column, status)
        assert status is not None  # noqa: S101
        zone.to_utc(values, status)
        status = status if status.any() else None
    return values, status


def _from_epochs(values: Values, status: Values | None) -> Cells:
    from market_data_pipeline.kernels.epochs import epochs_to_ns

    if len(values) and values.min() >= _NS_FROM and status is None:
        return values, None
    out = np.empty(len(values), np.int64)
    if epochs_to_ns(np.ascontiguousarray(values), out):
        status = np.zeros(len(values), np.uint8) if status is None else status
        status[(out == UNDEFINED) & (status == st.OK)] = st.OVERFLOW
    return out, status


def _from_floats(column: pa.Array) -> Cells:
    floats = to_array(column, np.float64)
    out, status = np.zeros(len(floats), np.int64), np.full(len(floats), st.NOT_FINITE, np.uint8)
    for low, high, places in _FLOAT_UNITS:
        rows = np.flatnonzero((np.abs(floats) >= low) & (np.abs(floats) < high))
        if len(rows):
            values, codes = to_fixed(pa.array(floats[rows]), places)
            out[rows] = values
            status[rows] = st.OK if codes is None else codes
    return out, status if status.any() else None

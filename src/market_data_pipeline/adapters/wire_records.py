"""Quotes and bars as plain dictionaries, for JSON, msgpack and Arrow."""

from __future__ import annotations

__all__ = ("RECORDS", "plain_record", "read_record", "record_name")

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from market_data_pipeline.adapters.wire_values import (
    bad,
    decimal_of,
    decimal_text,
    int_of,
    text_of,
)
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.types import Bar, Quote

RECORDS: Final[Mapping[str, type[Any]]] = {"bar": Bar, "quote": Quote}
TIME: Final = "timestamp_ns"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_FIELD: Final = "timestamp"
_TEXTS: Final = ("symbol", "source")
_COUNT: Final = "trade_count"
_METADATA: Final = "metadata"
_DEPTH_MAX: Final = 32


def record_name(cls: type[Any]) -> str:
    """Return the word for a kind of record.

    Raises:
        ConfigError: If it is none.
    """
    for name, known in RECORDS.items():
        if cls is known:
            return name
    msg = f"records must be `Bar` or `Quote`, were {cls.__name__}"
    raise ConfigError(msg)


def plain_record(record: Any) -> dict[str, Any]:
    """Return a record as numbers, text, and None; a time without a zone is UTC.

    Raises:
        RecordError: If it holds what cannot travel.
    """
    plain: dict[str, Any] = {}
    for field in fields(record):
        name, value = field.name, getattr(record, field.name)
        if name == _TIME_FIELD:
            plain[TIME] = _ns_of(value)
        elif value is None or name in _TEXTS or name == _COUNT:
            plain[name] = value
        elif name == _METADATA:
            plain[name] = _checked({**value}, name, 0)
        else:
            plain[name] = decimal_text(value, name)
    return plain


def _ns_of(time: datetime) -> int:
    since = (time.replace(tzinfo=UTC) if time.tzinfo is None else time) - _EPOCH
    return (since // timedelta(microseconds=1)) * 1000


def read_record(plain: Any, cls: type[Any]) -> Any:
    """Return the record of what `plain_record` gave, after looking at every value.

    Raises:
        RecordError: If it is no such record.
    """
    if type(plain) is not dict:
        bad("shape", f"a {record_name(cls)} must be an object")
    names = {TIME if field.name == _TIME_FIELD else field.name for field in fields(cls)}
    if set(plain) != names:
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        bad("schema", f"a {record_name(cls)} must have exactly {listed}")
    values: dict[str, Any] = {}
    for field in fields(cls):
        name = field.name
        if name == _TIME_FIELD:
            values[name] = _time_of(plain[TIME])
        else:
            values[name] = _value(name, plain[name], required=field.default is MISSING)
    return cls(**values)


def _value(name: str, value: Any, *, required: bool) -> Any:
    if value is None and not required and name not in _TEXTS:
        return None
    if name in _TEXTS:
        return text_of(value, name)
    if name == _COUNT:
        return int_of(value, name, low=0)
    if name == _METADATA:
        if type(value) is not dict:
            bad("type", f"`{name}` must be an object")
        return _checked(value, name, 0)
    number: Decimal = decimal_of(value, name)
    return number


def _time_of(value: Any) -> datetime:
    micros, rest = divmod(int_of(value, TIME), 1000)
    if rest:
        bad("range", f"`{TIME}` must be a whole number of microseconds; send batches for finer")
    return _EPOCH + timedelta(microseconds=micros)


def _checked(value: Any, place: str, depth: int) -> Any:
    """Return plain data, and nothing else."""
    if depth > _DEPTH_MAX:
        bad("shape", f"`{place}` must not be nested deeper than {_DEPTH_MAX}")
    if value is None or type(value) is bool:
        return value
    if type(value) is str:
        return text_of(value, place)
    if type(value) is int:
        return int_of(value, place)
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is list:
        return [_checked(item, place, depth + 1) for item in value]
    if type(value) is not dict:
        bad("type", f"`{place}` must be plain data, held {type(value).__name__}")
    return {text_of(k, place): _checked(v, place, depth + 1) for k, v in value.items()}

"""Batches to records of market_data_core and back (extra `core`).

| ours | core's `Quote`, `Trade`, `Bar` |
|---|---|
| `ts_event`; `ts_close` of a bar | `timestamp`, `ts`; in UTC, whole microseconds |
| fixed point | `Decimal`, exactly; `UNDEFINED` is None |
| length of a bar | `resolution`, as `1s`, `5m`, `1h`, `1d` |
"""

from __future__ import annotations

__all__ = ("from_core", "length_of", "resolution_of", "to_core", "utc_datetimes")

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.adapters.provider_rows import Kinds, ProviderRows
from market_data_pipeline.batch import Batch
from market_data_pipeline.durations import duration_ns, format_duration
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.symbols import SymbolTable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT: Final = Context(prec=60)
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "trade": ("ts_event", "symbol", "price", "size"),
    "quote": ("ts_event", "symbol", "bid_price", "ask_price"),
    "bar": ("symbol", "ts_open", "ts_close", "open", "high", "low", "close", "volume"),
}
_KINDS: Final[dict[str, Kinds]] = {"Quote": "quotes", "Trade": "trades", "Bar": "bars"}


def to_core(batch: Batch) -> list[Any]:
    """Return trades, quotes or bars as records of market_data_core.

    Raises:
        MissingDependencyError: If market_data_core is not installed.
        SchemaError: If the rows are something else, lack a column, or hold what core's
            record cannot, as the size of a trade that is no whole number.
    """
    core: Any = require_optional("market_data_core", extra="core")
    name = batch.schema.name
    _check(batch.schema)
    if name == "trade":
        return [core.Trade(**values) for values in _trades(batch)]
    if name == "quote":
        return [core.Quote(**values) for values in _quotes(batch)]
    return [core.Bar(**values) for values in _bars(batch)]


def from_core(records: Sequence[Any], symbols: SymbolTable | None = None) -> Batch:
    """Return records of market_data_core, all of one class, as a batch without progress.

    Raises:
        RecordError: For the first record that cannot be taken exactly.
        SchemaError: If there is none, they are of several classes, or not of core; if they
            are bars of different lengths.
    """
    classes = {type(record).__name__ for record in records}
    kind = _KINDS.get(next(iter(classes))) if len(classes) == 1 else None
    if kind is None:
        found = ", ".join(f"`{name}`" for name in sorted(classes)) or "none"
        msg = f"records must all be a `Quote`, a `Trade` or a `Bar` of core, were {found}"
        raise SchemaError(msg)
    length_ns = 0
    if kind == "bars":
        resolutions = {record.resolution for record in records}
        if len(resolutions) > 1:
            msg = f"bars must be of one resolution, were of {sorted(resolutions)}"
            raise SchemaError(msg)
        length_ns = length_of(resolutions.pop())
    rows = ProviderRows(
        kind, symbols or SymbolTable(), place="records", strict=True, length_ns=length_ns
    )
    made = rows.convert(records, 0)
    # The time of receipt is not known.
    return made.select(name for name in made.schema.names if name != "ts_recv")


def length_of(resolution: str) -> int:
    """Return the length of a bar of core in nanoseconds.

    Raises:
        ConfigError: If it has no fixed length.
    """
    if resolution.endswith("w") and resolution[:-1].isdigit():
        resolution = f"{int(resolution[:-1]) * 7}d"
    return duration_ns(resolution)


def resolution_of(length_ns: int) -> str:
    """Return the length of a bar in core's words, as `1m`."""
    return format_duration(length_ns).replace("min", "m")


def utc_datetimes(times: npt.NDArray[np.int64]) -> list[datetime]:
    """Return times in UTC; a part of a microsecond is cut off."""
    return [_EPOCH + timedelta(microseconds=time // 1000) for time in times.tolist()]


def _check(schema: Schema) -> None:
    needed = _NEEDED.get(schema.name)
    if needed is None:
        msg = (
            f"market_data_core has no record for rows of `{schema.name}`; it has for "
            + ", ".join(f"`{name}`" for name in _NEEDED)
        )
        raise SchemaError(msg)
    missing = [name for name in needed if name not in schema]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        known = ", ".join(f"`{name}`" for name in schema.names)
        msg = f"a {schema.name} of market_data_core needs {names} (columns: {known})"
        raise SchemaError(msg)


def _columns(batch: Batch, wanted: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return columns by their names at core; those that are not there are left out."""
    present = {ours: theirs for ours, theirs in wanted.items() if ours in batch.schema}
    chosen = batch.schema.only(present)
    rows = ArrowRows(chosen, prices="decimal")
    table = rows.table([Batch(chosen, {n: batch.columns[n] for n in chosen.names}, batch.symbols)])
    columns: dict[str, list[Any]] = {}
    for ours, theirs in present.items():
        if ours in {"ts_event", "ts_close"}:
            columns[theirs] = utc_datetimes(batch.columns[ours])
        else:
            columns[theirs] = [_plain(value) for value in table.column(ours).to_pylist()]
    return columns


def _plain(value: Any) -> Any:
    """Return a decimal without the zeros behind it, anything else as it is."""
    if not isinstance(value, Decimal):
        return value
    short = value.normalize(_EXACT)
    exponent = short.as_tuple().exponent
    return (
        short if isinstance(exponent, int) and exponent <= 0 else short.quantize(1, context=_EXACT)
    )


def _each(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _trades(batch: Batch) -> list[dict[str, Any]]:
    columns = _columns(
        batch,
        {
            "ts_event": "ts",
            "symbol": "symbol",
            "price": "price",
            "size": "size",
            "exchange": "exchange",
            "condition": "conditions",
        },
    )
    columns["size"] = _whole("size", columns["size"])
    if "conditions" in columns:
        columns["conditions"] = [(text or "").split() for text in columns["conditions"]]
    return _each(columns)


def _quotes(batch: Batch) -> list[dict[str, Any]]:
    columns = _columns(
        batch,
        {
            "ts_event": "timestamp",
            "symbol": "symbol",
            "bid_price": "bid",
            "ask_price": "ask",
            "bid_size": "bid_size",
            "ask_size": "ask_size",
            "last": "last",
            "volume": "volume",
            "delayed": "delayed",
        },
    )
    for name in ("bid_size", "ask_size", "volume"):
        if name in columns:
            columns[name] = _whole(name, columns[name])
    if "volume" in columns:
        columns["volume"] = [volume or 0 for volume in columns["volume"]]
    return _each(columns)


def _bars(batch: Batch) -> list[dict[str, Any]]:
    names = ("symbol", "open", "high", "low", "close", "volume", "delayed")
    columns = _columns(batch, {"ts_close": "ts", **{name: name for name in names}})
    lengths = (batch["ts_close"] - batch["ts_open"]).tolist()
    columns["resolution"] = [resolution_of(length) for length in lengths]
    for name in names[1:6]:
        if None in columns[name]:
            row = columns[name].index(None)
            msg = f"row {row} has no `{name}`, and a bar of market_data_core needs one"
            raise SchemaError(msg)
    return _each(columns)


def _whole(name: str, values: list[Any]) -> list[int | None]:
    for row, value in enumerate(values):
        if value is not None and value != int(value):
            msg = f"`{name}` of row {row} is {value}, and market_data_core has whole sizes only"
            raise SchemaError(msg)
    return [None if value is None else int(value) for value in values]

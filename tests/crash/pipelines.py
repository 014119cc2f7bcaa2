"""The graph of the crash tests, with the sinks under test at its ends."""

from __future__ import annotations

__all__ = ("SINKS", "found_rows", "pipeline_text", "read_outputs")

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from crash.oracle import Row

OUTPUTS: Final = ("bars", "priced", "hops", "late")
_KEYS: Final = {"bars": ["symbol", "ts_open"]}


def _nodes(speed: float | str) -> dict[str, Any]:
    replay = {"source": "replay", "out_of_order": "500ms", "batch_rows": 64, "speed": speed}
    return {
        "trades": {**replay, "path": "trades.csv"},
        "quotes": {**replay, "path": "quotes.csv"},
        "clean": {
            "operator": "dedupe",
            "from": "trades",
            "key": ["symbol", "trade_id"],
            "ttl": "30s",
        },
        "bars": {"operator": "bars", "from": "clean", "every": "1s", "lateness": "2s"},
        "priced": {
            "operator": "asof_join",
            "from": {"left": "clean", "right": "quotes"},
            "columns": ["bid_price", "ask_price"],
        },
        "hops": {
            "operator": "windows",
            "from": "clean",
            "size": "10s",
            "every": "2s",
            "aggregates": {
                "low": "min(price)",
                "high": "max(price)",
                "volume": "sum(size)",
                "trades": "count()",
            },
        },
    }


def _duckdb(name: str, keyed: bool) -> dict[str, Any]:
    sink = {"sink": "duckdb", "path": "out.duckdb", "table": name}
    return {**sink, "key": _KEYS[name]} if keyed else sink


def _sqlite(name: str, keyed: bool) -> dict[str, Any]:
    sink = {"sink": "sqlite", "path": "out.sqlite", "table": name}
    return {**sink, "key": _KEYS[name]} if keyed else sink


def _postgres(name: str, keyed: bool) -> dict[str, Any]:
    sink = {"sink": "postgres", "table": name, "times": "bigint", "dsn": "${env:DATABASE_URL}"}
    return {**sink, "key": _KEYS[name], "mode": "upsert"} if keyed else sink


def _parquet(name: str, keyed: bool) -> dict[str, Any]:
    return {"sink": "parquet", "path": f"{name}/", "prices": "decimal"}


SINKS: Final[Mapping[str, Callable[[str, bool], dict[str, Any]]]] = {
    "parquet": _parquet,
    "duckdb": _duckdb,
    "sqlite": _sqlite,
    "postgres": _postgres,
}


def pipeline_text(
    sink: str,
    *,
    speed: float | str = "max",
    interval: str = "100ms",
    checkpoints: str = "checkpoints",
) -> str:
    """Return the pipeline as YAML."""
    nodes = _nodes(speed)
    for name in OUTPUTS:
        source = "bars.late" if name == "late" else name
        nodes[f"store_{name}"] = {**SINKS[sink](name, name in _KEYS), "from": source}
    checkpoint = {"path": checkpoints, "interval": interval}
    text: str = yaml.safe_dump(
        {"name": "crash", "checkpoint": checkpoint, "nodes": nodes}, sort_keys=False
    )
    return text


def read_outputs(sink: str, folder: Path, dsn: str = "") -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all outputs; prices as decimals, times as nanoseconds."""
    return {name: _read(sink, folder, name, dsn) for name in OUTPUTS}


def _read(sink: str, folder: Path, name: str, dsn: str) -> list[dict[str, Any]]:
    if sink == "postgres":
        import psycopg
        from psycopg.rows import dict_row
        from psycopg.sql import SQL, Identifier

        with psycopg.connect(dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(SQL("SELECT * FROM {}").format(Identifier(name))).fetchall()
    if sink == "sqlite":
        import sqlite3

        with sqlite3.connect(folder / "out.sqlite") as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f'SELECT * FROM "{name}"')]  # noqa: S608
    import duckdb

    table: Any
    if sink == "parquet":
        files = sorted((folder / name).glob("*.parquet"))
        if not files:
            return []
        with duckdb.connect() as memory:
            found: Any = memory.sql(f"FROM read_parquet({[str(f) for f in files]})")
            table = found.to_arrow_table()
    else:
        with duckdb.connect(str(folder / "out.duckdb"), read_only=True) as database:
            table = database.sql(f'FROM "{name}"').to_arrow_table()
    times = [field.name for field in table.schema if str(field.type).startswith("timestamp")]
    for column in times:
        place = table.schema.get_field_index(column)
        table = table.set_column(place, column, table[column].cast("int64"))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _cents(value: Any) -> int | None:
    if value is None:
        return None
    cents = Decimal(value) * 100
    assert cents == int(cents)
    return int(cents)


def _average(value: Any) -> int:
    return int(Decimal(value) * 10**9)


def found_rows(outputs: Mapping[str, list[dict[str, Any]]]) -> dict[str, Counter[Row]]:
    """Return the rows of outputs as the oracle writes them."""
    bars = [
        (
            row["revision"],
            row["symbol"],
            row["ts_open"],
            *(_cents(row[name]) for name in ("open", "high", "low", "close")),
            int(Decimal(row["volume"])),
            _average(row["vwap"]),
            row["count"],
            row["late_count"],
            bool(row["is_final"]),
        )
        for row in outputs["bars"]
    ]
    return {
        "bars": Counter(row[1:] for row in bars),
        "revisions": Counter(bars),
        "priced": Counter(
            (
                row["symbol"],
                row["trade_id"],
                row["ts_event"],
                *(_cents(row[name]) for name in ("price", "bid_price", "ask_price")),
            )
            for row in outputs["priced"]
        ),
        "hops": Counter(
            (
                row["symbol"],
                row["ts_open"],
                _cents(row["low"]),
                _cents(row["high"]),
                int(Decimal(row["volume"])),
                row["trades"],
            )
            for row in outputs["hops"]
        ),
        "late": Counter((row["symbol"], row["trade_id"]) for row in outputs["late"]),
    }

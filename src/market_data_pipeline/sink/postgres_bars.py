"""Records of bars into a table of PostgreSQL, in the layout of version 0.8."""

from __future__ import annotations

__all__ = ("PostgresBars",)

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, final

from market_data_pipeline.errors import ConfigError, SinkError
from market_data_pipeline.sink.base import Row
from market_data_pipeline.sink.postgres_sql import (
    TableName,
    check_name,
    create_table,
    insert_values,
    load_psycopg,
)

_COLUMNS: Final[Mapping[str, str]] = {
    "tenant_id": "text",
    "vendor": "text",
    "symbol": "text",
    "timeframe": "text",
    "ts": "timestamptz",
    "open_price": "numeric",
    "high_price": "numeric",
    "low_price": "numeric",
    "close_price": "numeric",
    "volume": "numeric",
    "trade_count": "bigint",
    "vwap": "numeric",
    "metadata": "jsonb",
}
_KEY: Final = ("ts", "tenant_id", "vendor", "symbol", "timeframe")
_OPTIONAL: Final = ("trade_count", "vwap", "metadata")
_FLOATS: Final = ("real", "double precision")
_NUMERIC: Final = re.compile(r"numeric\((\d+),(-?\d+)\)")
_WHOLE: Final = ("smallint", "integer", "bigint")
_DRIVER: Final = re.compile(r"^(postgres(?:ql)?)\+\w+://")
_CONNECT_S: Final = 10
_ANSWER_S: Final = 60
_LOCK: Final = 0x6D64705F62617273
"""Held while a table is looked for and made: two that make it at once would both fail."""

_log = logging.getLogger(__name__)


@final
class PostgresBars:
    """A `BatchWriter` that puts records into a table, over those with the same key.

    The key is tenant, vendor, symbol, timeframe and time. All rows of a call are written
    in one transaction. Prices and volumes are `numeric`, so they are exact; a table that
    exists is used as it is, and a value that it would round is refused. In each transaction
    `app.tenant_id` is set, for tables that tell tenants apart by it.
    """

    def __init__(
        self, url: str, *, table: str = "bars", schema: str | None = None, connections: int = 2
    ) -> None:
        """Settle where to write; connects at the first write.

        Args:
            url: How to connect, as a URL or as libpq's `name=value` pairs.
            table: The table; it is made where it is missing.
            schema: Its schema, None for the first of the search path.
            connections: How many connections are kept open.

        Raises:
            ConfigError: If the URL or a name is none.
            MissingDependencyError: If psycopg is not installed.
        """
        self._psycopg = load_psycopg()
        for name, parameter in ((table, "table"), (schema, "schema")):
            if name is not None:
                check_name(name, parameter)
        self._url = _DRIVER.sub(r"\1://", url)
        try:
            self._psycopg.conninfo.conninfo_to_dict(self._url)
        except self._psycopg.ProgrammingError:
            # Its text quotes the URL, and the URL may hold a password.
            msg = "`database_url` is no address of a PostgreSQL database"
            raise ConfigError(msg, parameter="database_url") from None
        self._table = TableName(table, schema)
        self._kept = max(1, connections)
        self._idle: list[Any] = []
        self._preparing = asyncio.Lock()
        self._types: Mapping[str, str] | None = None
        self._columns: tuple[str, ...] = ()

    async def write_rows(self, rows: Sequence[Row]) -> int:
        """Write records in one transaction.

        Args:
            rows: Records with the columns of the table; of those with one key the last holds.

        Raises:
            SinkError: If the table has not the columns, or would round a value.
        """
        if not rows:
            return 0
        async with self._connection() as connection:
            types = await self._prepared(connection)
            for row in rows:
                self._check(row, types)
            # In one order everywhere, so that two writers do not wait for each other.
            ordered = sorted(rows, key=lambda row: tuple(str(row[name]) for name in _KEY))
            statement = insert_values(self._table, self._columns, _KEY)
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.execute(
                    "SELECT set_config('app.tenant_id', %s, true)", (str(rows[0]["tenant_id"]),)
                )
                await cursor.executemany(statement, [self._values(row) for row in ordered])
        return len(rows)

    def _values(self, row: Row) -> list[Any]:
        return [
            json.dumps(row[name], default=str) if name == "metadata" else row[name]
            for name in self._columns
        ]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Lend a connection; one on which anything failed is not used again."""
        connection = self._idle.pop() if self._idle else await self._connected()
        try:
            yield connection
        except BaseException:
            await connection.close()
            raise
        if len(self._idle) < self._kept:
            self._idle.append(connection)
        else:
            await connection.close()

    async def _connected(self) -> Any:
        connection = await self._psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_S,
            tcp_user_timeout=_ANSWER_S * 1000,
            application_name="market_data_pipeline",
        )
        try:
            await connection.execute(
                "SELECT set_config('statement_timeout', %s, false)", (f"{_ANSWER_S}s",)
            )
        except BaseException:
            await connection.close()
            raise
        return connection

    # The table

    async def _prepared(self, connection: Any) -> Mapping[str, str]:
        if self._types is None:
            async with self._preparing:
                if self._types is None:
                    types = await self._made(connection)
                    self._columns = self._usable(types)
                    self._types = types
        return self._types

    async def _made(self, connection: Any) -> Mapping[str, str]:
        async with connection.transaction():
            types = await self._found(connection)
            if not types:
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                types = await self._found(connection)
            if not types:
                await connection.execute(create_table(self._table, _COLUMNS, _KEY))
                types = dict(_COLUMNS)
        return types

    async def _found(self, connection: Any) -> dict[str, str]:
        cursor = await connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (self._table.sql.as_string(connection),),
        )
        return dict(await cursor.fetchall())

    def _usable(self, types: Mapping[str, str]) -> tuple[str, ...]:
        missing = [name for name in _COLUMNS if name not in types]
        needed = [name for name in missing if name not in _OPTIONAL]
        if needed:
            names = ", ".join(f"`{name}`" for name in needed)
            msg = f"table `{self._table}` has no column {names}; use another database or table"
            raise SinkError(msg)
        for name in _COLUMNS:
            if types.get(name) in _FLOATS:
                msg = (
                    f"column `{name}` of table `{self._table}` is {types[name]}, which rounds; "
                    f"change it: `ALTER TABLE {self._table} ALTER COLUMN {name} TYPE numeric`"
                )
                raise SinkError(msg)
        if missing:
            names = ", ".join(missing)
            _log.warning("table `%s` has no column for %s; they are left out", self._table, names)
        return tuple(name for name in _COLUMNS if name in types)

    def _check(self, row: Row, types: Mapping[str, str]) -> None:
        """Refuse a value that the server would round without a word."""
        for name in ("open_price", "high_price", "low_price", "close_price", "volume", "vwap"):
            of, value = types.get(name, ""), row.get(name)
            if value is None:
                continue
            found = _NUMERIC.fullmatch(of)
            places = 0 if of in _WHOLE else int(found[2]) if found else None
            if places is None:
                continue
            number = Decimal(value) if not isinstance(value, float) else Decimal(repr(value))
            if number.is_finite() and number != round(number, places):
                msg = (
                    f"column `{name}` of table `{self._table}` is {of} and would round {number}; "
                    f"change it: `ALTER TABLE {self._table} ALTER COLUMN {name} TYPE numeric`"
                )
                raise SinkError(msg)

    async def aclose(self) -> None:
        """Close the connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

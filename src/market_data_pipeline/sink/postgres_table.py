"""The table a PostgreSQL sink writes to: made on demand, or checked."""

from __future__ import annotations

__all__ = ("PostgresMode", "PostgresTable")

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from market_data_pipeline.errors import OutputError, OutputExistsError
from market_data_pipeline.sink.postgres_sql import (
    TableName,
    create_table,
    load_psycopg,
    lock_creation,
    oid_of,
)

PostgresMode: TypeAlias = Literal["create", "append", "upsert"]

_SAME: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text", "character varying"}),
    "timestamptz": frozenset({"timestamp with time zone"}),
}
"""Types that are read from the same bytes; all others must be equal."""
_NUMERIC_DIGITS: Final = 38
_FIXED_DIGITS: Final = 19
"""More than that fixed point does not have, so a column may be narrower than those made here."""


@dataclass(frozen=True, slots=True)
class PostgresTable:
    """A table and how it is written.

    All methods are called inside a transaction.

    Attributes:
        name: Its name.
        columns: Names and types, in order.
        key: Columns that tell rows apart.
        mode: What to do with a table that exists.
        hypertable: Column of the time by which TimescaleDB cuts the table; None for a
            plain table.
    """

    name: TableName
    columns: Mapping[str, str]
    key: tuple[str, ...]
    mode: PostgresMode
    hypertable: str | None = None

    def exists(self, connection: Any) -> bool:
        """Tell whether the table is there."""
        return oid_of(connection, self.name) is not None

    def is_empty(self, connection: Any) -> bool:
        """Tell whether the table has no rows, or is not there."""
        if not self.exists(connection):
            return True
        sql = load_psycopg().sql
        query = sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(self.name.sql)
        (empty,) = connection.execute(query).fetchone()
        return bool(empty)

    def prepare(self, connection: Any, *, is_own: bool) -> None:
        """Make the table, or make sure that the rows fit into the one that is there.

        Args:
            connection: The connection.
            is_own: True if an earlier process of the same job has made the table, or filled it.

        Raises:
            OutputExistsError: If it is there and must not be.
            OutputError: If it is there with other columns or without an index on the key.
        """
        lock_creation(connection, self.name)
        if not self.exists(connection):
            connection.execute(create_table(self.name, self.columns, self.key))
            if self.hypertable is not None:
                self._make_hypertable(connection, self.hypertable)
            return
        if self.mode == "create" and not is_own:
            raise self.exists_already()
        self._check_columns(connection)
        if self.key:
            self._check_key(connection)

    def exists_already(self) -> OutputExistsError:
        """Return the error for a table that is there and must not be."""
        msg = (
            "the table exists already; set `mode: append` to add to it or `mode: upsert` with "
            "a `key` to bring it up to date, or choose another `table`"
        )
        return OutputExistsError(msg, path=str(self.name))

    def _make_hypertable(self, connection: Any, time: str) -> None:
        (there,) = connection.execute("SELECT to_regproc('create_hypertable')").fetchone()
        if there is None:
            msg = (
                "there is no TimescaleDB in the database; install its extension there, or "
                "leave `hypertable` out"
            )
            raise OutputError(msg, path=str(self.name))
        text = self.name.sql.as_string(connection)
        connection.execute("SELECT create_hypertable(%s::regclass, %s::name)", (text, time))

    def types(self, connection: Any) -> dict[str, str]:
        """Return the columns of the table as it is, and their types."""
        rows = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (oid_of(connection, self.name),),
        ).fetchall()
        return dict(rows)

    def _check_columns(self, connection: Any) -> None:
        there = self.types(connection)
        for name, wanted in self.columns.items():
            found = there.get(name)
            if found is None or not _fits(wanted, found):
                way_out = f"`ALTER TABLE` to `{wanted}`, choose another `table`"
                msg = (
                    f"column `{name}` is {found or 'missing'} in the table and {wanted} here; "
                    f"{way_out}, or name the columns to write in `columns`"
                )
                raise OutputError(msg, path=str(self.name))

    def _check_key(self, connection: Any) -> None:
        rows = connection.execute(
            "SELECT array_agg(attname::text) FROM pg_index JOIN pg_attribute "
            "ON attrelid = indrelid AND attnum = ANY (indkey[0:indnkeyatts - 1]) "
            "WHERE indrelid = %s AND indisunique AND indimmediate AND indisvalid "
            "AND indpred IS NULL AND indexprs IS NULL GROUP BY indexrelid",
            (oid_of(connection, self.name),),
        ).fetchall()
        if not any(set(names) == set(self.key) for (names,) in rows):
            listed = ", ".join(self.key)
            msg = (
                f"the table has no unique index on `key` ({listed}); add one with "
                f"`ALTER TABLE ... ADD PRIMARY KEY ({listed})`"
            )
            raise OutputError(msg, path=str(self.name))


def _fits(wanted: str, found: str) -> bool:
    base, _, size = found.partition("(")
    if not wanted.startswith("numeric("):
        return base in _SAME.get(wanted, {wanted}) and not (size and base in _SAME["text"])
    if base != "numeric" or not size:
        return base == "numeric"
    digits, scale = _digits(wanted)
    if digits == _NUMERIC_DIGITS:
        digits = _FIXED_DIGITS
    digits_there, scale_there = _digits(found)
    return scale_there >= scale and digits_there - scale_there >= digits - scale


def _digits(kind: str) -> tuple[int, int]:
    """Return the digits of a number, and how many of them stand behind the point."""
    digits, _, scale = kind.partition("(")[2].rstrip(")").partition(",")
    return int(digits), int(scale or 0)

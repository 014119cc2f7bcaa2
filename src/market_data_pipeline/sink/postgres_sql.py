"""SQL for PostgreSQL: tables made for rows, upserts by key, the ledger.

Names are `psycopg.sql.Identifier`s, so they are names whatever is in them. Nothing here
opens a connection.
"""

from __future__ import annotations

__all__ = (
    "LEDGER",
    "NAME_BYTES_MAX",
    "TableName",
    "check_name",
    "column_types",
    "create_ledger",
    "create_table",
    "insert_values",
    "load_psycopg",
    "lock_creation",
    "oid_of",
    "type_of",
    "upsert",
)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import pyarrow as pa

from market_data_pipeline.errors import ConfigError, MissingDependencyError, SchemaError
from market_data_pipeline.records import Field, Kind, Schema

if TYPE_CHECKING:
    from psycopg.sql import Composable, Composed

Times: TypeAlias = Literal["timestamptz", "bigint"]
"""How times are kept: as such, to the microsecond; or as nanoseconds since the UNIX epoch."""

NAME_BYTES_MAX: Final = 63
"""PostgreSQL cuts off longer names, so that two of them could be one."""
LEDGER: Final = "mdp_ledger"
"""The table in which a sink records what it has committed."""

_NUMERIC_DIGITS: Final = 38
_PLAIN: Final = {
    Kind.SYMBOL: "text",
    Kind.CHAR: "text",
    Kind.INT: "bigint",
    Kind.FLOAT: "double precision",
    Kind.BOOL: "boolean",
}
_ARROW: Final[Mapping[pa.DataType, str]] = {
    pa.string(): "text",
    pa.large_string(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.float32(): "double precision",
    pa.float64(): "double precision",
    **dict.fromkeys(
        [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()],
        "bigint",
    ),
}


def load_psycopg() -> Any:
    """Return the package psycopg.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    package, extra = "psycopg", "postgres"
    try:
        import psycopg
        import psycopg.sql
    except ModuleNotFoundError as err:
        if err.name != package:
            raise
        raise MissingDependencyError(package, extra) from None
    return psycopg


def check_name(name: str, parameter: str) -> None:
    """Refuse what cannot be a name in PostgreSQL.

    Raises:
        ConfigError: If it is empty, too long, or holds a zero byte.
    """
    if not name or "\0" in name or len(name.encode()) > NAME_BYTES_MAX:
        msg = (
            f"`{parameter}` must be a name of 1 to {NAME_BYTES_MAX} bytes, none of them zero, "
            f"was {name!r}"
        )
        raise ConfigError(msg, parameter=parameter)


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, and the schema it lies in.

    Attributes:
        name: Its name.
        schema: Its schema; None for the first of the connection's search path.
    """

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"

    @property
    def sql(self) -> Composable:
        """The name in SQL."""
        identifier: Composable = (
            _sql().Identifier(self.name)
            if self.schema is None
            else _sql().Identifier(self.schema, self.name)
        )
        return identifier


def _sql() -> Any:
    return load_psycopg().sql


def type_of(field: Field, times: Times = "timestamptz") -> str:
    """Return the type of a column in PostgreSQL.

    Raises:
        SchemaError: If there is none that holds it exactly.
    """
    if field.kind is Kind.TIME:
        return times
    if field.kind is Kind.FIXED:
        return f"numeric({_NUMERIC_DIGITS},{field.scale})"
    if field.kind is not Kind.ARROW:
        return _PLAIN[field.kind]
    arrow: Any = field.arrow
    if pa.types.is_dictionary(arrow):
        arrow = arrow.value_type
    if pa.types.is_decimal(arrow):
        return f"numeric({arrow.precision},{arrow.scale})"
    if pa.types.is_timestamp(arrow):
        return times
    if arrow not in _ARROW:
        msg = (
            f"column `{field.name}` of type {field.arrow} cannot be kept in PostgreSQL; "
            f"leave it out by `columns`, or change it with `assign`"
        )
        raise SchemaError(msg)
    return _ARROW[arrow]


def column_types(schema: Schema, times: Times = "timestamptz") -> dict[str, str]:
    """Return the columns of a table for rows, and their types.

    Raises:
        SchemaError: If a column has no type there, or a name that cannot be one.
    """
    for field in schema:
        try:
            check_name(field.name, field.name)
        except ConfigError as err:
            raise SchemaError(str(err)) from None
    return {field.name: type_of(field, times) for field in schema}


def create_table(
    table: TableName,
    columns: Mapping[str, str],
    key: Sequence[str] = (),
    *,
    temporary: bool = False,
) -> Composed:
    """Return the statement that makes a table.

    Args:
        table: Its name.
        columns: Names and types; a type is a word of this module, never the user's.
        key: Columns of the primary key; none without.
        temporary: True for one that is gone with the transaction.
    """
    sql = _sql()
    lines = [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in columns.items()
    ]
    if key:
        lines.append(sql.SQL("PRIMARY KEY ({})").format(_names(key)))
    statement: Composed = sql.SQL("CREATE {}TABLE {} ({}){}").format(
        sql.SQL("TEMPORARY " if temporary else ""),
        table.sql,
        sql.SQL(", ").join(lines),
        sql.SQL(" ON COMMIT DROP" if temporary else ""),
    )
    return statement


def _names(names: Sequence[str]) -> Composable:
    sql = _sql()
    joined: Composable = sql.SQL(", ").join(sql.Identifier(name) for name in names)
    return joined


def upsert(
    table: TableName,
    source: Composable,
    columns: Sequence[str],
    key: Sequence[str] = (),
    revision: str | None = None,
) -> Composed:
    """Return the statement that puts rows into a table, over rows with the same key.

    Args:
        table: Where to.
        source: What stands after the names of the columns: `SELECT ...` or `VALUES ...`. At
            most one row for each key, or PostgreSQL refuses.
        columns: What `source` gives, in order.
        key: Columns that tell rows apart; they need a unique index. None to insert only.
        revision: A column of numbers; a row with a lower one never takes the place of a
            row with a higher one. None if the row that comes last holds.
    """
    sql = _sql()
    insert = sql.SQL("INSERT INTO {} AS present ({}) {}").format(
        table.sql, _names(columns), source
    )
    if not key:
        plain: Composed = insert
        return plain
    rest = [name for name in columns if name not in key]
    if not rest:
        nothing: Composed = sql.SQL("{} ON CONFLICT ({}) DO NOTHING").format(insert, _names(key))
        return nothing
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in rest
    )
    statement: Composed = sql.SQL("{} ON CONFLICT ({}) DO UPDATE SET {}").format(
        insert, _names(key), changes
    )
    if revision is not None:
        newer = sql.SQL(" WHERE present.{0} IS NULL OR EXCLUDED.{0} >= present.{0}").format(
            sql.Identifier(revision)
        )
        statement += newer
    return statement


def insert_values(
    table: TableName,
    columns: Sequence[str],
    key: Sequence[str] = (),
    revision: str | None = None,
) -> Composed:
    """Return `upsert` of one row of parameters, for `execute` and `executemany`."""
    sql = _sql()
    values = sql.SQL("VALUES ({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(columns)))
    schema = None if table.schema is None else _doubled(table.schema)
    return upsert(
        TableName(_doubled(table.name), schema),
        values,
        [_doubled(name) for name in columns],
        [_doubled(name) for name in key],
        None if revision is None else _doubled(revision),
    )


def _doubled(name: str) -> str:
    # Where there are parameters psycopg looks for placeholders in names as well.
    return name.replace("%", "%%")


def create_ledger(table: TableName) -> Composed:
    """Return the statement that makes the ledger if it is not there.

    One row for each lineage of each sink of each job: a higher `turn` began later, and is
    the only one that may still commit.
    """
    statement: Composed = (
        _sql()
        .SQL(
            "CREATE TABLE IF NOT EXISTS {} ("
            "job text NOT NULL, sink text NOT NULL, lineage text NOT NULL, turn bigint NOT NULL, "
            "epoch bigint NOT NULL, committed_at timestamptz NOT NULL DEFAULT now(), "
            "PRIMARY KEY (job, sink, lineage))"
        )
        .format(table.sql)
    )
    return statement


def oid_of(connection: Any, table: TableName) -> int | None:
    """Return the number of a table in the database, None if it is not there."""
    text = table.sql.as_string(connection)
    (found,) = connection.execute("SELECT to_regclass(%s)::oid", (text,)).fetchone()
    oid: int | None = found
    return oid


def lock_creation(connection: Any, table: TableName) -> None:
    """Keep others from making a table of this name until the end of the transaction.

    Two that make the same one at once would both find nothing there.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"mdp {table}",))

"""SQL for PostgreSQL, tried on a real server."""

from __future__ import annotations

import pyarrow as pa
import pytest

from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.records import BAR, TRADE, Field, Kind, Schema
from market_data_pipeline.sink.postgres_sql import (
    TableName,
    check_name,
    column_types,
    create_ledger,
    create_table,
    insert_values,
)
from support.postgres import Database

psycopg = pytest.importorskip("psycopg")

_HOSTILE = [
    'bars"; DROP TABLE keep; --',
    "bars'; DROP TABLE keep; --",
    'a"b""c',
    "select",
    "with space",
    "dots.and.more",
    "%s %(x)s {}",
    "ünï",
    "\\",
    "new\nline",
    "x" * 63,
]


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_name_is_just_a_name(postgres_database: Database, name: str) -> None:
    """Whatever a table's or column's name holds, it names one thing and does nothing else."""
    table = TableName(name, "public")
    postgres_database.rows("CREATE TABLE keep AS SELECT 42 AS answer")
    with psycopg.connect(postgres_database.dsn, autocommit=True) as connection:
        connection.execute(create_table(table, {name: "text", "v": "bigint"}, [name]))
        put = insert_values(table, [name, "v"], [name], "v")
        for value in (2, 1, 3):
            connection.execute(put, [name, value])
        connection.execute(create_ledger(TableName("mdp_ledger", "public")))
    found = postgres_database.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    assert sorted(found) == sorted([("keep",), (name,), ("mdp_ledger",)])
    with psycopg.connect(postgres_database.dsn) as connection:
        read = connection.execute(psycopg.sql.SQL("SELECT * FROM {}").format(table.sql))
        assert read.fetchall() == [(name, 3)]


def test_lower_revision_does_not_take_the_place_of_a_higher_one(
    postgres_database: Database,
) -> None:
    """Bars that come again late hold only if they are newer; equal ones do."""
    table = TableName("bars")
    put = insert_values(table, ["symbol", "close", "revision"], ["symbol"], "revision")
    with psycopg.connect(postgres_database.dsn, autocommit=True) as connection:
        columns = {"symbol": "text", "close": "numeric(38,9)", "revision": "bigint"}
        connection.execute(create_table(table, columns, ["symbol"]))
        for close, revision in ((1, 0), (3, 2), (2, 1), (4, 2)):
            connection.execute(put, ["ES", close, revision])
        found = connection.execute("SELECT close::int, revision FROM bars").fetchall()
    assert found == [(4, 2)]


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "ü" * 32])
def test_name_that_would_be_cut_off_is_refused(name: str) -> None:
    """PostgreSQL cuts long names off, so that two could be one."""
    with pytest.raises(ConfigError, match="`table` must be a name"):
        check_name(name, "table")
    with pytest.raises(SchemaError):
        column_types(Schema("odd", (Field(name, Kind.INT),), time=""))


def test_types_hold_what_the_columns_hold() -> None:
    """Fixed point is an exact number, times are times or exact nanoseconds."""
    types = column_types(BAR)
    assert types["open"] == "numeric(38,9)"
    assert types["ts_open"] == "timestamptz"
    assert types["session"] == "date"
    assert column_types(TRADE, "bigint")["ts_event"] == "bigint"


def test_column_without_a_type_is_refused_with_the_way_out() -> None:
    """A list has no place in a table of plain columns."""
    odd = Schema("odd", (Field("levels", Kind.ARROW, arrow=pa.list_(pa.int64())),), time="")
    with pytest.raises(SchemaError, match=r"column `levels` of type .*leave it out by `columns`"):
        column_types(odd)

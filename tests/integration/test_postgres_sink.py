"""The PostgreSQL sink on a real server."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import EpochMark, EpochWriter, Job
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import PressureWriter
from market_data_pipeline.errors import (
    ConfigError,
    OutputError,
    OutputExistsError,
    SchemaError,
)
from market_data_pipeline.records import BAR, Field, Kind, Schema
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.sink.postgres import PostgresSink
from support.postgres import Database
from support.sink_rows import SYMBOLS, bars, context, trades, write

pytest.importorskip("psycopg")

KEY = ("symbol", "ts_open")


def _sink(database: Database, **settings: Any) -> PostgresSink:
    return PostgresSink(**{"dsn": database.dsn, **settings})


def _revised(count: int, revisions: int, closes: int) -> Batch:
    """Return bars of different keys, on whole microseconds, of one revision and close."""
    batch = bars(count)
    columns = dict(batch.columns)
    columns["ts_open"] = 1_700_000_000_000_000_000 + np.arange(count) * 1_000_000_000
    columns["revision"] = np.full(count, revisions, np.int64)
    columns["close"] = np.full(count, closes, np.int64)
    return Batch.from_columns(batch.schema, columns, batch.symbols)


def test_every_value_comes_back_exactly(postgres_database: Database) -> None:
    """Prices are exact numbers, undefined is NULL, times keep microseconds."""
    memory = MemorySink(prices="decimal")
    batches = [bars(1000), bars(1, seed=2), bars(70_000, seed=3)]
    write(memory, batches)
    account = write(_sink(postgres_database), batches, BAR)
    assert account.rows_out == 71_001
    order = [("ts_open", "ascending"), ("open", "ascending")]
    expected = memory.read().sort_by(order)
    found = _sink(postgres_database).read().sort_by(order)
    assert found.column_names == expected.column_names
    for name in expected.column_names:
        a, b = expected[name], found[name]
        if pa.types.is_timestamp(a.type):
            micros = pa.timestamp("us", "UTC")
            a, b = a.cast(micros, safe=False), b.cast(micros, safe=False)
        assert a.cast(b.type).equals(b), name
    assert account.marks["shortened"] == 2 * 71_001


@pytest.mark.parametrize("scale", [0, 1, 2, 3, 4, 5, 8, 9, 12, 15, 16, 17, 18])
def test_numbers_of_every_scale_are_exact(postgres_database: Database, scale: int) -> None:
    """The least, the greatest and what lies at the edges of the server's own digits."""
    values = [0, 1, -1, 9, 10_000, 9_999, 10**scale, -(10**scale), 10**18, -(2**63), 2**63 - 2]
    values += [int(v) for v in np.random.default_rng(scale).integers(-(2**63), 2**63 - 1, 200)]
    schema = Schema("odd", (Field("n", Kind.INT), Field("x", Kind.FIXED, scale)), time="")
    columns = {"n": np.arange(len(values)), "x": np.array(values, np.int64)}
    write(_sink(postgres_database), [Batch.from_columns(schema, columns, SYMBOLS)])
    found = postgres_database.rows("SELECT x FROM bars ORDER BY n")
    assert [x for (x,) in found] == [Decimal(v).scaleb(-scale) for v in values]


def test_all_arrow_types_come_back(postgres_database: Database) -> None:
    """Columns of the user's own, with and without NULL, sliced too."""
    values: dict[str, pa.Array] = {
        "text": pa.array(["x", None, "ünï \\ \" '", "", "x" * 5000]),
        "large": pa.array(["a", "b", None, "d", "e"], pa.large_string()),
        "choice": pa.array(["a", "b", None, "a", "b"]).dictionary_encode(),
        "bytes": pa.array([b"\0\xff", None, b"", b"1", b"2"]),
        "flag": pa.array([True, None, False, True, False]),
        "day": pa.array([0, None, 20_000, -20_000, 1], pa.int32()).cast(pa.date32()),
        "small": pa.array([1, None, -5, 127, 0], pa.int8()),
        "real": pa.array([0.5, None, float("nan"), -1.5, 0.0], pa.float32()),
        "money": pa.array([Decimal("1.50"), None, Decimal("-0.01"), 0, 10], pa.decimal128(10, 2)),
        "huge": pa.array(
            [Decimal(10) ** 30, None, -(Decimal(10) ** 20), 0, 1], pa.decimal128(38, 4)
        ),
        "when": pa.array([0, None, 10**15, -(10**15), 1], pa.timestamp("us", "UTC")),
    }
    fields = [Field("n", Kind.INT), Field("c", Kind.CHAR)]
    fields += [Field(name, Kind.ARROW, arrow=array.type) for name, array in values.items()]
    schema = Schema("odd", tuple(fields), time="")
    columns: dict[str, Any] = {"n": np.arange(5), "c": np.array([66, 0, 200, 65, 78], np.uint8)}
    whole = Batch.from_columns(schema, columns | values, SYMBOLS)
    write(_sink(postgres_database), [whole.slice(0, 2), whole.slice(2, 5)])
    found = postgres_database.rows("SELECT * FROM bars ORDER BY n")
    for at, (name, array) in enumerate(values.items()):
        expected = array.to_pylist()
        assert repr([row[2 + at] for row in found]) == repr(expected) or (
            [row[2 + at] for row in found] == expected
        ), name
    assert [row[1] for row in found] == ["B", None, "È", "A", "N"]


def test_times_as_numbers_keep_nanoseconds(postgres_database: Database) -> None:
    """Where every nanosecond counts times are integers."""
    account = write(_sink(postgres_database, times="bigint", table="trades"), [trades(3)])
    found = postgres_database.rows("SELECT ts_event, ts_recv FROM trades ORDER BY 1")
    assert found == [(1_700_000_000_123_456_789 + i, None) for i in range(3)]
    assert "shortened" not in account.marks


def test_later_row_of_a_key_takes_the_place_of_the_earlier(postgres_database: Database) -> None:
    """Within a batch and between batches; a lower revision never does."""
    sink = _sink(postgres_database, key=KEY)
    batches = [_revised(50, 0, 1), _revised(50, 2, 3), _revised(50, 1, 2), _revised(10, 2, 4)]
    account = write(sink, [Batch.concat(batches[:1]), *batches[1:]])
    found = postgres_database.rows(
        "SELECT revision, (close * 1000000000)::bigint, count(*) FROM bars "
        "GROUP BY 1, 2 ORDER BY 2"
    )
    assert found == [(2, 3, 40), (2, 4, 10)]
    replaced = account.reasons.get("replaced", 0) + account.reasons.get("outdated", 0)
    assert account.rows_out + replaced == 160


def test_key_of_two_times_within_a_microsecond_is_refused(postgres_database: Database) -> None:
    """Two rows must not become one because the server knows no nanoseconds."""
    with pytest.raises(OutputError, match=r"`ts_open` is part of the `key`.*`times: bigint`"):
        write(_sink(postgres_database, key=KEY), [bars(3)])
    write(_sink(postgres_database, key=KEY, times="bigint", table="exact"), [bars(3)])
    assert postgres_database.rows("SELECT count(*) FROM exact") == [(3,)]


def test_table_that_exists_is_refused_with_the_ways_out(postgres_database: Database) -> None:
    """Nothing is added to a table unasked."""
    write(_sink(postgres_database), [bars(3)])
    with pytest.raises(OutputExistsError, match=r"`mode: append`.*`mode: upsert`"):
        _sink(postgres_database).check()
    with pytest.raises(OutputExistsError):
        asyncio.run(_sink(postgres_database).open(context(), BAR))
    write(_sink(postgres_database, mode="append"), [bars(4)])
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(7,)]


def test_columns_can_be_chosen_and_renamed(postgres_database: Database) -> None:
    """A table made by somebody else is filled under its own names."""
    postgres_database.rows(
        "CREATE TABLE ohlc (ticker varchar, at timestamptz, c numeric, note text, "
        "PRIMARY KEY (ticker, at)); GRANT ALL ON ohlc TO loader"
    )
    columns = {"symbol": "ticker", "ts_open": "at", "close": "c"}
    sink = _sink(postgres_database, table="ohlc", mode="upsert", key=KEY, columns=columns)
    write(sink, [_revised(5, 0, 7 * 10**9)])
    assert postgres_database.rows("SELECT DISTINCT c::int, note FROM ohlc") == [(7, None)]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (
            "symbol text, ts_open timestamptz, close double precision",
            "`close` is double precision",
        ),
        ("symbol text, ts_open timestamptz, close numeric(10,2)", r"`close` is numeric\(10,2\)"),
        ("symbol varchar(2), ts_open timestamptz, close numeric", "`symbol` is character varying"),
        ("symbol text, ts_open timestamp, close numeric", "`ts_open` is timestamp without"),
        ("symbol text, ts_open timestamptz", "`close` is missing"),
    ],
)
def test_table_that_would_not_hold_the_rows_exactly_is_refused(
    postgres_database: Database, made: str, wanted: str
) -> None:
    """Nothing is rounded, cut off or taken for another time zone unasked."""
    postgres_database.rows(f"CREATE TABLE bars ({made}); GRANT ALL ON bars TO loader")
    columns = ("symbol", "ts_open", "close")
    with pytest.raises(OutputError, match=wanted):
        write(_sink(postgres_database, mode="append", columns=columns), [_revised(3, 0, 0)])
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(0,)]


def test_key_without_a_unique_index_is_refused(postgres_database: Database) -> None:
    """Before the first row, with the statement that helps."""
    write(_sink(postgres_database), [_revised(3, 0, 0)])
    with pytest.raises(
        OutputError, match=r"no unique index on `key` \(symbol, ts_open\); add one"
    ):
        write(_sink(postgres_database, mode="upsert", key=KEY), [_revised(3, 0, 0)])


def test_hypertable_without_the_extension_is_refused(postgres_database: Database) -> None:
    """It is asked for, so a plain table in its place would be a surprise."""
    with pytest.raises(OutputError, match="there is no TimescaleDB"):
        write(_sink(postgres_database, hypertable=True), [bars(3)], BAR)
    assert postgres_database.rows("SELECT to_regclass('bars')") == [(None,)]


def test_hypertable_is_made_by_the_event_time(postgres_database: Database) -> None:
    """The extension's function is called with the table and its time."""
    postgres_database.rows(
        "CREATE TABLE asked (t regclass, c name); GRANT ALL ON asked TO loader; "
        "CREATE FUNCTION create_hypertable(regclass, name) RETURNS void LANGUAGE sql AS "
        "'INSERT INTO asked VALUES ($1, $2)'"
    )
    write(_sink(postgres_database, hypertable=True), [bars(3)], BAR)
    assert postgres_database.rows("SELECT t::text, c FROM asked") == [("bars", "ts_open")]


def test_zero_byte_in_a_text_is_an_error_that_names_the_column(
    postgres_database: Database,
) -> None:
    """PostgreSQL has no zero bytes in text; the rows before it stay."""
    with pytest.raises(OutputError, match="column `note` holds a zero byte"):
        write(_sink(postgres_database), [trades(2, ["fine", "a\0b"])])


def test_password_is_in_no_error(postgres_database: Database) -> None:
    """Neither of a wrong address nor of a server that refuses."""
    secret = "hunter2"  # noqa: S105
    good = postgres_database.dsn
    wrong = [
        good.replace(postgres_database.password, secret),
        f"postgresql://user:{secret}@127.0.0.1:1/db",
        f"postgresql://user:{secret}@127.0.0.1:port/db",
        f"{secret} {secret}",
        f"postgresql://user:{secret}@127.0.0.1/db?service=x",
        f"postgresql://user:{secret}@127.0.0.1/db?options=-csearch_path%3Dx",
        f"postgresql://user:{secret}@127.0.0.1/db?sslkey=/etc/passwd",
    ]
    for dsn in wrong:
        sink = PostgresSink(dsn=dsn)
        with pytest.raises((ConfigError, OutputError)) as found:
            sink.check()
        shown = "".join(traceback.format_exception(found.value)) + repr(sink)
        assert secret not in shown


def test_address_comes_from_the_environment(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name that is given, or by the one that everybody uses."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigError, match="neither is the environment variable `DATABASE_URL`"):
        PostgresSink().check()
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    PostgresSink().check()
    monkeypatch.setenv("MDP_TEST_DSN", postgres_database.dsn)
    PostgresSink(dsn="${env:MDP_TEST_DSN}").check()


def _in_epochs(
    sink: PostgresSink,
    steps: Callable[[Any], Any],
    *,
    lineage: str = "one",
    schema: Schema | None = BAR,
) -> NodeContext:
    given = replace(context(), job=Job("job", lineage))

    async def run() -> None:
        writer = await sink.open(given, schema)
        assert isinstance(writer, EpochWriter)
        assert isinstance(writer, PressureWriter)
        try:
            await steps(writer)
            await writer.finish()
        except BaseException:
            await writer.abort()
            raise

    asyncio.run(run())
    return given


def test_epoch_is_visible_once_it_is_committed_and_only_once(
    postgres_database: Database, tmp_path: Path
) -> None:
    """Rows and the ledger's row come together, however often the commit is called."""
    counts: list[Any] = []

    def look() -> None:
        counts.append(postgres_database.rows("SELECT count(*) FROM bars")[0][0])

    async def steps(writer: Any) -> None:
        await writer.write(bars(10))
        assert await writer.committed() is None
        folder = tmp_path / "1"
        folder.mkdir()
        await writer.stage(1, folder)
        look()
        for _ in range(3):
            await writer.commit(1, folder)
            look()
        assert await writer.committed() == EpochMark("one", 1)
        assert writer.pressure().commit_s > 0

    _in_epochs(_sink(postgres_database), steps)
    assert counts == [0, 10, 10, 10]
    assert postgres_database.rows("SELECT job, sink, lineage, epoch FROM mdp_ledger") == [
        ("job", "store", "one", 1)
    ]


def test_no_backend_is_left_behind(postgres_database: Database) -> None:
    """After the regular end, a failure and a failure to open."""

    async def fail(writer: Any) -> None:
        await writer.write(bars(10))
        await writer.committed()
        msg = "elsewhere"
        raise RuntimeError(msg)

    write(_sink(postgres_database), [bars(3)])
    with pytest.raises(OutputExistsError):
        write(_sink(postgres_database), [bars(3)])
    with pytest.raises(RuntimeError):
        _in_epochs(_sink(postgres_database, table="other"), fail)
    with pytest.raises(SchemaError):
        write(_sink(postgres_database, mode="append"), [bars(3), trades(3)])
    left = postgres_database.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND usename = 'loader'"
    )
    assert left == [(0,)]

"""The PostgreSQL sink while its server is restarted, its backend killed, its line cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.sink.postgres import PostgresSink
from support.postgres import Database, PostgresServer, postgres_server
from support.sink_rows import bars, context, write
from support.tcp_proxy import TcpProxy

pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with postgres_server() as server:
        yield server


def _in_epochs(
    sink: PostgresSink, folder: Path, steps: Callable[[Any, Path], Awaitable[None]]
) -> NodeContext:
    given = replace(context(), job=Job("job", "one"))

    async def run() -> None:
        writer = await sink.open(given, BAR)
        try:
            await steps(writer, folder)
            await writer.finish()
        except BaseException:
            await writer.abort()
            raise

    asyncio.run(run())
    return given


async def _epoch(writer: Any, folder: Path, epoch: int, rows: int) -> None:
    within = folder / str(epoch)
    within.mkdir()
    await writer.write(bars(rows, seed=epoch))
    await writer.stage(epoch, within)
    await writer.commit(epoch, within)


def _count(database: Database) -> int:
    [(count,)] = database.rows("SELECT count(*) FROM bars")
    return int(count)


def _backends(database: Database) -> int:
    """Return the sessions of the plain role that are left, once they had time to end."""
    count = -1
    for _ in range(100):
        [(count, _)] = database.rows(
            "SELECT count(*), pg_sleep(0.05) FROM pg_stat_activity WHERE usename = 'loader'"
        )
        if not count:
            break
    return int(count)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart_between_epochs_loses_and_repeats_nothing(
    own_server: PostgresServer, tmp_path: Path, mode: Any
) -> None:
    """The connection is broken and made again; the epoch is committed once."""
    database = own_server.database()

    async def steps(writer: Any, folder: Path) -> None:
        for epoch in range(1, 4):
            await _epoch(writer, folder, epoch, 100)
            await asyncio.to_thread(own_server.restart, mode)
        assert await writer.committed() == EpochMark("one", 3)

    _in_epochs(PostgresSink(database.dsn), tmp_path, steps)
    assert _count(database) == 300
    assert _backends(database) == 0


def test_server_that_is_away_is_waited_for(own_server: PostgresServer, tmp_path: Path) -> None:
    """A commit goes on once the server is back."""
    database = own_server.database()

    async def steps(writer: Any, folder: Path) -> None:
        await _epoch(writer, folder, 1, 100)
        await asyncio.to_thread(own_server.stop, "immediate")
        async with asyncio.TaskGroup() as group:
            group.create_task(_epoch(writer, folder, 2, 100))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(own_server.start)

    _in_epochs(PostgresSink(database.dsn), tmp_path, steps)
    assert _count(database) == 200


@pytest.mark.parametrize("with_job", [True, False])
@pytest.mark.parametrize("key", [(), ("symbol", "ts_open")])
def test_backend_killed_in_the_middle_of_copy_is_tried_again(
    postgres_database: Database, tmp_path: Path, with_job: bool, key: tuple[str, ...]
) -> None:
    """Nothing of the transaction is there, so all of it is done again."""
    kills: list[int] = []

    def kill() -> None:
        found = postgres_database.rows(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity "
            "WHERE usename = 'loader' AND datname = current_database()"
        )
        kills.append(len(found))

    with _proxy(postgres_database) as proxy:
        proxy.after_bytes(3_000_000, kill, times=3)
        sink = PostgresSink(_through(proxy, postgres_database), key=key, times="bigint")
        if with_job:
            _in_epochs(sink, tmp_path, lambda w, f: _epoch(w, f, 1, 60_000))
        else:
            write(sink, [bars(60_000, seed=1)])
    assert kills == [1, 1, 1]
    assert _count(postgres_database) == 60_000
    assert _backends(postgres_database) == 0


def _proxy(database: Database) -> TcpProxy:
    parts = urlsplit(database.dsn)
    assert parts.port is not None
    return TcpProxy("127.0.0.1", parts.port)


def _through(proxy: TcpProxy, database: Database) -> str:
    parts = urlsplit(database.dsn)
    return database.dsn.replace(f":{parts.port}/", f":{proxy.port}/")


@pytest.mark.parametrize("key", [(), ("symbol", "ts_open")])
def test_lost_reply_to_commit_does_not_repeat_the_rows(
    postgres_database: Database, tmp_path: Path, key: tuple[str, ...]
) -> None:
    """The server has committed and nobody knows: the ledger says so."""
    with _proxy(postgres_database) as proxy:

        async def steps(writer: Any, folder: Path) -> None:
            for epoch in range(1, 4):
                within = folder / str(epoch)
                within.mkdir()
                await writer.write(bars(100, seed=epoch))
                await writer.stage(epoch, within)
                proxy.cut_after(b"COMMIT")
                await writer.commit(epoch, within)

        sink = PostgresSink(_through(proxy, postgres_database), key=key, times="bigint")
        _in_epochs(sink, tmp_path, steps)
        assert proxy.cuts == 3
    [(rows, lineage, epoch)] = postgres_database.rows(
        "SELECT (SELECT count(*) FROM bars), lineage, epoch FROM mdp_ledger"
    )
    assert (lineage, epoch) == ("one", 3)
    distinct = len({(r["symbol"], r["ts_open"]) for e in (1, 2, 3) for r in _rows(e)})
    assert rows == (distinct if key else 300)
    assert _backends(postgres_database) == 0


def _rows(epoch: int) -> list[dict[str, Any]]:
    memory = MemorySink()
    write(memory, [bars(100, seed=epoch)])
    found: list[dict[str, Any]] = memory.read().select(["symbol", "ts_open"]).to_pylist()
    return found


def test_lost_reply_without_checkpoints_repeats_rows_unless_they_have_a_key(
    postgres_database: Database,
) -> None:
    """At least once, as the docs say; by key that is once."""
    for table, key, expected in (("plain", (), 200), ("keyed", ("symbol", "ts_open"), 100)):
        with _proxy(postgres_database) as proxy:
            dsn = _through(proxy, postgres_database)
            sink = PostgresSink(dsn, table=table, key=key, times="bigint")

            async def run(sink: PostgresSink = sink, proxy: TcpProxy = proxy) -> None:
                writer = await sink.open(context(), BAR)
                proxy.cut_after(b"COMMIT")
                await writer.write(bars(100))
                await writer.finish()

            asyncio.run(run())
            assert proxy.cuts == 1
        assert postgres_database.rows(f"SELECT count(*) FROM {table}") == [(expected,)]  # noqa: S608


def test_cancelled_commit_ends_at_once_and_leaves_no_session(
    postgres_database: Database, tmp_path: Path
) -> None:
    """A statement that waits for a lock is cancelled on the server, not left to it."""
    write(PostgresSink(postgres_database.dsn), [bars(1)])
    psycopg = pytest.importorskip("psycopg")

    async def run() -> None:
        given = replace(context(), job=Job("job", "one"))
        sink = PostgresSink(postgres_database.dsn, mode="append")
        writer: Any = await sink.open(given, BAR)
        await writer.write(bars(10))
        await writer.stage(1, tmp_path)
        with psycopg.connect(postgres_database.superuser_dsn) as other:
            other.execute("LOCK TABLE bars IN ACCESS EXCLUSIVE MODE")
            task = asyncio.create_task(writer.commit(1, tmp_path))
            await asyncio.sleep(0.3)
            task.cancel()
            async with asyncio.timeout(5):
                with pytest.raises(asyncio.CancelledError):
                    await task
                await writer.abort()

    asyncio.run(run())
    assert _backends(postgres_database) == 0
    assert _count(postgres_database) == 1


def test_cancelled_commit_on_a_dead_line_ends_within_seconds(
    postgres_database: Database, tmp_path: Path
) -> None:
    """Where the server cannot even be asked to cancel, the connection is cut."""
    with _proxy(postgres_database) as proxy:

        async def run() -> None:
            given = replace(context(), job=Job("job", "one"))
            sink = PostgresSink(_through(proxy, postgres_database))
            writer: Any = await sink.open(given, BAR)
            await writer.write(bars(10))
            await writer.stage(1, tmp_path)
            proxy.fall_silent()
            task = asyncio.create_task(writer.commit(1, tmp_path))
            await asyncio.sleep(0.2)
            task.cancel()
            async with asyncio.timeout(15):
                with pytest.raises(asyncio.CancelledError):
                    await task
                await writer.abort()

        asyncio.run(run())
    assert _backends(postgres_database) == 0


def test_error_that_stays_is_not_tried_again(postgres_database: Database, tmp_path: Path) -> None:
    """A table without room for the number fails at once, with the server's words."""
    postgres_database.rows(
        "CREATE TABLE bars (symbol text, close numeric CHECK (close < 1)); "
        "GRANT ALL ON bars TO loader"
    )
    sink = PostgresSink(postgres_database.dsn, mode="append", columns=("symbol", "close"))
    with pytest.raises(OutputError, match=r"table `bars`: PostgreSQL: .*check.*SQLSTATE 23514$"):
        write(sink, [bars(100)])
    assert _count(postgres_database) == 0

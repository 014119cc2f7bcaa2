"""Stores behind a write coordinator, with a stand-in for the package that has it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from market_data_pipeline.adapters.sink_adapter import StoreSinkAdapter
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import FlushedWriter, Job
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure, PressureLevel
from market_data_pipeline.errors import (
    ConfigError,
    MissingDependencyError,
    OutputError,
    SchemaError,
    SinkError,
)
from market_data_pipeline.symbols import SymbolTable
from support.manual_clock import ManualClock
from support.nodes import trades
from support.store_package import install_store

SYMBOLS = SymbolTable()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in."""
    return install_store(monkeypatch)


class Sink:
    def __init__(self, *failures: Exception | None) -> None:
        self.rows: list[Any] = []
        self._failures = list(failures)
        self.flushed = 0

    async def write(self, rows: Sequence[Any]) -> None:
        await asyncio.sleep(0)
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure
        self.rows += rows

    def flush(self) -> None:
        self.flushed += 1


class Plain:
    """A sink without a coroutine function."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def write(self, rows: Sequence[Any]) -> None:
        self.rows += rows


def times(batch: Batch) -> list[int]:
    found: list[int] = batch.times.tolist()
    return found


def batch(first: int, rows: int = 5) -> Batch:
    return trades(range(first, first + rows), SYMBOLS)


def context_of(clock: ManualClock | None = None) -> NodeContext:
    return NodeContext("store", account=Account("store"), clock=clock or ManualClock())


async def written(adapter: StoreSinkAdapter, context: NodeContext, *batches: Batch) -> None:
    """Write batches to the end; give up after a failure, as a run does."""
    writer = await adapter.open(context, None)
    try:
        for rows in batches:
            await writer.write(rows)
        await writer.finish()
    except BaseException:
        await writer.abort()
        raise


@pytest.mark.parametrize("sink", [Sink(), Plain()], ids=["async", "sync"])
def test_rows_count_as_written_once_they_are(store: Any, sink: Any) -> None:
    """In order; the sink is flushed at the end if it can be, and nobody listens any more."""
    context = context_of()
    adapter = StoreSinkAdapter.from_sink(sink, convert=times)
    asyncio.run(written(adapter, context, batch(0), batch(5)))
    assert sink.rows == list(range(10))
    assert (context.account.rows_out, context.account.held) == (10, 0)
    assert store.bus.listeners == []
    assert getattr(sink, "flushed", 1) == 1


@pytest.mark.usefixtures("store")
def test_rows_of_a_failed_write_stay_in_the_account() -> None:
    """And no later batch is written over the gap once it is known."""
    sink, context = Sink(None, ValueError("broken")), context_of()
    adapter = StoreSinkAdapter.from_sink(sink, convert=times)
    with pytest.raises(SinkError, match="5 rows could not be written: ValueError: broken"):
        asyncio.run(written(adapter, context, batch(0), batch(5)))
    assert (context.account.rows_out, context.account.held) == (5, 5)


@pytest.mark.usefixtures("store")
def test_transient_failures_are_tried_again_as_the_policy_says() -> None:
    """So many times, with its delays; connection errors as well."""
    clock = ManualClock()
    sink = Sink(ValueError("busy"), ConnectionResetError())
    adapter = StoreSinkAdapter.from_sink(sink, convert=times)
    asyncio.run(written(adapter, context_of(clock), batch(0)))
    assert sink.rows == list(range(5))
    assert clock.slept == [0.05, 0.1]
    hopeless = StoreSinkAdapter.from_sink(Sink(*[ValueError("busy")] * 3), convert=times)
    with pytest.raises(SinkError, match="ValueError: busy"):
        asyncio.run(written(hopeless, context_of(), batch(0)))


def test_sink_that_hangs_is_an_error_in_the_end(store: Any) -> None:
    """After `stall_after` without a batch written."""
    clock = ManualClock()

    class Hanging(Sink):
        async def write(self, rows: Sequence[Any]) -> None:
            clock.now_s += 20
            await asyncio.get_running_loop().create_future()

    adapter = StoreSinkAdapter.from_sink(
        Hanging(), convert=times, poll="1ms", stall_after="10s", stop_timeout="1ms"
    )

    async def main() -> None:
        writer = await adapter.open(context_of(clock), None)
        await writer.write(batch(0))
        await writer.finish()

    with pytest.raises(SinkError, match="has written nothing for 10 s, and 1 items wait"):
        asyncio.run(main())


@pytest.mark.usefixtures("store")
def test_flush_waits_until_every_row_is_written() -> None:
    """A checkpoint may only be taken of what is there."""
    sink, context = Sink(), context_of()

    async def main() -> tuple[int, int]:
        writer = await StoreSinkAdapter.from_sink(sink, convert=times).open(context, None)
        assert isinstance(writer, FlushedWriter)
        await writer.write(batch(0))
        await writer.flush()
        found = len(sink.rows), context.account.held
        await writer.finish()
        return found

    assert asyncio.run(main()) == (5, 0)


def test_supplied_coordinator_takes_no_part_in_checkpoints(store: Any) -> None:
    """Nobody could know what of it is written."""
    adapter = StoreSinkAdapter.wrap(store.make(sink=Sink()), convert=times)
    context = NodeContext("store", job=Job("job", "lineage"))
    with pytest.raises(ConfigError, match="cannot take part in checkpoints; use `from_sink`"):
        asyncio.run(adapter.open(context, None))


def test_dead_worker_of_a_supplied_coordinator_is_an_error(store: Any) -> None:
    """While its queue is full, which would make the writer wait for ever."""
    context = context_of()

    async def main() -> None:
        coordinator = store.make(sink=Sink(ValueError("broken")), capacity=2)
        adapter = StoreSinkAdapter.wrap(coordinator, convert=times, poll="1ms")
        await written(adapter, context, batch(0, 10))

    with pytest.raises(SinkError, match="1 of 1 workers of the coordinator `default` died"):
        asyncio.run(main())
    assert context.account.held + context.account.rows_out == 10


def test_stalled_coordinator_is_an_error_unless_its_circuit_is_open(store: Any) -> None:
    """An open circuit is a pause that it takes on purpose."""
    clock = ManualClock()

    async def main(state: str) -> None:
        coordinator = store.make(sink=Sink())
        coordinator.stalls, coordinator.state = True, state
        adapter = StoreSinkAdapter.wrap(
            coordinator, convert=times, poll="100ms", stall_after="5s", stop_timeout="1ms"
        )
        async with asyncio.timeout(0.1):
            await written(adapter, context_of(clock), batch(0))

    with pytest.raises(SinkError, match="has written nothing for 5 s, and 5 items wait"):
        asyncio.run(main("closed"))
    with pytest.raises(TimeoutError):
        asyncio.run(main("open"))


def test_items_that_are_left_are_an_error_with_their_number(store: Any) -> None:
    """A coordinator that stops without writing what it has."""

    async def main() -> None:
        coordinator = store.make(sink=Sink())
        adapter = StoreSinkAdapter.wrap(coordinator, convert=times)
        writer = await adapter.open(context_of(), None)
        await writer.write(batch(0))
        coordinator.stalls = True
        real = coordinator.health

        async def stop(**_: Any) -> None:
            await coordinator.submit(1)
            await coordinator.submit(2)

        coordinator.stop = stop
        while real().queue_size:
            coordinator.stalls = False
            await asyncio.sleep(0)
        coordinator.stalls = True
        await writer.finish()

    with pytest.raises(SinkError, match="stopped with 2 items that were not written"):
        asyncio.run(main())


def test_events_of_others_are_not_heard(store: Any) -> None:
    """The bus is one for the process; the level stands until the queue is empty."""
    told: list[Pressure] = []

    async def main() -> list[PressureLevel | None]:
        coordinator = store.make(sink=Sink(), coord_id="mine")
        coordinator.stalls = True
        adapter = StoreSinkAdapter.wrap(coordinator, convert=times, coord_id="mine")
        writer = await adapter.open(context_of(), None)
        writer.on_pressure(told.append)
        await writer.write(batch(0, 3))
        levels = [writer.pressure().level]
        event = {"queue_size": 3, "capacity": 10, "level": "hard"}
        await store.bus.publish(coordinator_id="yours", **event)
        levels.append(writer.pressure().level)
        await store.bus.publish(coordinator_id="mine", **event)
        levels.append(writer.pressure().level)
        while coordinator.health().queue_size:
            coordinator._queue.get_nowait()
        levels.append(writer.pressure().level)
        await writer.abort()
        return levels

    assert asyncio.run(main()) == [None, None, PressureLevel.HARD, None]
    assert [(p.queue_depth, p.capacity, p.level) for p in told] == [(3, 10, PressureLevel.HARD)]


def test_conversion_must_make_an_item_of_each_row(store: Any) -> None:
    """For a coordinator that counts items, or the account would be a guess."""

    async def main() -> None:
        adapter = StoreSinkAdapter.wrap(store.make(sink=Sink()), convert=lambda _: [1])
        await written(adapter, context_of(), batch(0))

    with pytest.raises(SchemaError, match="made 1 of 5"):
        asyncio.run(main())


def test_coordinator_of_another_build_is_not_guarded(store: Any) -> None:
    """What is to be changed must be there."""

    async def main() -> None:
        adapter = StoreSinkAdapter.wrap(store.make(sink=Sink()), convert=times, guard=True)
        await adapter.open(context_of(), None)

    with pytest.raises(ConfigError, match="no queue that could be guarded"):
        asyncio.run(main())


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything runs."""
    monkeypatch.setitem(sys.modules, "market_data_store", None)
    with pytest.raises(MissingDependencyError, match=r"market-data-pipeline\[store\]"):
        StoreSinkAdapter.from_sink(Sink()).check()


@pytest.mark.usefixtures("store")
def test_records_of_core_need_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the default; with a conversion of one's own core is not needed."""
    monkeypatch.setitem(sys.modules, "market_data_core", None)
    with pytest.raises(MissingDependencyError, match=r"market-data-pipeline\[core\]"):
        StoreSinkAdapter.from_sink(Sink()).check()
    StoreSinkAdapter.from_sink(Sink(), convert=times).check()
    with pytest.raises(OutputError, match="ask the store"):
        StoreSinkAdapter.from_sink(Sink(), convert=times).read()

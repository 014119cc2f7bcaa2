"""The loop from a real store back to the provider: slowed to a tenth, and well again."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings
from market_data_pipeline.sink.postgres import PostgresSink
from support.optional_packages import real_package
from support.postgres import Database

RATE = 3_000.0
"""Rows a second that the provider gives."""
SLOW_S = 0.0033
"""What a row costs a store that takes a tenth of that."""

_SLOWED = """
CREATE TABLE trades (ts_event bigint, symbol text, price numeric(38, 9), size numeric(38, 9),
                     trade_id bigint);
CREATE TABLE slowness (seconds double precision);
INSERT INTO slowness VALUES (0);
CREATE FUNCTION slow_down() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE seconds double precision;
BEGIN
    -- Not for each row: a sleep takes milliseconds more than it is told.
    IF NEW.trade_id % 25 = 0 THEN
        SELECT s.seconds INTO seconds FROM slowness s;
        PERFORM pg_sleep(25 * seconds);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slow_down BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION slow_down();
GRANT ALL ON trades, slowness TO PUBLIC;
"""


@dataclass
class Moment:
    """What there was to see at one time."""

    at_s: float
    scale: float
    reason: str
    rows: int
    memory: int


class Watch:
    """Looks at a pipeline several times a second."""

    def __init__(self, runtime: PipelineRuntime, key: str) -> None:
        self._runtime = runtime
        self._key = key
        self._began_s = asyncio.get_running_loop().time()
        self.moments: list[Moment] = []

    async def until(self, condition: Callable[[Moment], bool], within_s: float) -> Moment:
        async with asyncio.timeout(within_s):
            while True:
                await asyncio.sleep(0.1)
                now = self._look()
                assert not self._runtime.status(self._key).is_over
                if condition(now):
                    return now

    async def flows(self, rows: float, within_s: float) -> None:
        """Return once so many more rows are given."""
        first = self._look()
        await self.until(lambda m: m.rows >= first.rows + rows, within_s)

    async def rate(self, seconds: float) -> float:
        """Return the rows a second that the provider gives, over some seconds."""
        first = self._look()
        await asyncio.sleep(seconds)
        last = self._look()
        return (last.rows - first.rows) / (last.at_s - first.at_s)

    def _look(self) -> Moment:
        run, feedback = self._runtime.status(self._key).run, self._runtime.feedback
        assert run is not None
        assert feedback is not None
        provider = feedback.state().providers.get("venue")
        nodes = run.nodes()
        self.moments.append(
            Moment(
                asyncio.get_running_loop().time() - self._began_s,
                1.0 if provider is None else provider.scale,
                "" if provider is None else provider.reason,
                nodes["feed"].rows_out if "feed" in nodes else 0,
                tracemalloc.get_traced_memory()[0],
            )
        )
        return self.moments[-1]


def pipeline(sink: Any) -> mdp.Dag:
    dag = mdp.Dag("loop")
    source = mdp.SyntheticSource(
        rows=10_000_000, rate=RATE, speed=1.0, provider="venue", duplicates=0, disorder=0, late=0
    )
    columns = ["ts_event", "symbol", "price", "size", "trade_id"]
    dag.source(source, name="feed").select(columns).sink(sink, name="store")
    return dag


@asynccontextmanager
async def running(sink: Any) -> AsyncIterator[tuple[PipelineRuntime, str, Watch]]:
    settings = PipelineRuntimeSettings(
        dag={"drain_timeout_s": 60, "feedback": {"delay_max_s": 0.6, "interval_s": 0.1}}
    )
    async with PipelineRuntime(settings) as runtime:
        key = await runtime.start(pipeline(sink))
        yield runtime, key, Watch(runtime, key)


async def slowed_and_well_again(
    watch: Watch, slow: Callable[[float], None], written: Callable[[], int]
) -> None:
    """Slow the store down to a tenth, see the provider follow, and see it come back."""
    # A market is faster and slower by turns, and the machine may have more to do.
    await watch.flows(2 * RATE, within_s=20)
    await asyncio.to_thread(slow, SLOW_S)
    fell = await watch.until(lambda m: m.scale < 0.2, 8)
    # The store is busy with what it has taken; the provider gives no more than it can take.
    await watch.until(lambda m: m.scale > 0.0 and m.at_s > fell.at_s + 1, 40)
    before_rows, before_s = await asyncio.to_thread(written), watch.moments[-1].at_s
    given = await watch.rate(8.0)
    capacity = (await asyncio.to_thread(written) - before_rows) / (
        watch.moments[-1].at_s - before_s
    )
    assert 0 < capacity <= 0.15 * RATE
    assert 0.2 * capacity <= given <= 2.0 * capacity + 0.02 * RATE
    await asyncio.to_thread(slow, 0.0)
    back = await watch.until(lambda m: m.scale == 1.0, 25)
    await watch.flows(2 * RATE, within_s=20)
    memory = [m.memory for m in watch.moments if m.at_s < back.at_s]
    assert max(memory) - min(memory) < 40e6


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_provider_follows_a_coordinator_by_its_feedback_events() -> None:
    """The same through a `WriteCoordinator`: its events reach the provider, and are counted."""
    real_package("market_data_store", "store")
    real_package("market_data_core", "core")
    from market_data_store import WriteCoordinator

    from market_data_pipeline.adapters.sink_adapter import StoreSinkAdapter

    class Store:
        rows = 0
        seconds = 0.0

        async def write(self, batch: Sequence[Any]) -> None:
            await asyncio.sleep(self.seconds * len(batch))
            self.rows += len(batch)

    store = Store()
    events = 0

    def slow(seconds: float) -> None:
        store.seconds = seconds

    async def scenario() -> RunResult:
        nonlocal events
        coordinator: Any = WriteCoordinator(
            sink=store, capacity=2_000, workers=1, batch_size=100, flush_interval=0.05
        )
        sink = StoreSinkAdapter.wrap(
            coordinator, convert=lambda batch: batch.times.tolist(), guard=True
        )
        async with running(sink) as (runtime, key, watch):
            await slowed_and_well_again(watch, slow, lambda: store.rows)
            assert runtime.feedback is not None
            events = runtime.feedback.state().events
            await runtime.stop(key)
            return await runtime.wait(key)

    with pytest.warns(RuntimeWarning, match="`guard=True`"):
        result = asyncio.run(scenario())
    assert events > 0
    check(result, store.rows)


def check(result: RunResult, written: int) -> None:
    """See that each row the provider gave is in the store, once."""
    result.ledger.check()
    assert result.ledger["feed"].rows_out == result.ledger["store"].rows_out == written


@pytest.fixture
def traced() -> Any:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_provider_follows_a_postgres_that_is_slowed_to_a_tenth(
    postgres_database: Database,
) -> None:
    """Within seconds the rate is what the store takes; no row is lost; it comes back."""
    pytest.importorskip("psycopg")
    postgres_database.rows(_SLOWED)
    sink = PostgresSink(dsn=postgres_database.dsn, table="trades", mode="append", times="bigint")

    def count() -> int:
        return int(postgres_database.rows("SELECT count(*) FROM trades")[0][0])

    def slow(seconds: float) -> None:
        postgres_database.rows("UPDATE slowness SET seconds = %s", (seconds,))

    async def scenario() -> RunResult:
        async with running(sink) as (runtime, key, watch):
            await slowed_and_well_again(watch, slow, count)
            await runtime.stop(key)
            return await runtime.wait(key)

    result = asyncio.run(scenario())
    check(result, count())
    distinct = postgres_database.rows("SELECT count(DISTINCT trade_id) FROM trades")[0][0]
    assert distinct == result.ledger["store"].rows_out

"""Any provider as a source of a graph."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from market_data_pipeline.adapters.provider_source import ProviderReader, ProviderSource
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.messages import Idle, Status, Watermark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SourceItem
from market_data_pipeline.dag.pressure import ThrottledReader
from market_data_pipeline.errors import ConfigError, NodeError, RecordError, SourceError
from market_data_pipeline.flow import Dag
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.running import run
from support.manual_clock import ManualClock
from support.providers import START_NS, FakeProvider, TransientError, quote


@pytest.fixture(autouse=True)
def without_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about what needs no other package."""
    monkeypatch.setitem(sys.modules, "market_data_core", None)


@dataclass
class Adjustment:
    provider: str
    scale: float


Given = list[tuple[str, SourceItem]]


async def read_all(reader: ProviderReader, *, most: int = 1000) -> Given:
    """Return what a source gives up to its end, then close it."""
    given: Given = []
    try:
        while len(given) < most and (more := await reader.read()) is not None:
            given += more
    finally:
        await reader.close()
    return given


def context_of(clock: ManualClock | None = None, **settings: Any) -> NodeContext:
    return NodeContext("feed", account=Account("feed"), clock=clock or ManualClock(), **settings)


def play(provider: FakeProvider, context: NodeContext | None = None, **settings: Any) -> Given:
    """Return what a provider gives, as a source gives it."""
    source = ProviderSource(provider, ("A",), **settings)

    async def main() -> Given:
        return await read_all(await source.open(context or context_of()))

    return asyncio.run(main())


def rows_of(given: Given) -> int:
    return sum(len(item) for port, item in given if port == "out" and isinstance(item, Batch))


def states_of(given: Given) -> list[str]:
    return [item.state for _, item in given if isinstance(item, Status)]


def batches_of(given: Given, port: str = "out") -> list[Batch]:
    return [item for where, item in given if where == port and isinstance(item, Batch)]


@pytest.mark.parametrize("shape", ["generator", "coroutine", "list", "iterator"])
def test_every_shape_of_call_is_read(
    shape: Literal["generator", "coroutine", "list", "iterator"],
) -> None:
    """An async generator, a coroutine that returns one, a list and a plain iterator."""
    context = context_of()
    given = play(FakeProvider([quote(0), quote(1)], shape=shape), context)
    assert rows_of(given) == 2
    assert context.account.rows_in == 2


def test_decimals_are_exact_and_sides_may_be_empty() -> None:
    """Prices become fixed point without a float between; what is not told is undefined."""
    price = Decimal("123456789.123456789")
    (batch,) = batches_of(play(FakeProvider([quote(0, bid=price, ask=None)])))
    assert batch["bid_price"].tolist() == [123_456_789_123_456_789]
    assert batch["bid_size"].tolist() == [10**9]
    assert batch["ask_price"].tolist() == [UNDEFINED]
    assert batch["ask_size"].tolist() == [UNDEFINED]
    assert batch["ts_event"].tolist() == [START_NS]


def test_time_without_zone_is_utc() -> None:
    """As market_data_core's own defaults are."""
    naive = quote(0).timestamp.replace(tzinfo=None)
    (batch,) = batches_of(play(FakeProvider([quote(0), SimpleNamespace(symbol="A", ts=naive)])))
    assert batch["ts_event"].tolist() == [START_NS, START_NS]


def test_what_cannot_be_taken_is_rejected_with_the_reason() -> None:
    """One bad record costs itself, and is counted."""
    context = context_of()
    odd = [
        quote(0),
        quote(0, bid=Decimal("1.0000000001")),
        quote(0, bid=float("nan")),
        quote(0, bid_size=-1),
        SimpleNamespace(symbol="A"),
        "no record at all",
        quote(1),
    ]
    given = play(FakeProvider(odd), context)
    (rejected,) = batches_of(given, "rejected")
    assert rejected["reason"].to_pylist() == [
        "inexact",
        "not_finite",
        "negative",
        "missing",
        "missing",
    ]
    assert rejected["row"].tolist() == [2, 3, 4, 5, 6]
    assert set(rejected["place"].to_pylist()) == {"provider `fake`"}
    assert rows_of(given) == 2
    assert context.account.rows_in == 7
    assert context.account.reasons == {"rejected": 5}


def test_strict_source_fails_on_the_first_bad_record() -> None:
    """It names the record and the reason."""
    with pytest.raises(RecordError, match="provider `fake`, row 2: `symbol` is empty"):
        play(FakeProvider([quote(0), quote(0, symbol=None)]), strict=True)


def test_transient_failure_opens_the_stream_again() -> None:
    """The stream is closed, the delay passes, rows go on; the states say so in between."""
    clock = ManualClock()
    provider = FakeProvider([quote(0), TransientError()], [quote(5)])
    given = play(provider, context_of(clock))
    assert rows_of(given) == 2
    assert states_of(given) == ["live", "disconnected", "live"]
    assert provider.log == ["asked", "stream closed", "asked", "stream closed"]
    assert len(clock.slept) == 1
    assert 0.5 <= clock.slept[0] <= 1.5


def test_states_stand_between_the_rows_they_are_about() -> None:
    """An outage is told after the last row before it, and ended before the next row."""
    provider = FakeProvider([quote(0), TransientError()], [quote(5)])
    kinds = [
        item.state if isinstance(item, Status) else type(item).__name__
        for _, item in play(provider)
    ]
    assert kinds == ["live", "Batch", "disconnected", "live", "Batch"]


def test_feed_is_live_again_from_its_first_row_on() -> None:
    """The row happened before it was heard of, and must not fall into the outage."""
    clock = ManualClock()
    clock.now_s = START_NS / 1e9 + 100
    provider = FakeProvider([quote(0), TransientError()], [quote(50)])
    given = play(provider, context_of(clock))
    live = [i for _, i in given if isinstance(i, Status) and i.state == "live"]
    assert live[-1].time == START_NS + 50 * 10**9


def test_outage_lets_others_go_on_where_that_is_asked_for() -> None:
    """With `on_outage: close` others do not wait for the watermark of a dead feed."""
    provider = FakeProvider([quote(0), TransientError()], [quote(5)])
    given = [item for _, item in play(provider, on_outage="close")]
    after = given[
        given.index(next(i for i in given if isinstance(i, Status) and i.state == "disconnected"))
        + 1
    ]
    assert isinstance(after, Idle)


def test_delay_that_the_provider_asks_for_is_kept() -> None:
    """A pacing violation may ask for minutes, beyond the longest delay of our own."""
    clock = ManualClock()
    play(FakeProvider([TransientError(600)], [quote(0)]), context_of(clock))
    assert clock.slept == [600]


def test_other_failures_are_not_tried_again() -> None:
    """A wrong password does not get right."""
    provider = FakeProvider([quote(0), PermissionError("no entry")])
    with pytest.raises(PermissionError, match="no entry"):
        play(provider)
    assert provider.log == ["asked", "stream closed"]


def test_rows_before_a_failure_are_given_first() -> None:
    """What has come has come."""
    source = ProviderSource(FakeProvider([quote(0), ValueError("broken")]), ("A",))

    async def main() -> tuple[int, str]:
        reader = await source.open(context_of())
        rows = 0
        try:
            while (given := await reader.read()) is not None:
                rows += rows_of(list(given))
        except ValueError as err:
            return rows, str(err)
        finally:
            await reader.close()
        return rows, ""

    assert asyncio.run(main()) == (1, "broken")


def test_failures_in_a_row_end_the_run() -> None:
    """Another try is made so many times and no more, and the last failure is the cause."""
    provider = FakeProvider([TransientError()])
    with pytest.raises(
        SourceError, match=r"`fake` failed 4 times in a row.*TransientError: for now"
    ) as caught:
        play(provider, retries=3)
    assert isinstance(caught.value.__cause__, TransientError)
    assert provider.log.count("asked") == 4


def test_outage_of_six_hours_is_outlasted_where_that_is_asked_for() -> None:
    """A venue that is being maintained is asked now and then, and its rows come in the end."""
    clock, tries = ManualClock(), 900
    provider = FakeProvider(*[[TransientError()]] * tries, [quote(1)])
    given = play(provider, context_of(clock), retries=tries)
    assert rows_of(given) == 1
    assert clock.now_s > 6 * 3_600
    assert len(provider.asked) == tries + 1
    assert max(clock.slept) <= 60


def test_flapping_feed_is_no_healthy_feed() -> None:
    """A feed that comes up only to fail at once does not get new tries with each row."""
    provider = FakeProvider([quote(0), TransientError()])
    with pytest.raises(SourceError, match="failed 4 times in a row"):
        play(provider, retries=3)


def test_feed_that_stayed_up_gets_all_its_tries_back() -> None:
    """After `stable_after` a failure is the first again, with the shortest delay."""
    clock = ManualClock()
    script = [quote(0), lambda: setattr(clock, "now_s", clock.now_s + 31), TransientError()]
    provider = FakeProvider(*[script] * 6, [quote(1)])
    given = play(provider, context_of(clock), retries=1)
    assert rows_of(given) == 7
    assert all(delay <= 1.5 for delay in clock.slept)


def test_stream_that_is_not_supported_is_told_in_words() -> None:
    """An abstract method, and one that is not there at all."""
    with pytest.raises(SourceError, match="provider `fake` does not support trades"):
        play(FakeProvider([]), kind="trades")
    with pytest.raises(SourceError, match="provider `object` does not support quotes"):
        play(object())  # type: ignore[arg-type]


def test_method_that_gives_nothing_to_iterate_over_is_told_in_words() -> None:
    """The message says what came instead."""
    provider = SimpleNamespace(stream_quotes=lambda _: 3)
    with pytest.raises(SourceError, match="must give an async iterator or an iterable, gave int"):
        play(provider)  # type: ignore[arg-type]


def test_full_buffer_stops_the_pulling() -> None:
    """While nobody reads, the provider is asked for no more than fits."""
    provider = FakeProvider([quote(n) for n in range(100)])
    source = ProviderSource(provider, ("A",), buffer_rows=5)

    async def main() -> list[int]:
        reader = await source.open(context_of())
        await reader.read()
        seen = []
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append(provider.given)
        await reader.read()
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append(provider.given)
        await reader.close()
        return seen

    assert asyncio.run(main()) == [10, 15]


def test_rows_that_were_not_read_are_counted() -> None:
    """Who stops a run learns what was pulled in vain."""
    provider = FakeProvider([*(quote(n) for n in range(8)), ...])
    source = ProviderSource(provider, ("A",), buffer_rows=5)
    context = context_of()

    async def main() -> None:
        reader = await source.open(context)
        await reader.read()
        for _ in range(20):
            await asyncio.sleep(0)
        await reader.close()

    asyncio.run(main())
    assert context.account.rows_in == 8
    assert context.account.reasons == {"unread": 3}
    assert provider.log == ["asked", "stream closed"]


def test_own_provider_is_entered_and_closed() -> None:
    """And one that somebody else made is left alone."""
    provider = FakeProvider([quote(0)])
    play(provider, close_provider=True)
    assert provider.log == ["asked", "stream closed", "provider closed"]


def test_unchanged_quotes_are_left_out_and_counted() -> None:
    """A quote that only has another time says nothing; per symbol, and only on request."""
    script = [quote(0), quote(1), quote(1, "B"), quote(2, bid=Decimal(2)), quote(3)]
    context = context_of()
    assert rows_of(play(FakeProvider(script), context, drop_unchanged=True)) == 4
    assert context.account.reasons == {"unchanged": 1}
    assert rows_of(play(FakeProvider(script))) == 5
    with pytest.raises(ConfigError, match="`drop_unchanged` is for quotes"):
        ProviderSource(FakeProvider([]), ("A",), kind="trades", drop_unchanged=True)


def test_bar_ends_at_its_time_as_core_says_or_starts_there() -> None:
    """The time of a bar of market_data_core is its end."""
    bar = {"symbol": "A", "ts": quote(60).timestamp, "volume": Decimal("0.5")}
    bar |= dict.fromkeys(("open", "high", "low", "close"), Decimal(1))
    provider = FakeProvider([bar])
    (batch,) = batches_of(play(provider, kind="bars"))
    assert batch["ts_open"].tolist() == [START_NS]
    assert batch["ts_close"].tolist() == [START_NS + 60 * 10**9]
    assert provider.asked[0][0] == "1m"
    (batch,) = batches_of(play(FakeProvider([bar]), kind="bars", bar_time="start"))
    assert batch["ts_open"].tolist() == [START_NS + 60 * 10**9]


@pytest.mark.parametrize(
    ("resolution", "said"),
    [
        ("1M", "must have a fixed length"),
        ("0s", "longer than nothing"),
        ("soon", "is not a duration"),
    ],
)
def test_resolution_is_a_length(resolution: str, said: str) -> None:
    """A month has none."""
    with pytest.raises(ConfigError, match=said):
        ProviderSource(FakeProvider([]), ("A",), kind="bars", resolution=resolution)


def test_instruments_have_what_core_gives_them() -> None:
    """Where core is not installed, something with the same attributes stands in."""
    provider = FakeProvider([quote(0)])
    source = ProviderSource(provider, ("A", {"symbol": "ES", "exchange": "CME"}))

    async def main() -> None:
        await read_all(await source.open(context_of()))

    asyncio.run(main())
    first, second = provider.asked[0][0]
    assert (first.symbol, first.exchange, first.currency, first.sec_type) == (
        "A",
        "SMART",
        "USD",
        "STK",
    )
    assert (second.symbol, second.exchange) == ("ES", "CME")
    with pytest.raises(ConfigError, match="is no instrument"):
        asyncio.run(ProviderSource(provider, ({"sign": "A"},)).open(context_of()))


def test_feed_without_news_is_quiet_and_windows_close() -> None:
    """After `quiet_after` the state is told once, with the progress that follows from it."""
    clock = ManualClock()
    clock.now_s = START_NS / 1e9 + 1
    source = ProviderSource(FakeProvider([quote(0), ...]), ("A",), quiet_after="10s")

    async def main() -> Given:
        reader = await source.open(context_of(clock))
        given: Given = []
        given += await reader.read() or ()
        given += await reader.read() or ()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reader.read()
        await reader.close()
        return given

    given = asyncio.run(main())
    assert states_of(given) == ["live", "quiet"]
    last = given[-1][1]
    assert isinstance(last, Watermark)
    assert last.time == START_NS + 11 * 10**9


def test_rows_after_quiet_make_the_feed_live() -> None:
    """The state is told again before the row."""
    clock = ManualClock()
    clock.now_s = START_NS / 1e9
    gate = asyncio.Event()

    class Gated(FakeProvider):
        async def _play(self, script: list[Any]) -> AsyncIterator[Any]:
            yield quote(0)
            await gate.wait()
            yield quote(60)

    source = ProviderSource(Gated([]), ("A",), quiet_after="10s")

    async def main() -> Given:
        reader = await source.open(context_of(clock))
        given = [*(await reader.read() or ()), *(await reader.read() or ())]
        gate.set()
        return given + await read_all(reader)

    assert states_of(asyncio.run(main())) == ["live", "quiet", "live"]


def test_rate_is_kept() -> None:
    """So many rows in a second are asked for, after the burst."""
    clock = ManualClock()
    play(FakeProvider([quote(n) for n in range(30)]), context_of(clock), rate=10, burst=10)
    assert clock.now_s == pytest.approx(2.1, abs=0.2)


def test_paused_provider_is_not_asked() -> None:
    """A scale of 0 stops the pulling; back at 1 it goes on at full speed."""
    provider = FakeProvider([quote(n) for n in range(100)])
    source = ProviderSource(provider, ("A",), buffer_rows=5)

    async def main() -> list[int]:
        reader = await source.open(context_of())
        assert isinstance(reader, ThrottledReader)
        assert reader.provider == "fake"
        reader.throttle(0)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.read())
            for _ in range(50):
                await asyncio.sleep(0)
            paused = provider.given
            # The other door: a `RateController` of market_data_core.
            await source.apply(Adjustment("somebody else", 1.0))
            for _ in range(10):
                await asyncio.sleep(0)
            still = provider.given
            await source.apply(Adjustment("fake", 1.0))
            await reading
        await read_all(reader)
        return [paused, still, provider.given]

    paused, still, after = asyncio.run(main())
    assert (paused, still) == (0, 0)
    assert after == 100


def test_columns_nobody_reads_are_not_made() -> None:
    """But the event time always is."""
    context = context_of(columns=frozenset({"bid_price"}))
    (batch,) = batches_of(play(FakeProvider([quote(0, ask="no number")]), context))
    assert batch.schema.names == ("ts_event", "bid_price")


def test_provider_runs_in_a_graph() -> None:
    """From records to bars, with every row accounted for."""
    records = [quote(n / 10, bid=Decimal(n + 1), ask=Decimal(n + 2)) for n in range(100)]
    dag = Dag("feed")
    source = dag.source(ProviderSource(FakeProvider(records), ("A",)), name="feed")
    source.bars("1s", price="bid").collect(name="kept")
    result = run(dag)
    assert result.ledger["feed"].rows_in == 100
    assert len(result.to_arrow("kept")) == 10


def test_failure_of_the_provider_names_the_node() -> None:
    """As that of any node."""
    dag = Dag("feed")
    dag.source(ProviderSource(FakeProvider([ValueError("broken")]), ("A",)), name="feed").collect()
    with pytest.raises(NodeError, match="node `feed` failed: ValueError: broken"):
        run(dag)


def test_unknown_provider_is_named_with_those_there_are() -> None:
    """Names come from the registry and installed packages, never from a path."""
    with pytest.raises(ConfigError, match=r"there is no provider `ibrk`; did you mean `ibkr`"):
        asyncio.run(ProviderSource("ibrk", ("A",)).open(context_of()))
    with pytest.raises(ConfigError, match=r"there is no provider `os\.system`"):
        asyncio.run(ProviderSource("os.system", ("A",)).open(context_of()))


@pytest.mark.parametrize("provider", [None, 5, True, ["ibkr"], {"name": "ibkr"}])
def test_what_cannot_be_a_provider_is_refused(provider: object) -> None:
    """A setting that was left empty in a pipeline file, for one."""
    with pytest.raises(ConfigError, match="`provider` must be a provider or the name of one"):
        ProviderSource(provider, ("A",))


def test_settings_are_not_shown() -> None:
    """They may hold a password."""
    source = ProviderSource("ibkr", ("A",), settings={"password": "hunter2"})
    assert "hunter2" not in repr(source)
    with pytest.raises(ConfigError, match="`settings` are for a provider that is named"):
        ProviderSource(FakeProvider([]), ("A",), settings={"port": 1})

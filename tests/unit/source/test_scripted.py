from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.checkpoints.description import describe
from market_data_pipeline.dag.messages import END, Idle, Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import ConfigError, NodeError
from market_data_pipeline.flow import Dag
from market_data_pipeline.running import run
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import Crash, ManualClock, Pause, ScriptedSource
from support.nodes import trades

QUIET = Status("quiet", 20)
LOST = Status("disconnected", 20)
BACK = Status("live", 50)


def row(time: int, price: Any = 1) -> dict[str, Any]:
    return {"ts_event": time, "symbol": "A", "price": price, "size": 1}


def played(source: ScriptedSource) -> list[Any]:
    """Return what the source gives, of batches the times and the watermark after them."""

    async def work() -> list[Any]:
        reader = await source.open(NodeContext("script", clock=ManualClock()))
        found: list[Any] = []
        while (given := await reader.read()) is not None:
            for port, item in given:
                assert port == "out"
                if isinstance(item, Batch):
                    found.append((item.times.tolist(), item.watermark))
                else:
                    found.append(item)
        await reader.close()
        return found

    return asyncio.run(work())


def test_a_script_is_played_in_order() -> None:
    """Rows alone and together, batches over another symbol table, messages, and the end."""
    batch = trades([7, 9], SymbolTable(["Z", "A"]))
    items = [row(5), [row(6), row(4)], Pause(3600), batch, Watermark(8), Idle(), END, row(11)]
    assert played(ScriptedSource(items, out_of_order="2ns")) == [
        ([5], 3),
        ([6, 4], 4),
        ([7, 9], 7),
        Watermark(8),
        Idle(),
    ]


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (Status("quiet", 20), [Watermark(17)]),
        (Status("halted", 20), [Watermark(17)]),
        (Status("closed", 20), [Watermark(17)]),
        (Status("closed", 20, until=90), [Watermark(87)]),
        (Status("quiet", 5), [Watermark(7)]),
        (Status("halted", 20, "A"), []),
        (Status("disconnected", 20), []),
        (Status("live", 20), []),
    ],
)
def test_what_a_state_says_of_progress(status: Status, after: Sequence[Any]) -> None:
    """A feed that is heard of has come that far, without a row; nothing moves it back."""
    source = ScriptedSource([row(10), status], out_of_order="3ns")
    assert played(source) == [([10], 7), status, *after]


def test_a_state_before_any_row_makes_no_time_up() -> None:
    """An outage at the start leaves the watermark where it was: nowhere."""
    assert played(ScriptedSource([LOST, BACK])) == [LOST, BACK]
    source = ScriptedSource([LOST, BACK], on_outage="close")
    assert played(source) == [LOST, Idle(), BACK, Watermark(TIME_MIN)]


def bars_of(script: Sequence[Any], on_outage: Any = "hold") -> list[tuple[int, int]]:
    """Close bars of a feed beside a busy one; return what is out once the busy one is at 40.

    Bars of the feed are those that count one row, of the busy one two.
    """
    dag = Dag()
    seen: list[Any] = []
    feed = ScriptedSource([*script, Pause(float("inf"))], on_outage=on_outage)
    pairs = [[{**row(time), "symbol": "B"}] * 2 for time in (5, 15, 25, 40)]
    busy = ScriptedSource([*pairs, Pause(float("inf"))])
    both = dag.source(feed, name="feed").union(dag.source(busy, name="busy"))
    both.bars("10ns").map(seen.append, on="batches").collect()

    async def work() -> None:
        task = asyncio.get_running_loop().create_task(Run(dag).run())
        for _ in range(100):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(work())
    return sorted(
        (start, count)
        for batch in seen
        for start, count in zip(batch["ts_open"].tolist(), batch["count"].tolist(), strict=True)
    )


def test_an_outage_holds_windows_open_until_the_feed_is_heard_again() -> None:
    """Nothing closes as if complete while rows may be missing, unless it is asked for."""
    assert bars_of([row(3), LOST]) == []
    assert bars_of([row(3), LOST, BACK]) == []
    assert bars_of([row(3), LOST, BACK, row(22)]) == [(0, 1), (0, 2), (10, 2)]
    assert bars_of([row(3), LOST], "close") == [(0, 1), (0, 2), (10, 2), (20, 2)]


def test_windows_close_on_time_while_a_feed_is_quiet_or_closed() -> None:
    """A heartbeat is enough; no row is made up."""
    assert bars_of([row(3), QUIET]) == [(0, 1), (0, 2), (10, 2)]
    assert bars_of([row(3), Status("closed", 4, until=30)]) == [
        (0, 1),
        (0, 2),
        (10, 2),
        (20, 2),
    ]


def test_a_crash_is_the_failure_of_the_source() -> None:
    """An exception in a script is raised where a source would raise it."""
    dag = Dag()
    dag.source(ScriptedSource([row(1), OSError("line is dead")]), name="feed").collect()
    with pytest.raises(NodeError, match="node `feed` failed: OSError: line is dead"):
        run(dag)


def test_rows_are_written_as_people_write_them() -> None:
    """Decimals of any spelling are exact, None is undefined, other columns ride along."""
    dag = Dag()
    prices = [1, "1.5", Decimal("-0.000000001"), 0.1, None]
    script = [{**row(time, price), "side": "B"} for time, price in enumerate(prices)]
    dag.source(ScriptedSource(script)).collect(name="out")
    table = run(dag).to_arrow("out")
    assert [str(price) for price in table["price"].to_pylist()] == [
        "1.0",
        "1.5",
        "-1e-09",
        "0.1",
        "None",
    ]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([3], "item 0 of `scripted` is no row, message or exception, was 3"),
        ([Status("quite", 1)], "no feed is `quite`; did you mean `quiet`"),
        ([row(1), {**row(2), "side": "B"}], "item 1 of `scripted` has other columns .*: `side`"),
        ([{"when": 1}], "neither trades nor quotes; say what they are with `row_schema`"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused(items: Sequence[Any], message: str) -> None:
    """When it is written, not when it runs."""
    with pytest.raises(ConfigError, match=message):
        ScriptedSource(items)


def test_a_crash_that_happened_is_no_other_setting() -> None:
    """So a checkpoint from before it is one of the same source."""
    crash = Crash()
    dag = Dag("crashing")
    dag.source(ScriptedSource([row(1), crash])).collect()
    before = describe(dag)
    assert crash.strike() is crash.error
    assert crash.strike() is None
    assert describe(dag) == before

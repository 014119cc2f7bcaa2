from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.messages import Idle, Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import InputError, MissingInputError
from market_data_pipeline.source.recorded_states import read_states
from market_data_pipeline.source.replay import ReplaySource
from market_data_pipeline.testing import ManualClock

SECOND = 10**9
NOON = 1_714_996_800 * SECOND  # 2024-05-06T12:00:00Z


def at(second: int) -> int:
    return NOON + second * SECOND


def replayed(folder: Path, states: str, **settings: Any) -> list[Any]:
    """Replay rows of seconds 1, 5 and 9 with some states; return times and messages."""
    ticks, said = folder / "ticks.csv", folder / "states.csv"
    lines = [f"2024-05-06T12:00:0{second}Z,A,1,1" for second in (1, 5, 9)]
    ticks.write_text("\n".join(["ts_event,symbol,price,size", *lines]) + "\n")
    said.write_text(states)

    async def work() -> list[Any]:
        source = ReplaySource(str(ticks), states=said, out_of_order="0s", **settings)
        reader = await source.open(NodeContext("replay", clock=ManualClock()))
        found: list[Any] = []
        while (given := await reader.read()) is not None:
            for _, item in given:
                found += item.times.tolist() if isinstance(item, Batch) else [item]
        await reader.close()
        return found

    return asyncio.run(work())


@pytest.mark.parametrize("speed", ["max", 1000.0])
def test_states_come_between_the_rows_where_they_belong(tmp_path: Path, speed: Any) -> None:
    """At any speed; a heartbeat carries the watermark on."""
    text = "ts_event,state\n2024-05-06T12:00:06Z,disconnected\n2024-05-06T12:00:03,quiet\n"
    assert replayed(tmp_path, text, speed=speed) == [
        at(1),
        Status("quiet", at(3)),
        Watermark(at(3)),
        at(5),
        Status("disconnected", at(6)),
        at(9),
    ]


def test_states_outside_the_range_or_of_other_symbols_are_left_out(tmp_path: Path) -> None:
    """As rows are."""
    text = f"ts_event,state,symbol,until\n{at(0)},live,,\n{at(6)},halted,B,\n{at(7)},closed,A,\n"
    settings = {"start": "2024-05-06T12:00:02Z", "symbol": "A", "on_outage": "close"}
    assert replayed(tmp_path, text, **settings) == [at(5), Status("closed", at(7), "A"), at(9)]
    assert Idle() in replayed(tmp_path, f"ts_event,state\n{at(6)},disconnected\n", **settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ts_event,state\n1,opened\n", "states.csv, row 1: no feed is `opened`"),
        ("ts_event,state\n1,live\nsoon,live\n", "states.csv, row 2: .*ISO 8601"),
        ("time,state\n1,live\n", "has the columns `ts_event` and `state`.* this has state, time"),
        ("", "this has none"),
    ],
)
def test_a_file_that_holds_no_states_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the row at fault."""
    path = tmp_path / "states.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_states(path, "UTC")
    with pytest.raises(MissingInputError, match="no such file of `states`"):
        read_states(tmp_path / "none.csv", "UTC")

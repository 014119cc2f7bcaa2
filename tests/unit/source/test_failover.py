from __future__ import annotations

from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.errors import ConfigError, NodeError, RetryableError
from market_data_pipeline.source.failover import FailoverSource
from market_data_pipeline.source.scripted import ScriptedSource
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.writer import to_yaml

SECOND = 10**9
FILE = """
name: two-feeds
nodes:
  feed:
    source: failover
    of:
      - {source: replay, path: "no/such/file.csv"}
      - {source: synthetic, rows: 500, duplicates: 0}
    strategy: first
    retries: 0
  store: {sink: memory, from: feed}
"""


def row(second: float, price: int = 1) -> dict[str, Any]:
    time = round(second * SECOND)
    return {"ts_event": time, "symbol": "A", "price": price, "size": 1}


def prices(*members: ScriptedSource, **settings: Any) -> tuple[list[float], mdp.RunResult]:
    dag = mdp.Dag("g")
    dag.source(FailoverSource(of=members, **settings), name="feed").collect(name="store")
    result = mdp.run(dag)
    return result.to_arrow("store")["price"].to_pylist(), result


def test_next_source_takes_over(caplog: pytest.LogCaptureFixture) -> None:
    """What the first one gave stays, the second one goes on, and the log says why."""
    first = ScriptedSource(items=(row(1, 1), row(2, 2), RetryableError("cut off")))
    second = ScriptedSource(items=(row(2, 20), row(3, 30)))
    found, result = prices(first, second, strategy="first")
    assert found == [1, 2, 20, 30]
    assert result.ledger["feed"].rows_in == 4
    assert [record.message for record in caplog.records] == [
        "`feed` leaves source 1, scripted: cut off"
    ]


def test_watermark_never_falls() -> None:
    """A row that the failed source had overtaken is late, not a step back in time."""
    first = ScriptedSource(items=(row(1), row(9), RetryableError("cut off")))
    second = ScriptedSource(items=(row(2), row(12)))
    dag = mdp.Dag("g")
    feed = dag.source(FailoverSource(of=(first, second), strategy="first"))
    bars = feed.bars("1s", name="bars")
    bars.collect(name="store")
    bars.late.collect(name="late")
    result = mdp.run(dag)
    assert result.ledger["bars"].reasons["late"] == 1


def test_feed_is_told_to_be_cut_off_and_live_again() -> None:
    """Who reads it knows that rows may be missing between the two."""
    import asyncio

    from market_data_pipeline.dag.nodes import NodeContext

    async def scenario() -> list[Any]:
        first = ScriptedSource(items=(row(5), RetryableError("cut off")))
        second = ScriptedSource(items=(row(6),))
        source = FailoverSource(of=(first, second), strategy="first")
        reader = await source.open(NodeContext("feed"))
        found = []
        while (items := await reader.read()) is not None:
            found += [item.state if isinstance(item, Status) else "rows" for _, item in items]
        await reader.close()
        return found

    assert asyncio.run(scenario()) == ["rows", "disconnected", "live", "rows"]


def test_failure_of_all_is_the_run_s() -> None:
    """It says what each of them failed of."""
    members = [ScriptedSource(items=(RetryableError(f"down {n}"),)) for n in range(2)]
    with pytest.raises(NodeError, match=r"All sources failed \(1: down 0; 2: down 1\)"):
        prices(*members, retries=0)


def test_bug_in_a_source_fails_the_run() -> None:
    """Another source would hide it."""
    first = ScriptedSource(items=(ZeroDivisionError("bug"),))
    with pytest.raises(NodeError, match="ZeroDivisionError: bug"):
        prices(first, ScriptedSource(items=(row(1),)))


def test_node_of_a_pipeline_file() -> None:
    """Its sources are nested settings; it is written as it is read."""
    dag = load_text(FILE)
    result = mdp.run(dag)
    assert result.ledger["store"].rows_out >= 500
    again = load_text(to_yaml(dag))
    assert again.nodes["feed"].component == dag.nodes["feed"].component


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("[]", "at least one source"),
        ("{source: synthetic}", "`of` must be a list of sources, found a mapping"),
        ("[{source: synthetc}]", "did you mean `synthetic`"),
        ("[{source: synthetic, rows: no}]", "rows"),
        ("[{source: chaos, of: {source: synthetic}}]", "`truth`, which would be lost"),
    ],
)
def test_sources_that_cannot_be_are_refused(of: str, message: str) -> None:
    """The message names the place."""
    text = f"nodes:\n  feed: {{source: failover, of: {of}}}\n  s: {{sink: memory, from: feed}}\n"
    with pytest.raises(ConfigError, match=message):
        load_text(text)

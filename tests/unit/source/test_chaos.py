from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from market_data_pipeline.dag.messages import Idle, Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import ConfigError, PipelineError
from market_data_pipeline.flow import Dag
from market_data_pipeline.running import run
from market_data_pipeline.source.chaos import ChaosSource
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.source.replay import ReplaySource
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.spec.json_schema import pipeline_schema
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.writer import to_yaml
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import Pause, ScriptedSource
from support.nodes import trades

FAULTS: dict[str, Any] = {
    "drop": 0.02,
    "duplicate": 0.02,
    "reorder": 0.02,
    "delay": 0.02,
    "skew": 0.01,
    "disconnect": 0.002,
    "outage": "200ms",
    "delay_by": "100ms",
}


def row(time: int) -> dict[str, Any]:
    return {"ts_event": time, "symbol": "A", "price": 1, "size": 1}


def test_every_row_is_accounted_for() -> None:
    """What was lost has its reason, what came twice was created, the rest comes through."""
    dag = Dag()
    ticks = dag.source(ChaosSource(SyntheticSource(rows=5_000), seed=3, **FAULTS), name="ticks")
    ticks.bars("1s").collect()
    ticks.truth.collect(name="truth")
    result = run(dag)
    kinds = result.to_arrow("truth")["kind"].to_pylist()
    account = result.ledger["ticks"]
    assert account.reasons == {
        "dropped": kinds.count("drop"),
        "disconnected": kinds.count("disconnect"),
    }
    assert account.created == kinds.count("duplicate") > 0
    assert min(kinds.count(kind) for kind in ("reorder", "delay", "skew", "disconnect")) > 0
    assert set(kinds) <= set(FAULTS)


def test_the_same_seed_does_the_same_whatever_the_batches() -> None:
    """Bars and truth of two runs are equal; another seed gives others."""

    def outcome(seed: int, rows: int) -> tuple[Any, Any]:
        dag = Dag()
        source = SyntheticSource(rows=3_000, batch_rows=rows)
        ticks = dag.source(ChaosSource(source, seed=seed, **FAULTS))
        ticks.bars("1s").collect(name="out")
        ticks.truth.collect(name="truth")
        result = run(dag)
        return result.to_arrow("out"), result.to_arrow("truth")

    assert outcome(1, 7) == outcome(1, 4_096)
    assert outcome(1, 4_096) != outcome(2, 4_096)


def test_a_run_that_is_stopped_accounts_for_rows_that_were_still_to_come() -> None:
    """They were not read, as far as the account goes."""
    items = [[row(time) for time in range(at, at + 50)] for at in range(0, 500, 50)]
    source = ScriptedSource([*items, Pause(float("inf"))])
    dag = Dag()
    dag.source(ChaosSource(source, delay=0.5, delay_by="1h"), name="ticks").collect()

    async def work() -> Any:
        running = Run(dag)
        task = asyncio.get_running_loop().create_task(running.run())
        for _ in range(200):
            await asyncio.sleep(0)
        assert 100 < running.ledger()["ticks"].rows_in < 400
        running.stop()
        return await task

    assert asyncio.run(work()).ledger.balanced


def test_what_the_other_source_says_goes_through() -> None:
    """States and idleness, its rejected rows, and progress, but for that in an outage."""
    heard: list[Any] = []

    async def play(source: ChaosSource) -> None:
        reader = await source.open(NodeContext("chaos"))
        while (given := await reader.read()) is not None:
            heard.extend(item for _, item in given)

    quiet = Status("quiet", 9)
    script = [row(1), quiet, Idle(), row(12), Status("halted", 20, "A")]
    asyncio.run(play(ChaosSource(ScriptedSource(script))))
    assert heard[1:4] == [quiet, Watermark(9), Idle()]
    assert heard[5] == Status("halted", 20, "A")
    heard.clear()
    cut = ChaosSource(ScriptedSource(script), disconnect=1.0, outage="1h", on_outage="close")
    asyncio.run(play(cut))
    messages = [item for item in heard if not hasattr(item, "schema")]
    assert messages == [
        Status("disconnected", 1),
        Idle(),
        quiet,
        Idle(),
        Status("halted", 20, "A"),
    ]


def test_rejected_rows_of_the_other_source_are_passed_on(tmp_path: Path) -> None:
    """They are read and rejected once, under the name of this node."""
    path = tmp_path / "ticks.csv"
    path.write_text("ts_event,symbol,price,size\n2024-05-06T10:00:00Z,A,1,1\nnever,A,1,1\n")
    dag = Dag()
    ticks = dag.source(ChaosSource(ReplaySource(str(path))), name="ticks")
    ticks.collect()
    ticks.rejected.collect(name="bad")
    result = run(dag)
    assert result.to_arrow("bad").num_rows == 1
    assert result.ledger["ticks"].reasons == {"rejected": 1}
    assert result.ledger["ticks"].rows_in == 2


YAML = """\
name: chaos
nodes:
  ticks: {source: chaos, of: {source: replay, path: ticks.csv, out_of_order: 2s}, drop: 0.1}
  out: {sink: csv, from: ticks, path: out.csv}
"""


def test_a_source_in_a_source_is_written_and_read_back() -> None:
    """The YAML of a graph gives an equal graph, and the JSON Schema knows the form."""
    dag = load_text(YAML, check=False)
    source = dag.nodes["ticks"].component
    assert source == ChaosSource(ReplaySource("ticks.csv", out_of_order="2s"), drop=0.1)
    assert to_yaml(dag) == YAML
    jsonschema.validate(yaml.safe_load(YAML), pipeline_schema())


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("replay", "`of` must be a source such as"),
        ("{source: replya, path: x}", "there is no source `replya`; did you mean `replay`"),
        ("{source: replay, paht: x}", "`replay` has no setting `paht`; did you mean `path`"),
        ("{source: replay}", "`replay` needs the setting `path`"),
        ("{operator: bars}", "`of` is a source, which has no `operator`"),
        ("{path: x}", "`of` needs `source`: the name of a source"),
    ],
)
def test_a_wrong_inner_source_is_told_where_it_stands(of: str, message: str) -> None:
    """With line and column, as for any node."""
    text = f"name: x\nnodes:\n  t: {{source: chaos, of: {of}}}\n  o: {{sink: memory, from: t}}\n"
    with pytest.raises(PipelineError, match=message) as caught:
        load_text(text, check=False)
    assert ":3:" in str(caught.value) or "line 3" in str(caught.value)


def test_settings_that_cannot_be_are_refused() -> None:
    """Fates beyond certainty, and a source whose other outputs would be lost."""
    source = MemorySource([trades([1], SymbolTable())])
    with pytest.raises(ConfigError, match="must not exceed 1, was 1\\.5"):
        ChaosSource(source, drop=0.75, skew=0.75)
    with pytest.raises(ConfigError, match="the output `truth` cannot be disturbed"):
        ChaosSource(ChaosSource(source))
    with pytest.raises(ConfigError, match="`of` of `chaos`"):
        ChaosSource(3)  # type: ignore[arg-type]

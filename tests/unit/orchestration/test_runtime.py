from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.graph import Dag, Edge
from market_data_pipeline.errors import (
    ConfigError,
    DuplicateJobError,
    JobError,
    JobStoppedError,
    NodeError,
    TooManyJobsError,
    UnknownJobError,
)
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings
from support.nodes import RecordingSink, ScriptedSource

GRAPH = """
name: {name}
nodes:
  ticks: {{source: synthetic, rows: {rows}, speed: {speed}}}
  store: {{sink: memory, from: ticks}}
"""


def graph(name: str, *items: Any, log: list[Any] | None = None, turns: int = 0) -> Dag:
    """Return a graph of a script; the item `"wait"` never gives anything."""
    dag = Dag(name)
    dag.add(ScriptedSource(items=list(items)), name="feed")
    sink = RecordingSink(log=[] if log is None else log, turns=turns)
    dag.add(sink, name="store", inputs=[Edge("feed")])
    return dag


@asynccontextmanager
async def running(most: int = 10, **dag: Any) -> AsyncIterator[PipelineRuntime]:
    settings = PipelineRuntimeSettings(max_concurrent_pipelines=most, dag=dag)
    async with asyncio.timeout(20), PipelineRuntime(settings) as runtime:
        yield runtime


async def turns_until(condition: Callable[[], object]) -> None:
    """Let others run until something is so; the caller bounds it by a timeout."""
    while not condition():  # noqa: ASYNC110 - nothing tells when it is
        await asyncio.sleep(0)


async def until(runtime: PipelineRuntime, key: str, state: str) -> None:
    await turns_until(lambda: runtime.status(key).state == state)


def test_runtime_runs_graph_without_being_entered() -> None:
    """`await PipelineRuntime().run_dag(dag)` is all it takes."""
    result = asyncio.run(PipelineRuntime().run_dag(graph("g", [1, 2, 3])))
    assert result.ledger["store"].rows_out == 3


def test_runtime_runs_files_and_mappings_of_a_graph(tmp_path: Path) -> None:
    """A graph may come as YAML, as JSON, or as plain data."""
    path = tmp_path / "g.yaml"
    path.write_text(GRAPH.format(name="from-file", rows=50, speed="max"))
    data = {
        "name": "from-data",
        "nodes": {
            "ticks": {"source": "synthetic", "rows": 70},
            "store": {"sink": "memory", "from": "ticks"},
        },
    }

    async def scenario() -> list[int]:
        async with running() as runtime:
            keys = [await runtime.start(job) for job in (str(path), data)]
            assert keys == ["from-file", "from-data"]
            return [(await runtime.wait(key)).rows_read for key in keys]

    first, second = asyncio.run(scenario())
    assert first >= 50
    assert second >= 70


def test_status_goes_from_starting_to_finished() -> None:
    """A pipeline starts, runs, and finishes; its run can be looked at all the while."""

    async def scenario() -> list[str]:
        async with running() as runtime:
            key = await runtime.start(graph("g", [1, 2]))
            states: list[str] = []
            status = runtime.status(key)
            while not status.is_over:
                assert status.run is not None
                states.append(status.state)
                await asyncio.sleep(0)
                status = runtime.status(key)
            states.append(status.state)
            assert (status.key, status.name, status.kind) == ("g", "g", "dag")
            assert status.is_over
            return states

    states = asyncio.run(scenario())
    assert states[0] == "starting"
    assert states[-1] == "finished"


def test_failure_is_kept_with_its_cause_and_hurts_no_other() -> None:
    """One pipeline fails; `wait` raises what made it fail, the others run on."""

    async def scenario() -> None:
        async with running() as runtime:
            await runtime.start(graph("bad", [1], OSError("the line is dead")))
            await runtime.start(graph("good", [1], "wait"))
            with pytest.raises(NodeError, match="node `feed` failed: OSError: the line is dead"):
                await runtime.wait("bad")
            assert runtime.status("bad").error == "node `feed` failed: OSError: the line is dead"
            await until(runtime, "good", "running")
            health = runtime.health()
            assert health.ready
            assert health.jobs == {"failed": 1, "running": 1}
            assert health.problems == (
                "the pipeline `bad` failed: node `feed` failed: OSError: the line is dead",
            )

    asyncio.run(scenario())


def test_error_tells_no_secret() -> None:
    """A password in what a store says does not get into a status."""
    failure = OSError(
        "cannot reach postgresql://me:hunter2@db/x, password=hunter2 token: 'hunter2'"
    )

    async def scenario() -> str | None:
        async with running() as runtime:
            await runtime.start(graph("bad", failure))
            with pytest.raises(NodeError):
                await runtime.wait("bad")
            return runtime.status("bad").error

    error = asyncio.run(scenario())
    assert error is not None
    assert "hunter2" not in error
    assert "@db/x" in error


def test_log_tells_of_each_pipeline_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Beginning and end, with its key and its rows: nobody may be waiting for it."""
    caplog.set_level("INFO", "market_data_pipeline.orchestration")

    def convert(_: Any) -> Any:
        msg = "no answer from postgresql://mdp:hunter2@db/ticks"
        raise LookupError(msg)

    async def scenario() -> None:
        async with running() as runtime:
            await runtime.run_dag(graph("good", [1, 2, 3]))
            bad = mdp.Dag("bad")
            ticks = bad.source(mdp.SyntheticSource(rows=10, symbols=1), name="ticks")
            ticks.map(convert, on="batches", name="convert").collect()
            with pytest.raises(NodeError):
                await runtime.run_dag(bad)
            await runtime.start(graph("endless", [1], "wait"))

    asyncio.run(scenario())
    told = [
        (r.levelname, vars(r)["pipeline"], r.getMessage(), vars(r).get("rows"))
        for r in caplog.records
    ]
    failure = "node `convert` failed: LookupError: no answer from postgresql://mdp:***@db/ticks"
    assert told == [
        ("INFO", "good", "started", None),
        ("INFO", "good", "finished", 3),
        ("INFO", "bad", "started", None),
        ("ERROR", "bad", f"failed: {failure}", 10),
        ("INFO", "endless", "started", None),
        ("INFO", "endless", "stopped", told[-1][3]),
    ]


def test_stop_drains_what_was_read() -> None:
    """Rows that were read when a pipeline is stopped are written and published."""
    log: list[Any] = []

    async def scenario() -> None:
        async with running() as runtime:
            await runtime.start(
                graph("g", *([n] for n in range(1, 200)), "wait", log=log, turns=3)
            )
            await until(runtime, "g", "running")
            await runtime.stop("g")
            assert runtime.status("g").state == "stopped"
            result = await runtime.wait("g")
            assert result.interrupted
            assert result.ledger["store"].rows_out == result.rows_read

    asyncio.run(scenario())
    assert log[-1] == "published"


def test_stop_without_draining_publishes_nothing() -> None:
    """A pipeline that is stopped at once leaves nothing half-written, and says so."""
    log: list[Any] = []

    async def scenario() -> None:
        async with running() as runtime:
            await runtime.start(graph("g", [1], "wait", log=log))
            await until(runtime, "g", "running")
            await runtime.stop("g", drain=False)
            assert runtime.status("g").state == "stopped"
            with pytest.raises(JobStoppedError, match="`g` was stopped"):
                await runtime.wait("g")

    asyncio.run(scenario())
    assert log[-1] == "aborted"


def test_drain_that_takes_too_long_is_a_failure() -> None:
    """A sink that never takes a row cannot hold up the end; its rows are not called stopped."""

    async def scenario() -> None:
        async with running(drain_timeout_s=0.05) as runtime:
            await runtime.start(graph("g", [1], "wait", turns=10**9))
            await until(runtime, "g", "running")
            await asyncio.sleep(0)
            await runtime.stop("g")
            status = runtime.status("g")
            assert status.state == "failed"
            assert "not through after 0.05 s" in str(status.error)

    asyncio.run(scenario())


def test_leaving_the_runtime_drains_all_pipelines() -> None:
    """Pipelines that run when the block ends are stopped and publish what they have."""
    logs: list[list[Any]] = [[] for _ in range(5)]

    async def scenario() -> None:
        async with running() as runtime:
            for number, log in enumerate(logs):
                await runtime.start(graph(f"g{number}", [1, 2], "wait", log=log))
            for number in range(len(logs)):
                await until(runtime, f"g{number}", "running")
            await turns_until(lambda: all(logs))
        assert {status.state for status in runtime.list()} == {"stopped"}
        with pytest.raises(JobError, match="shut down"):
            await runtime.start(graph("late", [1]))

    asyncio.run(scenario())
    assert all(log[-1] == "published" for log in logs)


def test_many_run_at_once_up_to_the_most() -> None:
    """One more than may run is refused, and taken once another is over."""

    async def scenario() -> None:
        async with running(most=3) as runtime:
            for number in range(3):
                await runtime.start(graph(f"g{number}", [1], "wait"))
            with pytest.raises(TooManyJobsError, match="`max_concurrent_pipelines` is 3"):
                await runtime.start(graph("g3", [1]))
            assert await runtime.list_pipelines() == ["g0", "g1", "g2"]
            await runtime.stop_pipeline("g1")
            assert await runtime.start(graph("g3", [1])) == "g3"
            await runtime.wait("g3")

    asyncio.run(scenario())


def test_names_are_unique_among_what_runs() -> None:
    """A second pipeline of one name is refused while the first runs; a key tells them apart."""

    async def scenario() -> None:
        async with running() as runtime:
            await runtime.start(graph("g", [1], "wait"))
            with pytest.raises(DuplicateJobError, match="`g` is running"):
                await runtime.start(graph("g", [1]))
            assert await runtime.start(graph("g", [1]), key="g two") == "g two"
            await runtime.wait("g two")
            await runtime.start(graph("g", [1]), key="g two")

    asyncio.run(scenario())


def test_restart_reads_the_file_again(tmp_path: Path) -> None:
    """A restarted pipeline is what its file says by then; a file that is wrong stops nothing."""
    path = tmp_path / "g.yaml"
    path.write_text(GRAPH.format(name="g", rows=100_000, speed=1))

    async def scenario() -> int:
        async with running() as runtime:
            key = await runtime.start(path)
            await until(runtime, key, "running")
            path.write_text("nodes: {ticks: {source: synthetc}}")
            with pytest.raises(ConfigError, match="did you mean `synthetic`"):
                await runtime.restart(key)
            assert runtime.status(key).state == "running"
            path.write_text(GRAPH.format(name="g", rows=7, speed="max"))
            assert await runtime.restart(key) == key
            return (await runtime.wait(key)).rows_read

    assert 7 <= asyncio.run(scenario()) < 100


def test_caller_that_is_cancelled_ends_what_it_runs() -> None:
    """`run_dag` leaves no pipeline behind; `wait` leaves it alone."""

    async def scenario() -> None:
        async with running() as runtime:
            await runtime.start(graph("other", [1], "wait"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await runtime.wait("other")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await runtime.run_dag(graph("mine", [1], "wait"))
            assert runtime.status("mine").state == "stopped"
            assert runtime.status("other").state == "running"

    asyncio.run(scenario())


def test_old_runs_are_forgotten() -> None:
    """Memory does not grow with the number of pipelines that have ended."""

    async def scenario() -> None:
        async with running(finished_kept=2) as runtime:
            for number in range(5):
                await runtime.run_dag(graph(f"g{number}", [1]))
            assert [status.key for status in runtime.list()] == ["g3", "g4"]
            with pytest.raises(UnknownJobError, match=r"there is no pipeline `g0`.*`g3`, `g4`"):
                runtime.status("g0")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "name",
    [
        "",
        " x",
        "../../etc/passwd",
        "a/b",
        "a\nb",
        "a\x00b",
        "<script>",
        "a..b",
        "x" * 129,
        "a'b",
        "\u202egnp",
        "%2e%2e",
        ".hidden",
    ],
)
def test_hostile_name_is_refused(name: str) -> None:
    """What could break out of a URL, a log line, a page or a path is no name."""

    async def scenario() -> None:
        async with running() as runtime:
            with pytest.raises(ConfigError, match="must be 1 to 128 letters"):
                await runtime.start(graph(name, [1]))
            with pytest.raises(ConfigError, match="must be 1 to 128 letters"):
                await runtime.start(graph("fine", [1]), key=name)
            assert runtime.list() == ()

    asyncio.run(scenario())


def test_job_that_is_none_is_refused() -> None:
    """The message says what a job may be."""

    async def scenario() -> None:
        async with running() as runtime:
            with pytest.raises(ConfigError, match="a job must be a `Dag`"):
                await runtime.start(3)
            with pytest.raises(ConfigError, match=r"`nowhere.yaml` cannot be read: No such file"):
                await runtime.start("nowhere.yaml")
            with pytest.raises(ConfigError, match="plain data"):
                await runtime.start({"nodes": object()})

    asyncio.run(scenario())


def test_runtime_opens_and_shuts() -> None:
    """It is initialized within the block, and can be used again after it."""

    async def scenario() -> None:
        runtime = PipelineRuntime()
        seen = [(runtime._initialized, runtime.health().ready)]
        async with runtime:
            seen.append((runtime._initialized, runtime.health().ready))
        seen.append((runtime._initialized, runtime.health().ready))
        assert seen == [(False, False), (True, True), (False, False)]
        await runtime.initialize()
        assert (await runtime.run_dag(graph("g", [1]))).rows_read == 1
        await runtime.shutdown()

    asyncio.run(scenario())


def test_public_names_are_there() -> None:
    """The package offers the runtime, and needs no optional package for it."""
    from market_data_pipeline import orchestration

    assert orchestration.PipelineRuntime is PipelineRuntime
    assert mdp.Dag is not None

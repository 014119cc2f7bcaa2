"""What a run goes on from, and what it refuses to go on from."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.manifest import decode, encode
from market_data_pipeline.dag.checkpoints.settings import Checkpoint, Resume
from market_data_pipeline.dag.checkpoints.store import MANIFEST, Store
from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import (
    CheckpointError,
    ConfigError,
    GraphError,
)
from market_data_pipeline.source.scripted import Pause, ScriptedSource
from support.epoch_sink import EpochSink
from support.gated_source import GatedSource
from support.nodes import ScriptedSource as OneWaySource
from support.waiting import until

_SECOND = 10**9


def rows(count: int) -> list[Any]:
    items: list[Any] = []
    for i in range(count):
        items.append({"ts_event": i * _SECOND // 3, "symbol": "AB"[i % 2], "price": 1, "size": 1})
        items.append(Pause(0.0))
    return items


def graph(folder: Path, *, every: str = "1s", count: int = 60, **plan: Any) -> mdp.Dag:
    dag = mdp.Dag("job", checkpoint=Checkpoint(str(folder / "kept"), interval=None))
    ticks = dag.source(GatedSource(rows(count), out_of_order="1s"), name="ticks")
    ticks.bars(every, name="bars").sink(EpochSink(folder / "out.json", plan), name="store")
    return dag


def sink_of(dag: mdp.Dag) -> EpochSink:
    sink = dag.nodes["store"].component
    assert isinstance(sink, EpochSink)
    return sink


async def part(dag: mdp.Dag, *, checkpoints: int = 2, resume: Resume | None = None) -> None:
    """Run until so many checkpoints are taken and committed, and drop the run."""
    source = dag.nodes["ticks"].component
    assert isinstance(source, GatedSource)
    step = len(source.items) // 2 // (checkpoints + 1)
    source.gate.closed = True
    run = Run(dag, resume=resume)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(run.run())
        await until(lambda: run.phase == "running" or task.done())
        for _ in range(checkpoints):
            await source.let(step)
            await run.checkpoint()
        await until(lambda: (told := run.checkpoints()) is None or not told.uncommitted)
        task.cancel()
    source.gate.closed = False


def store_of(folder: Path) -> Store:
    return Store(folder / "kept")


def damage(path: Path, at: int, flip: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= flip
    path.write_bytes(bytes(data))


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """Folders have mode 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        asyncio.run(part(graph(tmp_path)))
    finally:
        os.umask(before)
    for path in (tmp_path / "kept").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_second_run_is_kept_out(tmp_path: Path) -> None:
    """Two runs never share a folder."""
    store = store_of(tmp_path)
    store.open()
    try:
        with pytest.raises(CheckpointError, match="another run uses these checkpoints"):
            mdp.run(graph(tmp_path))
    finally:
        store.close()


def test_any_damaged_byte_is_found(tmp_path: Path) -> None:
    """A changed byte of the manifest or of a state is told, and nothing is restored."""
    asyncio.run(part(graph(tmp_path), checkpoints=1))
    store = store_of(tmp_path)
    epoch = store.decided()[-1]
    sound = store.load(epoch)
    assert not store.problems(sound)
    files = [path for path in store.folder(epoch).iterdir() if path.is_file()]
    assert len(files) == 2
    for path in files:
        data = path.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 400)):
            for flip in (1, 0x80):
                damage(path, at, flip)
                found: list[str] = []
                try:
                    found = store.problems(store.load(epoch))
                except CheckpointError as err:
                    found = [str(err)]
                assert found, (path.name, at)
                path.write_bytes(data)
        path.write_bytes(data[:-1])
        with suppress(CheckpointError):
            assert store.problems(store.load(epoch))
        path.write_bytes(data)


def test_a_damaged_checkpoint_is_passed_over_where_sinks_allow_it(tmp_path: Path) -> None:
    """Where no sink has its rows yet, the one before is as good."""
    (tmp_path / "straight").mkdir()
    expected = graph(tmp_path / "straight")
    mdp.run(expected)
    with suppress(ExceptionGroup):
        asyncio.run(part(graph(tmp_path, commit=range(2, 99)), checkpoints=2))
    store = store_of(tmp_path)
    newest = store.decided()[-1]
    damage(store.folder(newest) / MANIFEST, 40)
    told: list[str] = []
    dag = graph(tmp_path)
    asyncio.run(Run(dag, notify=told.append).run())
    assert "is damaged" in told[0]
    assert sorted(sink_of(dag).rows()) == sorted(sink_of(expected).rows())


def test_a_damaged_checkpoint_whose_rows_a_sink_has_is_refused(tmp_path: Path) -> None:
    """Going on from an earlier one would write its rows twice."""
    asyncio.run(part(graph(tmp_path)))
    store = store_of(tmp_path)
    newest = store.decided()[-1]
    damage(store.folder(newest) / MANIFEST, 40)
    with pytest.raises(CheckpointError, match=rf"up to epoch {newest}.*is damaged.*--rewind"):
        mdp.run(graph(tmp_path))


def test_a_rewound_run_is_another_line_of_life(tmp_path: Path) -> None:
    """It goes on only when told to, and its epochs have numbers never used before."""
    asyncio.run(part(graph(tmp_path), checkpoints=3))
    store = store_of(tmp_path)
    first, newest = store.decided()[0], store.decided()[-1]
    line = store.line()
    with pytest.raises(CheckpointError, match="--rewind"):
        mdp.run(graph(tmp_path), resume=Resume(from_checkpoint=first))

    asyncio.run(part(graph(tmp_path), resume=Resume(from_checkpoint=first, rewind=True)))
    after = store.line()
    assert line is not None
    assert after is not None
    assert after.lineage != line.lineage
    assert after.ancestors == (line.lineage,)
    assert store.decided()[-1] > newest

    dag = graph(tmp_path)
    result = mdp.run(dag)
    assert result.ledger["ticks"].rows_in == 60
    assert len(set(sink_of(dag).rows())) < len(sink_of(dag).rows())


def test_an_output_that_was_put_back_is_noticed(tmp_path: Path) -> None:
    """A sink that has less than the checkpoint knows of is refused."""
    asyncio.run(part(graph(tmp_path), checkpoints=3))
    (tmp_path / "out.json").unlink()
    with pytest.raises(CheckpointError, match="has none of this job; it is another output"):
        mdp.run(graph(tmp_path))


def test_rows_without_their_checkpoints_are_noticed(tmp_path: Path) -> None:
    """An output that this job wrote is not written again from the beginning unasked."""
    asyncio.run(part(graph(tmp_path)))
    (tmp_path / "kept").rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match="there is no checkpoint to go on from"):
        mdp.run(graph(tmp_path))
    dag = graph(tmp_path)
    assert mdp.run(dag, resume=Resume(from_scratch=True)).ledger["ticks"].rows_in == 60


def test_from_scratch_stays_from_scratch(tmp_path: Path) -> None:
    """A run that began again and died at once does not go on from the life before."""
    asyncio.run(part(graph(tmp_path)))
    dead = graph(tmp_path, stage=range(1, 99))
    with pytest.raises(CheckpointError, match="3 checkpoints in a row"):
        mdp.run(dead, resume=Resume(from_scratch=True))
    run = Run(graph(tmp_path))
    asyncio.run(run.run())
    told = run.checkpoints()
    assert told is not None
    assert told.resumed_from is None


def test_a_state_is_not_given_up_unasked(tmp_path: Path) -> None:
    """Another setting of an operator with state is refused, until it is said to be dropped."""
    asyncio.run(part(graph(tmp_path)))
    with pytest.raises(CheckpointError, match="`bars`, which has another setting of `every`"):
        mdp.run(graph(tmp_path, every="2s"))
    with pytest.raises(CheckpointError, match=r"no node `bras`.*did you mean `bars`"):
        mdp.run(graph(tmp_path), resume=Resume(drop_state=("bras",)))
    result = mdp.run(graph(tmp_path, every="2s"), resume=Resume(drop_state=("bars",)))
    assert result.ledger["bars"].reasons["dropped"] > 0
    assert result.ledger.balanced


def test_nodes_without_state_come_and_go(tmp_path: Path) -> None:
    """A filter may be put in or taken out between two runs."""

    def filtered() -> mdp.Dag:
        dag = mdp.Dag("job", checkpoint=Checkpoint(str(tmp_path / "kept"), interval=None))
        ticks = dag.source(GatedSource(rows(60), out_of_order="1s"), name="ticks")
        sink = EpochSink(tmp_path / "out.json", {})
        ticks.filter("size > 0").bars("1s", name="bars").sink(sink, name="store")
        return dag

    asyncio.run(part(filtered()))
    asyncio.run(part(graph(tmp_path)))
    result = mdp.run(filtered())
    assert result.ledger["ticks"].rows_in == 60
    assert result.ledger["bars"].rows_in == 60


def test_threads_may_change_between_two_runs(tmp_path: Path) -> None:
    """Key groups are spread over as many threads as the next run has."""
    (tmp_path / "straight").mkdir()
    expected = graph(tmp_path / "straight")
    mdp.run(expected)

    def spread(threads: int) -> mdp.Dag:
        dag = graph(tmp_path)
        node = dag.nodes["bars"]
        made = mdp.Dag("job", checkpoint=dag.checkpoint)
        for each in dag.nodes.values():
            component: Any = node.component if each is node else each.component
            if each is node:
                component = replace(component, parallelism=threads)
            made.add(component, name=each.name, inputs=each.inputs)
        return made

    for threads in (1, 3, 2):
        asyncio.run(part(spread(threads), checkpoints=1))
    dag = spread(8)
    mdp.run(dag)
    assert sorted(sink_of(dag).rows()) == sorted(sink_of(expected).rows())


def test_another_job_is_refused(tmp_path: Path) -> None:
    """A folder belongs to one pipeline."""
    asyncio.run(part(graph(tmp_path)))
    other = graph(tmp_path)
    other.name = "other"
    with pytest.raises(CheckpointError, match="are of `job`, and this is `other`"):
        mdp.run(other)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    """A checkpoint of a later version is told from one that is damaged."""
    asyncio.run(part(graph(tmp_path), checkpoints=1))
    store = store_of(tmp_path)
    path = store.folder(store.decided()[-1]) / MANIFEST
    manifest = decode(path.read_bytes(), path="it")
    assert decode(encode(manifest), path="it") == manifest
    plain = json.loads(path.read_bytes())["manifest"] | {"format": 99}
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(f'{{"manifest":{text},\n"sha256":"{digest}"}}\n')
    with pytest.raises(CheckpointError, match="of format 99, and this version reads 1"):
        mdp.run(graph(tmp_path))


def test_a_source_that_cannot_be_rewound_is_refused(tmp_path: Path) -> None:
    """The message names the way out."""
    dag = mdp.Dag("job", checkpoint=Checkpoint(str(tmp_path / "kept")))
    dag.source(OneWaySource([[1, 2]]), name="feed").sink(EpochSink(tmp_path / "out"), name="s")
    with pytest.raises(GraphError, match="put a journal behind it"):
        mdp.run(dag)


def test_a_sink_that_shows_its_rows_at_the_end_is_refused(tmp_path: Path) -> None:
    """What it wrote before a checkpoint would be gone after a crash."""
    dag = mdp.Dag("job", checkpoint=Checkpoint(str(tmp_path / "kept")))
    ticks = dag.source(ScriptedSource(rows(3)), name="ticks")
    ticks.sink(_AtEnd(tmp_path / "out.json"), name="store")
    with pytest.raises(GraphError, match="shows its rows at the end of a run only"):
        mdp.run(dag)


class _AtEnd(EpochSink):
    async def open(self, context: Any, schema: Any) -> Any:
        return _AtEndWriter()


class _AtEndWriter:
    shows_at_end = True

    async def write(self, batch: Any) -> None: ...

    async def finish(self) -> None: ...

    async def abort(self) -> None: ...


def test_a_job_that_ended_does_not_go_on_with_more_input(tmp_path: Path) -> None:
    """Its windows were closed for good, so more rows need a run from scratch."""
    dag = graph(tmp_path, count=30)
    source = dag.nodes["ticks"].component
    assert isinstance(source, GatedSource)
    assert not mdp.run(dag).was_complete
    assert mdp.run(dag).was_complete
    source.more.extend(rows(40)[60:])
    with pytest.raises(CheckpointError, match=r"came to its end.*`ticks` has more rows now"):
        mdp.run(dag)


def _with_another_sink(folder: Path) -> mdp.Dag:
    dag = graph(folder)
    dag.add(EpochSink(folder / "more.json", {}), name="more", inputs=[Edge("bars")])
    return dag


def _with_a_filter(folder: Path) -> mdp.Dag:
    dag = mdp.Dag("job", checkpoint=Checkpoint(str(folder / "kept"), interval=None))
    ticks = dag.source(GatedSource(rows(60), out_of_order="1s"), name="ticks")
    bars = ticks.filter("price > 5", name="dear").bars("1s", name="bars")
    bars.sink(EpochSink(folder / "out.json", {}), name="store")
    return dag


def _by_another_name(folder: Path) -> mdp.Dag:
    dag = mdp.Dag("job", checkpoint=Checkpoint(str(folder / "kept"), interval=None))
    ticks = dag.source(GatedSource(rows(60), out_of_order="1s"), name="ticks")
    ticks.bars("1s", name="seconds").sink(EpochSink(folder / "out.json", {}), name="store")
    return dag


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda folder: graph(folder, every="2s"), "`bars`, which has another setting of `every`"),
        (_with_another_sink, "`more`, which is new"),
        (_with_a_filter, "`dear`, which is new"),
        (_by_another_name, "`seconds`, which is new"),
    ],
)
def test_a_job_that_ended_does_not_pass_over_a_changed_graph(
    tmp_path: Path, change: Callable[[Path], mdp.Dag], match: str
) -> None:
    """What was changed or added afterwards would come to nothing, and nobody would be told."""
    mdp.run(graph(tmp_path))
    with pytest.raises(CheckpointError, match=rf"came to its end .*{match}.*--from-scratch"):
        mdp.run(change(tmp_path))
    assert mdp.run(graph(tmp_path)).was_complete


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Checkpoint(""), "must name a folder"),
        (lambda: Checkpoint("s3://"), "must be a folder or one address"),
        (lambda: Checkpoint("x", interval="0s"), "must be positive"),
        (lambda: Checkpoint("x", retain=2), "greater than or equal to 3"),
        (lambda: Resume(from_scratch=True, rewind=True), "goes with neither"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], Any], match: str) -> None:
    """The message says which setting is wrong."""
    with pytest.raises(ConfigError, match=match):
        make()


def test_only_so_many_checkpoints_are_kept(tmp_path: Path) -> None:
    """Older ones go once newer ones are committed."""
    asyncio.run(part(graph(tmp_path), checkpoints=6))
    assert len(store_of(tmp_path).decided()) == 3


def test_a_run_without_checkpoints_takes_none(tmp_path: Path) -> None:
    """`Run.checkpoint` says that there is nowhere to put one."""
    dag = graph(tmp_path)
    dag.checkpoint = None
    with pytest.raises(CheckpointError, match="needs a run with checkpoints"):
        asyncio.run(Run(dag).checkpoint())

"""The power fails: what was promised is there, and nothing that never was."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from market_data_pipeline.dag.checkpoints.files import FileRecord, HashedFile, write_durably
from market_data_pipeline.dag.checkpoints.manifest import Manifest, NodeRecord, SinkRecord, Staged
from market_data_pipeline.dag.checkpoints.recovery import choose
from market_data_pipeline.dag.checkpoints.settings import Resume
from market_data_pipeline.dag.checkpoints.store import Line, Store
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.segment_log import SegmentLog
from market_data_pipeline.sink.publish import Draft
from support.power_loss import PowerCut, Recorder

SEEDS = range(int(os.environ.get("MDP_EXAMPLES", "300")) // 3)
LIVES = 4

Life = Callable[[Path, Recorder, random.Random], None]


def live(folder: Path, life: Life, chance: random.Random) -> tuple[Path, PowerCut]:
    """Live until the power fails; return what is left."""
    recorder = Recorder(folder)
    with recorder.recording():
        life(folder, recorder, chance)
    cut = PowerCut(recorder, chance)
    left = folder.with_name(f"{folder.name}'")
    cut.leave(left)
    return left, cut


# The journal


@dataclass
class Records:
    """What was said of the records of a log."""

    payloads: list[bytes] = field(default_factory=list)
    released: int = 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_log_keeps_what_it_accepted(seed: int, tmp_path: Path) -> None:
    """Every record whose append had returned, at most more of the same, over many cuts."""
    chance, known = random.Random(seed), Records()
    folder = tmp_path / "0"
    folder.mkdir()

    def life(folder: Path, recorder: Recorder, chance: random.Random) -> None:
        log = SegmentLog(folder / "deep" / "log", segment_bytes=1_500)
        if chance.random() < 0.1:
            known.released = chance.randint(known.released, log.next)
            log.release(known.released)
        for _ in range(chance.randint(0, 9)):
            payload = chance.randbytes(chance.choice((0, 3, 40, 700, 1_300)))
            known.payloads.append(payload)
            number = log.append([payload])
            assert number == len(known.payloads) - 1
            recorder.mark(number)
        log.close()

    for _ in range(LIVES):
        safe = len(known.payloads)
        folder, cut = live(folder, life, chance)
        safe = max([safe, *(number + 1 for number in cut.promised)])
        log = SegmentLog(folder / "deep" / "log", segment_bytes=1_500)
        found = [payload for _, payload in log.read(max(known.released, log.first))]
        log.close()
        first = max(known.released, log.first)
        assert found == known.payloads[first : first + len(found)]
        assert first + len(found) >= safe
        assert log.first <= known.released
        known.payloads = known.payloads[: first + len(found)]


# Checkpoints


def _bytes_of(epoch: int, name: str) -> bytes:
    return random.Random(f"{epoch}{name}").randbytes(100 + epoch * 317)


def _take(store: Store, line: Line, epoch: int, committed: int, staged: list[Staged]) -> Manifest:
    """Take a checkpoint as a run does it."""
    store.begin(epoch)
    outbox = store.outbox(epoch, "store")
    write_durably(outbox / "rows", _bytes_of(epoch, "rows"))
    found = store.staged(epoch, "store")
    assert found is not None
    staged.append(found)
    files: dict[str, FileRecord] = {}
    nodes: dict[str, NodeRecord] = {}
    for node in ("bars", "a/b"):

        def write(file: HashedFile, node: str = node) -> None:
            file.write(_bytes_of(epoch, node))

        name, record = store.write_state(epoch, node, "", write)
        files[name] = record
        nodes[node] = NodeRecord(False, Account(node), state=name)
    sinks = {"store": SinkRecord("exactly_once", committed, tuple(staged))}
    manifest = Manifest(
        line.job, line.lineage, (), epoch, 0, False, {}, (), "", nodes, sinks, files
    )
    store.publish(manifest)
    return manifest


def _check(store: Store, manifest: Manifest, has: int) -> None:
    """Make sure that a checkpoint and what a sink lacks are whole."""
    for node, record in manifest.nodes.items():
        assert record.state is not None
        data = (store.folder(manifest.epoch) / record.state).read_bytes()
        assert data == _bytes_of(manifest.epoch, node)
    for staged in manifest.sinks["store"].staged:
        if staged.epoch > has:
            assert store.staged_problems(staged) == []
            data = (store.root / staged.folder / "rows").read_bytes()
            assert data == _bytes_of(staged.epoch, "rows")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_checkpoint_is_there_or_the_next(seed: int, tmp_path: Path) -> None:
    """A sink never has more than the checkpoint the store goes on from, nor lacks more."""
    chance = random.Random(seed)
    has = [0]
    folder = tmp_path / "0"
    folder.mkdir()

    def life(folder: Path, recorder: Recorder, chance: random.Random) -> None:
        store = Store(folder / "deep" / "checkpoints")
        store.open()
        start = choose(store, "job", Resume())
        if start.is_new:
            store.write_line(start.line)
        manifest = start.manifest
        committed = 0 if manifest is None else manifest.epoch
        for epoch in set(store.epochs()) - set(store.decided()):
            store.drop_epoch(epoch)
        staged: list[Staged] = []
        for epoch in range(max([has[0], *store.epochs()]) + 1, chance.randint(2, 6) + has[0]):
            manifest = _take(store, start.line, epoch, committed, staged)
            recorder.mark(("decided", epoch))
            if chance.random() < 0.7:
                recorder.mark(("committed", epoch))
                committed = epoch
                for part in staged:
                    store.drop_staged(part)
                staged.clear()
                store.prune()
        store.close()

    for _ in range(LIVES):
        before = has[0]
        folder, cut = live(folder, life, chance)
        promised: Mapping[str, int] = {"committed": before, "decided": 0, **dict(cut.promised)}
        store = Store(folder / "deep" / "checkpoints")
        store.open()
        start = choose(store, "job", Resume())
        if start.manifest is None:
            assert not promised["decided"]
            assert not before
        else:
            epoch = start.manifest.epoch
            assert epoch >= max(promised.values())
            assert epoch <= max(promised.values()) + 1
            _check(store, start.manifest, promised["committed"])
            has[0] = epoch
        store.close()


# Files that are published in one step


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_is_the_one_before_or_the_next(seed: int, tmp_path: Path) -> None:
    """A Parquet file is whole under its name, and once published it stays."""
    chance = random.Random(seed)
    folder = tmp_path / "0"
    folder.mkdir()

    def life(folder: Path, recorder: Recorder, chance: random.Random) -> None:
        for number in range(1, 4):
            draft = Draft(str(folder / "out.parquet"), overwrite=number > 1)
            table = pa.table({"number": [number] * chance.randint(1, 500)})
            with pa.OSFile(str(draft.temporary), "wb") as file:
                pq.write_table(table, file)
            draft.publish_file()
            recorder.mark(number)

    left, cut = live(folder, life, chance)
    known = max([0, *cut.promised])
    path = left / "out.parquet"
    found = 0
    if path.exists():
        (found,) = set(pq.read_table(path)["number"].to_pylist())
    assert found in {known, known + 1}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_folder_is_there_whole_or_not_at_all(seed: int, tmp_path: Path) -> None:
    """All files of a folder of Parquet are in it as soon as it has its name."""
    chance = random.Random(seed)
    folder = tmp_path / "0"
    folder.mkdir()

    def life(folder: Path, recorder: Recorder, chance: random.Random) -> None:
        draft = Draft(str(folder / "out"), overwrite=False)
        draft.temporary.mkdir()
        for number in range(3):
            pq.write_table(pa.table({"n": [number]}), draft.temporary / f"{number}.parquet")
        draft.publish_folder()
        recorder.mark("published")

    left, cut = live(folder, life, chance)
    if cut.promised or (left / "out").exists():
        files = sorted((left / "out").iterdir())
        assert [pq.read_table(file)["n"].to_pylist() for file in files] == [[0], [1], [2]]

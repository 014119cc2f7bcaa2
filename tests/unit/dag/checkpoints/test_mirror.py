"""Checkpoints in a store elsewhere: what is there, and what an error says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import market_data_pipeline as mdp
from market_data_pipeline.cli.main import cli
from market_data_pipeline.dag.checkpoints.files import HashedFile, write_durably
from market_data_pipeline.dag.checkpoints.manifest import Manifest, SinkRecord, Staged, encode
from market_data_pipeline.dag.checkpoints.mirror import MirroredStore
from market_data_pipeline.dag.checkpoints.objects import Objects
from market_data_pipeline.dag.checkpoints.recovery import choose
from market_data_pipeline.dag.checkpoints.store import Line
from market_data_pipeline.errors import (
    CheckpointError,
    CheckpointsInUseError,
    CheckpointsUnreachableError,
)
from market_data_pipeline.testing import ManualClock
from support.crashes import HastyClock
from support.epoch_sink import EpochSink
from support.faulty_objects import FaultyFileSystem, Plan, begin

_URL = "faulty://bucket/job"
_LINE = Line("job", "line")


_MADE: list[MirroredStore] = []


def _store() -> MirroredStore:
    _MADE.append(MirroredStore(_URL, ManualClock()))
    return _MADE[-1]


def _opened() -> MirroredStore:
    store = _store()
    assert store.open() is None
    return store


def _written(store: MirroredStore, epoch: int, *staged: Staged) -> Manifest:
    """Write a state, and return the manifest that names it."""
    store.begin(epoch)

    def write(file: HashedFile) -> None:
        file.write(b"state %d" % epoch)

    name, record = store.write_state(epoch, "bars", "", write)
    sinks = {"store": SinkRecord("exactly_once", 0, staged)}
    return Manifest("job", "line", (), epoch, 0, False, {}, (), "", {}, sinks, {name: record})


def _stage(store: MirroredStore, epoch: int) -> Staged:
    store.begin(epoch)
    write_durably(store.outbox(epoch, "store") / "rows", b"rows")
    staged = store.staged(epoch, "store")
    assert staged is not None
    return staged


@pytest.fixture
def plan() -> Iterator[Plan]:
    yield begin(Plan())
    begin(Plan())
    while _MADE:
        _MADE.pop().close()


def _fail(plan: Plan, call: str, **how: Any) -> Plan:
    """Let the next call of a kind fail."""

    class OfKind(Plan):
        def call(self, name: str) -> Any:
            return super().call(name) if name == call else plan.call(name)

    return begin(OfKind(1, **how), is_empty=False)


def test_another_machine_with_an_empty_disk_has_all_of_it(plan: Plan) -> None:
    """What was published is there: line, manifest, states and what is staged."""
    store = _opened()
    store.write_line(_LINE)
    staged = _stage(store, 1)
    manifest = _written(store, 2, staged)
    store.publish(manifest)
    store.close()
    assert not store._folder

    other = _opened()
    assert other.line() == _LINE
    assert other.decided() == [2]
    assert other.load(2) == manifest
    assert other.problems(manifest) == []
    assert (other.folder(2) / "bars.arrow").read_bytes() == b"state 2"
    assert other.staged_problems(staged) == []
    assert (other.root / staged.folder / "rows").read_bytes() == b"rows"
    folder = other.root
    other.close()
    assert not folder.exists()


@pytest.mark.parametrize("change", [b"state 3", b"state", None])
def test_what_was_changed_there_is_damaged(plan: Plan, change: bytes | None) -> None:
    """Size and hash are looked at once it is here."""
    store = _opened()
    manifest = _written(store, 2)
    store.publish(manifest)
    (name,) = [name for name in Objects(_URL).sizes() if "bars" in name]
    Objects(_URL).delete([name])
    if change is not None:
        Objects(_URL).write(name, change)
    store.close()
    (problem,) = _store().problems(manifest)
    assert "`bars.arrow`" in problem


def test_an_upload_that_is_not_whole_makes_no_checkpoint(plan: Plan) -> None:
    """Sizes are looked at before the manifest is there."""
    store = _opened()
    manifest = _written(store, 1)
    (store.folder(1) / "bars.arrow").write_bytes(b"stat")
    with pytest.raises(OSError, match=r"was sent with 7 bytes, and 4 bytes is there"):
        store.publish(manifest)
    assert store.decided() == []
    assert _store().decided() == []
    store.close()


def test_a_lost_reply_to_the_manifest_is_no_failure(plan: Plan) -> None:
    """It is read back, and it is ours."""
    store = _opened()
    manifest = _written(store, 1)
    _fail(plan, "create", is_after=True)
    store.publish(manifest)
    assert store.decided() == _store().decided() == [1]
    store.close()


def test_a_manifest_that_is_not_there_is_a_failure(plan: Plan) -> None:
    """The next checkpoint takes over what was staged."""
    store = _opened()
    staged = _stage(store, 1)
    manifest = replace(_written(store, 2, staged), epoch=1, files={})
    _fail(plan, "create")
    with pytest.raises(OSError, match="was to fail"):
        store.publish(manifest)
    assert store.decided() == []
    store.drop_states(1)
    store.publish(replace(manifest, epoch=2))
    assert _store().decided() == [2]
    assert _store().staged_problems(staged) == []
    store.close()


def test_a_manifest_that_may_be_there_ends_the_run(plan: Plan) -> None:
    """Neither going on with it nor without it would be right."""
    store = _opened()
    manifest = _written(store, 1)

    class Lost(Plan):
        def call(self, name: str) -> Any:
            if name == "create":
                self.at, self.onward = len(self.calls) + 1, True
            return super().call(name)

    begin(Lost(), is_empty=False)
    with pytest.raises(CheckpointError, match="it is not known whether"):
        store.publish(manifest)
    assert store.decided() == [1]
    begin(plan, is_empty=False)
    assert _store().decided() == []
    store.close()


def test_a_manifest_of_another_run_is_not_written_over(plan: Plan) -> None:
    """The store lets one of two create it; the other must end."""
    store = _opened()
    manifest = _written(store, 1)
    theirs = encode(replace(manifest, taken_ns=1))
    Objects(_URL).write("00000001/MANIFEST.json", theirs)
    with pytest.raises(CheckpointsInUseError, match="another run has decided"):
        store.publish(manifest)
    assert Objects(_URL).read("00000001/MANIFEST.json") == theirs
    store.close()


def test_a_run_that_was_taken_over_neither_decides_nor_deletes(plan: Plan) -> None:
    """It looks whose the checkpoints are before it does either."""
    clock = ManualClock()
    store = MirroredStore(_URL, clock)
    assert store.open() is None
    store.publish(_written(store, 1))
    manifest = _written(store, 2)
    Objects(_URL).write("LOCK", b'{"token": "theirs"}')
    before = Objects(_URL).sizes()
    with pytest.raises(CheckpointsInUseError):
        store.publish(manifest)
    clock.advance(60)
    with pytest.raises(CheckpointsInUseError):
        store.drop_epoch(1)
    with pytest.raises(CheckpointsInUseError):
        store.begin(3)
    with pytest.raises(CheckpointsInUseError):
        store.write_line(_LINE)
    store.close()
    assert Objects(_URL).sizes().items() >= before.items()


def test_states_of_two_runs_have_two_names(plan: Plan) -> None:
    """One that is about to find out that it lost them writes over nothing."""
    store = _opened()
    manifest = _written(store, 1)
    store.publish(manifest)
    store.close()
    late = _opened()
    other = _written(late, 1)
    (late.folder(1) / "bars.arrow").write_bytes(b"other 1")
    record = replace(other.files["bars.arrow"], sha256="0" * 64)
    with pytest.raises(CheckpointsInUseError):
        late.publish(replace(other, files={"bars.arrow": record}, taken_ns=1))
    late.close()
    assert _store().problems(manifest) == []


def test_a_store_that_fails_is_not_a_damaged_checkpoint(plan: Plan) -> None:
    """A run that went on from the one before would write rows again."""
    store = _opened()
    store.write_line(_LINE)
    store.publish(_written(store, 1))
    store.publish(_written(store, 2))
    for call in ("download", "read"):
        again = _store()
        again.decided()
        _fail(plan, call, onward=True)
        with pytest.raises(CheckpointsUnreachableError, match="was to fail"):
            choose(again, "job", mdp.Resume())
        begin(plan, is_empty=False)
        again.close()
    store.close()


def test_what_could_not_be_deleted_is_deleted_later(plan: Plan) -> None:
    """A store that is away for a while keeps nothing for good, and stops no run."""
    store = _opened()
    for epoch in range(1, 5):
        store.publish(_written(store, epoch))
    _fail(plan, "delete", onward=True)
    store.prune()
    assert 1 in _store().epochs()
    begin(plan, is_empty=False)
    store.prune()
    assert _store().epochs() == [2, 3, 4]
    store.close()


def test_what_was_committed_meanwhile_is_not_sent_again(plan: Plan) -> None:
    """A manifest names what was not committed when its checkpoint began."""
    store = _opened()
    staged = _stage(store, 1)
    store.publish(replace(_written(store, 2, staged), epoch=1, files={}))
    store.drop_staged(staged)
    assert not [name for name in Objects(_URL).sizes() if "outbox" in name]
    store.publish(_written(store, 3, staged))
    assert _store().decided() == [1, 3]
    store.close()


def _graph(path: Path) -> tuple[mdp.Dag, EpochSink]:
    dag, sink = mdp.Dag("job"), EpochSink(path)
    dag.source(mdp.SyntheticSource(rows=200), name="ticks").bars("1s").sink(sink, name="store")
    return dag, sink


def _run(dag: mdp.Dag) -> Any:
    settings = mdp.Checkpoint(_URL, interval=None)
    return asyncio.run(mdp.run_dag(dag, checkpoint=settings, clock=HastyClock()))


def test_a_job_goes_on_and_ends(plan: Plan, tmp_path: Path) -> None:
    """A second run has nothing to do, and nothing is left here of either."""
    dag, sink = _graph(tmp_path / "out.json")
    assert not _run(dag).was_complete
    rows = sink.rows()
    assert rows
    assert _run(dag).was_complete
    assert sink.rows() == rows
    assert "/bucket/job/LOCK" not in FaultyFileSystem.store


def test_an_address_is_looked_after_as_a_folder_is(plan: Plan, tmp_path: Path) -> None:
    """`mdp checkpoint` takes one, says what is wrong, and leaves nothing here."""

    def mdp_(line: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["checkpoint", *line.split(), _URL])
        return result.exit_code, result.output

    assert mdp_("list") == (0, f"{_URL}: no checkpoints\n")
    dag, _ = _graph(tmp_path / "out.json")
    _run(dag)
    assert "complete" in mdp_("list")[1]
    assert mdp_("show")[1].startswith("checkpoint 1 of `job`")
    assert mdp_("verify") == (0, "1: sound\n")
    store = _opened()
    store.publish(_written(store, 2))
    held = Objects(_URL).read("LOCK")
    assert held is not None
    Objects(_URL).write("LOCK", held.replace(store._lease._own.process.space.encode(), b"x"))
    code, told = mdp_("prune")
    assert code == 2
    assert "uses these checkpoints, or did until a moment ago" in told
    store.close()
    Objects(_URL).delete(["LOCK"])
    assert mdp_("prune --retain 1") == (0, f"{_URL}: 1 deleted, 1 kept\n")
    (state,) = [name for name in Objects(_URL).sizes() if "bars" in name]
    Objects(_URL).write(state, b"")
    code, told = mdp_("verify")
    assert code == 1
    assert told.startswith("2: `bars.arrow`")


@pytest.mark.parametrize("command", ["list", "show", "verify", "prune"])
@pytest.mark.parametrize("call", ["list", "read"])
def test_a_store_that_fails_is_told(plan: Plan, command: str, call: str) -> None:
    """Nothing is called damaged, or not there, that could not be looked at."""
    store = _opened()
    store.publish(_written(store, 1))
    store.close()
    _fail(plan, call, onward=True)
    result = CliRunner().invoke(cli, ["checkpoint", command, _URL])
    assert result.exit_code == 1
    assert "the store fails: was to fail" in result.output


def test_rows_whose_checkpoints_are_gone_are_refused(plan: Plan, tmp_path: Path) -> None:
    """A sink that has epochs of this line was told of a decision; it is not written again."""
    dag, sink = _graph(tmp_path / "out.json")
    _run(dag)
    rows = sink.rows()
    objects = Objects(_URL)
    objects.delete([name for name in objects.sizes() if name != "JOB.json"])
    with pytest.raises(CheckpointError, match="there is no checkpoint to go on from"):
        _run(dag)
    assert sink.rows() == rows

"""The check that every sink must pass that takes part in checkpoints."""

from __future__ import annotations

__all__ = ("check_sink",)

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias, final

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import EpochMark, EpochWriter, Job
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SinkNode
from market_data_pipeline.errors import OutputError, SchemaError
from market_data_pipeline.records import Field, Kind
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.rows import renamed
from market_data_pipeline.testing.telling import telling

Make: TypeAlias = Callable[[str], SinkNode]

_HOSTILE: Final = 'it\'s "x"; DROP TABLE bars; --/../%s{}ü\n'


def check_sink(make: Make, batches: Sequence[Batch]) -> None:
    """Check that a sink shows the rows of each epoch once, whatever happens in between.

    It is opened in a job, given rows, and told to stage and to commit: in order, twice,
    after a crash between any two steps, by another instance with other symbol codes, with
    epochs that are empty or left out, and by a run that another one has overtaken. What it
    shows is compared with what it shows after a run without any of this.

    Args:
        make: Gives the sink for an output of some name, a short word; asked for the same
            name again it gives the same output, and outputs of two names share nothing.
        batches: Consecutive rows, at least three batches that are not empty.

    Raises:
        AssertionError: If a check fails; says which.
    """
    if len([batch for batch in batches if len(batch)]) < 3:
        msg = "three batches with rows are needed"
        raise AssertionError(msg)
    with TemporaryDirectory(prefix="mdp-check-") as folder:
        asyncio.run(_Check(make, batches, Path(folder)).all())


@final
class _Opened:
    """A sink that is open, and the folders of its epochs."""

    def __init__(self, writer: EpochWriter, account: Account, folder: Path) -> None:
        self.writer = writer
        self.account = account
        self.folder = folder

    async def write(self, batch: Batch) -> None:
        self.account.rows_in += len(batch)
        await self.writer.write(batch)

    def of(self, epoch: int) -> Path:
        folder = self.folder / str(epoch)
        folder.mkdir(exist_ok=True)
        return folder

    async def stage(self, epoch: int) -> Path:
        folder = self.of(epoch)
        await self.writer.stage(epoch, folder)
        _expect(self.account.held == 0, f"rows are held after staging: {self.account}")
        _expect(self.account.unaccounted == 0, f"the account is wrong: {self.account}")
        return folder

    async def commit(self, epoch: int) -> None:
        await self.writer.commit(epoch, self.of(epoch))

    async def put(self, epoch: int, batch: Batch) -> None:
        """Write, stage and commit."""
        await self.write(batch)
        await self.stage(epoch)
        await self.commit(epoch)


@final
class _Check:
    def __init__(self, make: Make, batches: Sequence[Batch], folder: Path) -> None:
        self._make = make
        self._batches = [batch for batch in batches if len(batch)]
        self._folder = folder
        self._expected: Counter[str] = Counter()

    async def all(self) -> None:
        checks: dict[str, Callable[[str], Awaitable[None]]] = {
            "epochs in their order": self._straight,
            "commits that are repeated": self._repeated,
            "a crash after each step": self._crashes,
            "rows that come while an epoch is committed": self._beside,
            "epochs that are empty or left out": self._empty,
            "staging that failed": self._failed_staging,
            "an epoch that was there before": self._reused,
            "a run that was overtaken": self._overtaken,
            "a run that was opened and did nothing": self._passed_over,
            "a run that failed": self._aborted,
            "rows with other columns": self._other_columns,
            "hostile names": self._hostile,
        }
        for number, (what, check) in enumerate(checks.items()):
            with telling(what):
                await check(f"case{number}")

    # Scenarios

    async def _straight(self, name: str) -> None:
        sink = await self._open(name)
        for epoch, batch in enumerate(self._batches, 1):
            before = self._rows(name)
            await sink.write(batch)
            await sink.stage(epoch)
            _expect(self._rows(name) == before, "staged rows are visible")
            await sink.commit(epoch)
            mark = await sink.writer.committed()
            _expect(mark == EpochMark("one", epoch), f"the mark is {mark} after epoch {epoch}")
        await sink.writer.finish()
        self._expected = self._rows(name)
        _expect(self._expected.total() > 0, "no row is visible in the end")

    async def _repeated(self, name: str) -> None:
        sink = await self._open(name)
        for epoch, batch in enumerate(self._batches, 1):
            await sink.put(epoch, batch)
            await sink.commit(epoch)
        for epoch in range(1, len(self._batches) + 1):
            await sink.commit(epoch)
        await sink.writer.finish()
        self._compare(name)

    async def _crashes(self, name: str) -> None:
        sink = await self._open(name)
        for epoch, first in enumerate(self._batches, 1):
            await sink.write(first)
            sink = await self._again(name, sink)
            # Another process has met the symbols in another order.
            batch = renamed(first, SymbolTable(["of another run"]))
            await sink.write(batch)
            staged = _contents(await sink.stage(epoch))
            sink = await self._again(name, sink)
            _expect(
                _contents(sink.of(epoch)) == staged,
                f"the files of epoch {epoch} have changed since `stage` returned; "
                "close or flush them in `stage`",
            )
            mark = await sink.writer.committed()
            _expect(mark == (EpochMark("one", epoch - 1) if epoch > 1 else None), f"mark {mark}")
            await sink.commit(epoch)
            sink = await self._again(name, sink)
            mark = await sink.writer.committed()
            _expect(mark == EpochMark("one", epoch), f"the mark is {mark} after epoch {epoch}")
            await sink.commit(epoch)
        await sink.writer.finish()
        self._compare(name)

    async def _beside(self, name: str) -> None:
        sink = await self._open(name)
        await sink.write(self._batches[0])
        await sink.stage(1)
        for epoch, batch in enumerate(self._batches[1:], 2):
            async with asyncio.TaskGroup() as group:
                group.create_task(sink.commit(epoch - 1))
                await sink.write(batch)
                await sink.stage(epoch)
        await sink.commit(len(self._batches))
        await sink.writer.finish()
        self._compare(name)

    async def _empty(self, name: str) -> None:
        sink = await self._open(name)
        for number, batch in enumerate(self._batches):
            folder = await sink.stage(number * 10 + 1)
            _expect(not any(folder.iterdir()), "an epoch without rows has a file")
            await sink.write(batch.slice(0, 0))
            await sink.put(number * 10 + 5, batch)
        await sink.writer.finish()
        self._compare(name)

    async def _failed_staging(self, name: str) -> None:
        sink = await self._open(name)
        first, second, *rest = self._batches
        await sink.write(first)
        await _refused(sink.writer.stage(1, self._folder / "absent"), "there is no such folder")
        await sink.write(second)
        await sink.stage(2)
        await sink.commit(2)
        for epoch, batch in enumerate(rest, 3):
            await sink.put(epoch, batch)
        await sink.writer.finish()
        self._compare(name)

    async def _reused(self, name: str) -> None:
        sink = await self._open(name)
        await sink.put(5, self._batches[0])
        before = self._rows(name)
        await sink.write(self._batches[1])
        await _refused(sink.writer.stage(5, sink.of(5)), "the epoch is committed")
        sink = await self._again(name, sink)
        await sink.writer.committed()
        await sink.write(self._batches[1])
        await _refused(sink.writer.stage(3, sink.of(3)), "a later epoch is committed")
        await sink.writer.abort()
        _expect(self._rows(name) == before, "an epoch that was refused has changed the output")

    async def _overtaken(self, name: str) -> None:
        old = await self._open(name)
        await old.put(1, self._batches[0])
        await old.write(self._batches[1])
        await old.stage(2)
        before = self._rows(name)
        try:
            fresh = await self._open(name, lineage="two")
        except OutputError:
            # A sink may refuse to go on with what another line of the job has written.
            await old.writer.abort()
            _expect(self._rows(name) == before, "who was refused has changed the output")
            return
        mark = await fresh.writer.committed()
        _expect(mark == EpochMark("one", 1), f"the mark is {mark} for another lineage")
        await _refused(old.commit(2), "another run of the job is open")
        await fresh.put(1, self._batches[2])
        mark = await fresh.writer.committed()
        _expect(mark == EpochMark("two", 1), f"the mark is {mark} for another lineage")
        after = self._rows(name)
        await _refused(old.commit(2), "another run of the job has written")
        await old.writer.abort()
        await _refused(self._open(name), "another run of the job has written")
        _expect(self._rows(name) == after, "who was refused has changed the output")
        await fresh.writer.finish()

    async def _passed_over(self, name: str) -> None:
        sink = await self._open(name)
        await sink.put(1, self._batches[0])
        await sink.writer.abort()
        try:
            other = await self._open(name, lineage="two", ancestors=("one",))
        except OutputError as err:
            msg = f"a run that branched off is refused: {err}"
            raise AssertionError(msg) from err
        await other.writer.abort()
        sink = await self._open(name)
        for epoch, batch in enumerate(self._batches[1:], 2):
            await sink.put(epoch, batch)
        await sink.writer.finish()
        self._compare(name)

    async def _aborted(self, name: str) -> None:
        sink = await self._open(name)
        await sink.write(self._batches[0])
        await sink.writer.abort()
        await sink.writer.abort()
        _expect(not self._rows(name), "rows of a run that failed are visible")
        _expect(sink.account.unaccounted == 0, f"the account is wrong: {sink.account}")
        _expect(sink.account.rows_out == 0, "rows that nobody can see count as written")
        sink = await self._open(name)
        for epoch, batch in enumerate(self._batches, 1):
            await sink.put(epoch, batch)
        await sink.writer.finish()
        self._compare(name)

    async def _other_columns(self, name: str) -> None:
        sink = await self._open(name)
        await sink.put(1, self._batches[0])
        before = self._rows(name)
        await _refused(self._put_other(sink, 2), "there is a column more")
        await sink.writer.abort()
        sink = await self._open(name)
        await _refused(self._put_other(sink, 3), "there is a column more than before")
        await sink.writer.abort()
        _expect(self._rows(name) == before, "rows with other columns have changed the output")

    async def _put_other(self, sink: _Opened, epoch: int) -> None:
        batch = self._batches[1]
        more = {"surplus": np.zeros(len(batch), np.int64)}
        await sink.put(epoch, batch.with_columns([Field("surplus", Kind.INT)], more))

    async def _hostile(self, name: str) -> None:
        sink = await self._open(name, names=_HOSTILE)
        for epoch, batch in enumerate(self._batches, 1):
            await sink.put(epoch, batch)
        await sink.writer.finish()
        self._compare(name)

    # Means

    async def _open(
        self, name: str, *, lineage: str = "one", ancestors: tuple[str, ...] = (), names: str = ""
    ) -> _Opened:
        folder = self._folder / name
        job = Job(f"job {names}{name}", lineage, ancestors)
        node = f"sink {names}"
        account = Account(node)
        context = NodeContext(node, SymbolTable(["of another run"]), account, job=job)
        component = self._make(name)
        if not folder.exists():
            component.check()
        folder.mkdir(exist_ok=True)
        writer: Any = await component.open(context, self._batches[0].schema)
        if not isinstance(writer, EpochWriter):
            msg = "what `open` gives in a job is no EpochWriter"
            raise AssertionError(msg)  # noqa: TRY004  a check has failed
        return _Opened(writer, account, folder)

    async def _again(self, name: str, sink: _Opened) -> _Opened:
        """Go on in another instance, as after a crash."""
        await sink.writer.abort()
        return await self._open(name)

    def _rows(self, name: str) -> Counter[str]:
        """Return what everybody can see; nothing where there is no output yet."""
        try:
            table: pa.Table = self._make(name).read()
        except (OutputError, OSError, pa.ArrowInvalid):
            return Counter()
        return Counter(map(repr, table.to_pylist()))

    def _compare(self, name: str) -> None:
        found = self._rows(name)
        missing, surplus = self._expected - found, found - self._expected
        _expect(
            not missing and not surplus,
            f"{missing.total()} rows are missing and {surplus.total()} too many"
            + "".join(f"; such as {row}" for row in [*missing, *surplus][:1]),
        )


def _expect(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def _refused(work: Awaitable[object], because: str) -> None:
    try:
        await work
    except (OutputError, SchemaError):
        return
    except Exception as err:
        msg = f"{because}: {type(err).__name__} is raised for an `OutputError`: {err}"
        raise AssertionError(msg) from err
    msg = f"nothing is refused although {because}"
    raise AssertionError(msg)

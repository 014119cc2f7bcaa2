"""What the checks say of components that are wrong: at what, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from market_data_pipeline import Batch, Field, Kind, Schema, SymbolTable
from market_data_pipeline.batch import TIME_MIN, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.sink.sqlite import SqliteSink
from market_data_pipeline.source.scripted import ScriptedSource
from market_data_pipeline.testing import check_operator, check_sink, check_source

_SYMBOLS = SymbolTable(["ES", "NQ"])
_SCHEMA = Schema("tick", (Field("ts_event", Kind.TIME), Field("symbol", Kind.SYMBOL)))


def _rows(first: int, count: int) -> Batch:
    times = np.arange(first, first + count)
    columns = {"ts_event": times, "symbol": (times % 2).astype(np.int32)}
    batch = Batch.from_columns(_SCHEMA, columns, _SYMBOLS)
    return batch.with_progress(Progress(TIME_MIN, 0, first + count))


_BATCHES = [_rows(1, 3), _rows(4, 1), _rows(5, 9)]


class _Around:
    """The running half of a right sink, to be made wrong."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    async def write(self, batch: Batch) -> None:
        await self._writer.write(batch)

    async def stage(self, epoch: int, folder: Path) -> None:
        await self._writer.stage(epoch, folder)

    async def commit(self, epoch: int, folder: Path) -> None:
        await self._writer.commit(epoch, folder)

    async def committed(self) -> Any:
        return await self._writer.committed()

    async def finish(self) -> None:
        await self._writer.finish()

    async def abort(self) -> None:
        await self._writer.abort()


class _ForeignError(_Around):
    async def stage(self, epoch: int, folder: Path) -> None:
        if folder.name == "absent":
            raise FileNotFoundError(folder)
        await super().stage(epoch, folder)


class _Unflushed(_Around):
    def __init__(self, writer: Any) -> None:
        super().__init__(writer)
        self._stack = ExitStack()

    async def stage(self, epoch: int, folder: Path) -> None:
        await super().stage(epoch, folder)
        self._stack.enter_context((folder / "more").open("w")).write("more")

    async def finish(self) -> None:
        self._stack.close()
        await super().finish()

    async def abort(self) -> None:
        self._stack.close()
        await super().abort()


class _SymbolsByCode(_Around):
    async def write(self, batch: Batch) -> None:
        await super().write(Batch(batch.schema, batch.columns, SymbolTable(["A", "B", "C", "D"])))


class _Failing(_Around):
    async def commit(self, epoch: int, folder: Path) -> None:
        raise KeyError(epoch)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            _ForeignError,
            "with staging that failed: there is no such folder: FileNotFoundError is raised for",
        ),
        (
            _Unflushed,
            "with a crash after each step: the files of epoch 1 have changed since `stage` ",
        ),
        (_SymbolsByCode, "with a crash after each step: 6 rows are missing and 6 too many"),
        (_Failing, "with epochs in their order: KeyError: 1"),
    ],
)
def test_a_sink_that_is_wrong(
    tmp_path: Path, wrong: Callable[[Any], _Around], message: str
) -> None:
    """Whatever it raises, the check says at what."""

    @component("wrong")
    class Wrong:
        path: Path

        def check(self) -> None:
            SqliteSink(self.path).check()

        async def open(self, context: NodeContext, schema: Schema | None) -> _Around:
            return wrong(await SqliteSink(self.path).open(context, schema))

        def read(self) -> Any:
            return SqliteSink(self.path).read()

    with pytest.raises(AssertionError) as told:
        check_sink(lambda name: Wrong(tmp_path / f"{name}.sqlite"), _BATCHES)
    assert str(told.value).startswith(message)


class _EverySecond(Stateless):
    """Let every second row pass."""

    def __init__(self, context: NodeContext) -> None:
        self.account = context.account
        self.seen = 0

    def process(self, batch: Batch) -> Outputs:
        keep = (np.arange(self.seen, self.seen + len(batch)) % 2).astype(np.bool_)
        self.seen += len(batch)
        self.account.add("filtered", int(np.count_nonzero(~keep)))
        return [("out", batch.take(keep))]

    def snapshot(self) -> Snapshot:
        return Snapshot(scalars={"seen": self.seen})

    def restore(self, snapshot: Snapshot) -> None:
        self.seen = snapshot.scalars["seen"]


class _Forgetful(_EverySecond):
    def snapshot(self) -> Snapshot:
        return Snapshot(scalars={"seen": 0})


class _OtherName(_EverySecond):
    def restore(self, snapshot: Snapshot) -> None:
        self.seen = snapshot.scalars["sen"]


class _PerBatch(_EverySecond):
    def process(self, batch: Batch) -> Outputs:
        self.seen = 0
        return super().process(batch)


class _Uncounted(_EverySecond):
    def process(self, batch: Batch) -> Outputs:
        return [("out", batch.take(np.zeros(len(batch), np.bool_)))]


def _component(running: Callable[[NodeContext], _EverySecond]) -> Any:
    @component("every_second")
    class EverySecond:
        outputs: ClassVar[tuple[str, ...]] = ("out",)
        side_outputs: ClassVar[tuple[str, ...]] = ()

        def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
            return {"out": schema}

        def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
            return wanted

        def build(self, context: NodeContext) -> _EverySecond:
            return running(context)

    return EverySecond


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_Forgetful, "with a restart after batch 1: "),
        (_OtherName, "with a restart after batch 0: KeyError: 'sen'"),
        (_PerBatch, "with batches of 1: `out` has 0 rows, else 5"),
        (_Uncounted, "with the batches as they are: rows are missing"),
    ],
)
def test_an_operator_that_is_wrong(
    wrong: Callable[[NodeContext], _EverySecond], message: str
) -> None:
    """Whatever it raises, the check says at what."""
    check_operator(_component(_EverySecond), _BATCHES)
    with pytest.raises(AssertionError) as told:
        check_operator(_component(wrong), _BATCHES)
    assert str(told.value).startswith(message)


class _Reader:
    def __init__(self, reader: Any, position: Callable[[Any], Any]) -> None:
        self._reader = reader
        self._position = position
        self.schema = reader.schema

    def position(self) -> Any:
        return self._position(self._reader.position())

    async def read(self) -> Sequence[Any] | None:
        given: Sequence[Any] | None = await self._reader.read()
        return given

    def fraction(self) -> float | None:
        return None

    async def close(self) -> None:
        await self._reader.close()


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (lambda _: {"items": 0}, "with a restart where it stood after read 1: `out` has 16 rows"),
        (lambda _: {"at": 1}, "with a restart where it stood after read 0: KeyError: 'items'"),
        (lambda _: {"items": {1}}, "with a read from begin to end: TypeError: Object of type set"),
    ],
)
def test_a_source_that_is_wrong(position: Callable[[Any], Any], message: str) -> None:
    """Whatever it raises, the check says at what."""

    @component("wrong")
    class Wrong:
        outputs: ClassVar[tuple[str, ...]] = ("out",)
        side_outputs: ClassVar[tuple[str, ...]] = ()

        def schema(self) -> Schema:
            return _SCHEMA

        async def open(self, context: NodeContext) -> _Reader:
            return _Reader(await ScriptedSource(_BATCHES).open(context), position)

    with pytest.raises(AssertionError) as told:
        check_source(Wrong)
    assert str(told.value).startswith(message)

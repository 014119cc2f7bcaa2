"""A sink that shows its rows by epochs, in a file; and what a killed run left of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import Kind, Schema

Row = tuple[Any, ...]


@component("epochs")
class EpochSink:
    """Keeps rows in a JSON file with the mark of the epoch they came with.

    Attributes:
        path: The file.
        plan: What is to go wrong: `stage` or `commit` to the numbers of the calls that fail,
            `commit_lost` to those that fail although they did it.
    """

    path: Path
    plan: Any = None

    def check(self) -> None:
        pass

    async def open(self, context: NodeContext, schema: Schema | None) -> EpochSinkWriter:
        return EpochSinkWriter(self, context)

    def read(self) -> pa.Table:
        return pa.table({})

    def rows(self) -> list[Row]:
        """Return the rows that are visible."""
        return [row for rows in _read(self.path)["epochs"].values() for row in map(tuple, rows)]

    def epochs(self) -> list[int]:
        """Return the epochs that are visible."""
        return [int(epoch) for epoch in _read(self.path)["epochs"]]


class EpochSinkWriter:
    def __init__(self, settings: EpochSink, context: NodeContext) -> None:
        self._path = settings.path
        self._plan = settings.plan or {}
        self._calls = {"stage": 0, "commit": 0}
        self._job: Job | None = context.job
        self._account = context.account
        self._rows: list[Row] = []

    async def write(self, batch: Batch) -> None:
        self._rows.extend(_rows_of(batch))
        self._account.rows_out += len(batch)

    async def stage(self, epoch: int, folder: Path) -> None:
        self._fail("stage", "stage")
        if self._rows:
            (folder / "rows.json").write_text(json.dumps(self._rows))
        self._rows = []

    async def commit(self, epoch: int, folder: Path) -> None:
        if self._job is None:
            msg = "there is no job"
            raise OutputError(msg)
        self._calls["commit"] += 1
        self._fail("commit", None)
        told = _read(self._path)
        if told["mark"] is not None and told["mark"][1] >= epoch:
            return
        rows = json.loads((folder / "rows.json").read_text())
        told["epochs"][str(epoch)] = rows
        told["mark"] = [self._job.lineage, epoch]
        self._path.write_text(json.dumps(told))
        self._fail("commit_lost", None)

    async def committed(self) -> EpochMark | None:
        mark = _read(self._path)["mark"]
        return None if mark is None else EpochMark(*mark)

    async def finish(self) -> None:
        assert self._job is None or not self._rows

    async def abort(self) -> None:
        self._rows = []

    def _fail(self, what: str, count: str | None) -> None:
        if count is not None:
            self._calls[count] += 1
        number = self._calls[what.partition("_")[0]]
        if number in self._plan.get(what, ()):
            msg = f"{what} {number} was to fail"
            raise OutputError(msg)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"mark": None, "epochs": {}}
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def _rows_of(batch: Batch) -> list[Row]:
    columns: list[list[Any]] = []
    for field in batch.schema:
        column: Any = batch[field.name]
        if field.kind is Kind.SYMBOL:
            columns.append([batch.symbols.name(code) for code in column.tolist()])
        elif field.kind is Kind.ARROW:
            columns.append([None if v is None else str(v) for v in column.to_pylist()])
        else:
            columns.append([str(value) for value in column.tolist()])
    return list(zip(*columns, strict=True))

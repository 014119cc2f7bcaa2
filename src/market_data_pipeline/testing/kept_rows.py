"""A sink that survives the run, in the memory of the process: for tests of restarts."""

from __future__ import annotations

__all__ = ("KeptRows",)

from pathlib import Path
from typing import Final, final

import pyarrow as pa

from market_data_pipeline import wire
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import EpochMark
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.symbols import SymbolTable

_FILE: Final = "rows.arrow"


@final
class _Kept:
    """What is committed, shared by a sink and the writers of its runs."""

    def __init__(self) -> None:
        self.symbols = SymbolTable()
        self.batches: list[Batch] = []
        self.mark: EpochMark | None = None
        self.schema: Schema | None = None


@component("kept")
class KeptRows:
    """Keeps the rows of all runs of a job, each epoch once, as long as the process lives.

    Made for one job; `read` returns what is committed, or all that came in a run without
    checkpoints.
    """

    def __post_init__(self) -> None:
        """Begin with nothing."""
        object.__setattr__(self, "_kept", _Kept())

    def check(self) -> None:
        """Do nothing: there is always room."""

    async def open(self, context: NodeContext, schema: Schema | None) -> _KeptWriter:
        """Go on after what is there.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.
        """
        kept: _Kept = object.__getattribute__(self, "_kept")
        kept.schema = schema or kept.schema
        return _KeptWriter(kept, context)

    def read(self) -> pa.Table:
        """Return the rows; prices are exact decimals."""
        kept: _Kept = object.__getattribute__(self, "_kept")
        schema = kept.batches[0].schema if kept.batches else kept.schema
        schema = Schema("empty", (), time="") if schema is None else schema
        return ArrowRows(schema, prices="decimal").table(kept.batches)


@final
class _KeptWriter:
    def __init__(self, kept: _Kept, context: NodeContext) -> None:
        self._kept = kept
        self._context = context
        self._fresh: list[Batch] = []

    async def write(self, batch: Batch) -> None:
        self._fresh.append(batch)
        self._context.account.rows_out += len(batch)

    async def stage(self, epoch: int, folder: Path) -> None:  # noqa: ARG002
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        rows = [wire.to_arrow(Batch(b.schema, b.columns, b.symbols)) for b in fresh]
        with (
            pa.OSFile(str(folder / _FILE), "wb") as file,
            pa.ipc.new_stream(file, rows[0].schema) as writer,
        ):
            for batch in rows:
                writer.write_batch(batch)

    async def commit(self, epoch: int, folder: Path) -> None:
        job, mark = self._context.job, self._kept.mark
        if job is None:
            msg = "there is no job whose epochs these are"
            raise OutputError(msg)
        if mark is not None and mark.lineage == job.lineage and mark.epoch >= epoch:
            return
        if (folder / _FILE).exists():
            with pa.OSFile(str(folder / _FILE)) as file, pa.ipc.open_stream(file) as reader:
                self._kept.batches += [wire.from_arrow(b, self._kept.symbols) for b in reader]
        self._kept.mark = EpochMark(job.lineage, epoch)

    async def committed(self) -> EpochMark | None:
        return self._kept.mark

    async def finish(self) -> None:
        for batch in self._fresh:
            self._kept.batches.append(wire.from_arrow(wire.to_arrow(batch), self._kept.symbols))
        self._fresh = []

    async def abort(self) -> None:
        self._fresh = []

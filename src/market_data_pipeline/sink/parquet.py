"""Rows as Parquet: one file, or a folder of files."""

from __future__ import annotations

__all__ = ("ParquetSink",)

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeAlias, final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset
from pydantic import PositiveInt

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, OutputError, OutputExistsError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import Prices
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.parquet_epochs import (
    EMPTY,
    LOG,
    STAGED,
    ParquetEpochs,
    committed_files,
)
from market_data_pipeline.sink.parquet_parts import (
    Layout,
    PartFiles,
    check_partition,
    partition_schema,
)
from market_data_pipeline.sink.publish import (
    Draft,
    OutputPath,
    check_parent,
    check_vacant,
    reporting,
)
from market_data_pipeline.sink.whole_file import open_file
from market_data_pipeline.sink.writer import ThreadedWriter

Compression: TypeAlias = Literal["zstd", "snappy", "none"]

_OWN: Final = frozenset({LOG, STAGED})


@component("parquet")
class ParquetSink:
    """Writes a Parquet file, or a folder of them, published in one step at the end.

    Delivery: all rows once at the end, or none. In a run with checkpoints a folder exactly
    once, visible epoch by epoch: files `part-LINEAGE-EPOCH-NUMBER.parquet`, and a manifest in
    `_log/` that names them; who reads all `*.parquet` sees committed files only. A single
    file as without checkpoints: its rows are kept in the hidden folder `.NAME.epochs` until
    the end, and when the run is told to stop; a run that goes on replaces it by a longer one.

    Attributes:
        path: Where to: `NAME.parquet` is one file, `NAME/` a folder of part files.
        overwrite: Replace what is there; otherwise refuse.
        prices: Fixed-point columns as the nearest `float64`, or exact as `decimal`.
        compression: `zstd`, `snappy` or `none`.
        row_group_rows: Rows of a row group; all but the last have as many.
        part_rows: Rows of a part file in a folder.
        partition: Columns by whose values a folder is divided into folders, as
            `[date, symbol]` for `date=2024-01-02/symbol=ES/`: symbols, text or dates. `date`
            is the day of the event time, UTC, where no column has that name. A value that
            could not be the name of a folder is percent-encoded. The columns are in the
            names only.
    """

    path: OutputPath
    overwrite: bool = False
    prices: Prices = "float64"
    compression: Compression = "zstd"
    row_group_rows: PositiveInt = 100_000
    part_rows: PositiveInt = 10_000_000
    partition: tuple[str, ...] = ()

    delivery: ClassVar[Delivery] = "exactly_once"

    def __post_init__(self) -> None:
        path = str(self.path)
        if not path.endswith(("/", ".parquet")):
            msg = f"`path` must end in `.parquet` for a file or in `/` for a folder, was `{path}`"
            raise ConfigError(msg, parameter="path")
        if self.partition and not self.is_folder:
            msg = f"`partition` needs a folder: let `path` end in `/`, was `{path}`"
            raise ConfigError(msg, parameter="partition")
        if len(set(self.partition)) < len(self.partition):
            msg = f"`partition` must name each column once, was {list(self.partition)}"
            raise ConfigError(msg, parameter="partition")

    @property
    def is_folder(self) -> bool:
        """True if the output is a folder of part files."""
        return str(self.path).endswith("/")

    def check(self) -> None:
        """Look at the output before anything runs.

        Raises:
            OutputExistsError: If it exists and may not be replaced.
            OutputError: If it cannot be written, or replacing it would delete other
                files than Parquet.
        """
        if self.is_folder:
            _check_folder(str(self.path), overwrite=self.overwrite)
        else:
            check_vacant(str(self.path), overwrite=self.overwrite)

    def layout(self) -> Layout:
        """Return how rows become files."""
        return Layout(
            self.prices,
            self.compression,
            self.row_group_rows,
            self.part_rows if self.is_folder else None,
            self.partition,
        )

    async def open(
        self, context: NodeContext, schema: Schema | None
    ) -> ThreadedWriter | EpochedWriter:
        """Open the output: under a hidden name, or in a job the folder itself.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            OutputExistsError: If it exists and may not be replaced.
            OutputError: If it cannot be written.
            SchemaError: If the rows cannot be divided as `partition` says.
        """
        path = str(self.path)
        if schema is not None:
            check_partition(self.partition, schema)
        if not self.is_folder:
            return await open_file(
                path,
                context,
                partial(_ParquetOutput, self, schema),
                overwrite=self.overwrite,
            )
        if context.job is None:
            _check_folder(path, overwrite=self.overwrite, may_go_on=False)
            return ThreadedWriter(_ParquetOutput(self, schema, overwrite=self.overwrite), context)
        self.check()
        output = ParquetEpochs(
            path, self.layout(), context.job, context.node, schema, overwrite=self.overwrite
        )
        writer = EpochedWriter(output, context)
        await writer.begin(output.begin)
        return writer

    def read(self) -> pa.Table:
        """Return what is in the output; of a folder with a log, what the log names.

        Raises:
            OutputError: If a manifest of the log cannot be read.
        """
        if not self.is_folder:
            return pq.read_table(str(self.path))
        folder = Path(self.path)
        files = committed_files(folder)
        if files is None:
            files = sorted(folder.rglob("*.parquet"))
        if not files and (folder / EMPTY).exists():
            files = [folder / EMPTY]
        if not files:
            return pa.table({}) if folder.is_dir() else pq.read_table(str(folder))
        inside = partition_schema(files[0])
        return dataset.dataset(
            [str(file) for file in files],
            partitioning=dataset.partitioning(inside, flavor="hive") if inside else None,
            partition_base_dir=str(folder),
            format="parquet",
        ).to_table()


def _check_folder(path: str, *, overwrite: bool, may_go_on: bool = True) -> None:
    """Refuse a folder that may not be written to.

    Args:
        path: The folder.
        overwrite: Whether its Parquet files may be replaced.
        may_go_on: Whether one with a log may be added to. Whose it is, is seen when the job
            is known.

    Raises:
        OutputExistsError: If it is not empty and may not be replaced.
        OutputError: If it cannot be written, or holds other files than Parquet.
    """
    check_parent(path)
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        msg = "cannot be written: it is a file; end the path in `.parquet`, or choose another"
        raise OutputError(msg, path=path)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if files and not overwrite and not (may_go_on and (folder / LOG).is_dir()):
        msg = (
            "exists already and is not empty; set `overwrite: true` (`--overwrite` of `mdp bars` "
            "and `mdp dlq`) to replace it, or choose another name"
        )
        raise OutputExistsError(msg, path=path)
    for file in files:
        if not _is_ours(file):
            msg = (
                f"cannot be replaced: it holds `{file.name}`, which is not a Parquet file; "
                "delete it yourself, or choose another folder"
            )
            raise OutputError(msg, path=path)


def _is_ours(path: Path) -> bool:
    """Tell whether a file or folder is one that this sink writes."""
    if path.is_dir():
        if path.name in _OWN:
            return True
        return "=" in path.name and all(_is_ours(inner) for inner in path.iterdir())
    return path.suffix == ".parquet" and path.is_file()


@final
class _ParquetOutput:
    def __init__(self, sink: ParquetSink, schema: Schema | None, *, overwrite: bool) -> None:
        self._sink = sink
        self._path = str(sink.path)
        self._schema = schema
        self._files: PartFiles | None = None
        self._draft = Draft(self._path, overwrite=overwrite)
        with reporting(self._path):
            if sink.is_folder:
                self._draft.temporary.mkdir()
            else:
                self._draft.temporary.touch(exist_ok=False)

    def write(self, batches: Sequence[Batch]) -> None:
        with reporting(self._path):
            self._begun(batches[0].schema).write(batches)

    def _begun(self, schema: Schema) -> PartFiles:
        if self._files is None:
            self._files = PartFiles(schema, self._sink.layout(), self._part_path)
        return self._files

    def _part_path(self, number: int, partition: str) -> Path:
        if not self._sink.is_folder:
            return self._draft.temporary
        return self._draft.temporary / partition / f"part-{number:05d}.parquet"

    def complete(self) -> None:
        try:
            with reporting(self._path):
                empty = Schema("empty", (), time="")
                files = self._begun(self._schema or empty)
                files.close(at_least_one=not self._sink.partition)
            if self._sink.is_folder:
                self._draft.complete_folder()
            else:
                self._draft.complete_file()
        except BaseException:
            self.discard()
            raise

    def publish(self) -> None:
        try:
            if self._sink.is_folder:
                self._draft.publish_folder()
            else:
                self._draft.publish_file()
        finally:
            self.discard()

    def discard(self) -> None:
        if self._files is not None:
            self._files.give_up()
            self._files = None
        self._draft.discard()

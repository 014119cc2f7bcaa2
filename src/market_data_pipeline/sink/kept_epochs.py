"""Outputs that are one file, by epochs: kept beside it, and made into the file at the end."""

from __future__ import annotations

__all__ = ("KeptEpochs", "MakeOutput")

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, final
from urllib.parse import quote

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.errors import OutputError, OutputExistsError
from market_data_pipeline.sink.folder_ledger import FolderLedger, move_file
from market_data_pipeline.sink.outbox import Spool, read_file, schema_of_file
from market_data_pipeline.sink.publish import check_vacant, reporting, sync
from market_data_pipeline.sink.writer import BlockingOutput
from market_data_pipeline.symbols import SymbolTable

_PUBLISHED: Final = "published"


class MakeOutput(Protocol):
    """Makes an output under a hidden name."""

    def __call__(self, *, overwrite: bool) -> BlockingOutput:
        """Make it; told whether it may replace one that is there."""
        ...


@final
class KeptEpochs:
    """An `EpochOutput`: rows wait in the hidden folder `.NAME.epochs` beside the output.

    At the end of the input, and when the run is told to stop, the output is made of all of
    them and published in one step; a run that goes on later replaces it by a longer one.
    """

    def __init__(
        self,
        path: str,
        job: Job,
        sink: str,
        make: MakeOutput,
        *,
        overwrite: bool,
    ) -> None:
        """Look at nothing yet.

        Args:
            path: The output.
            job: Whose rows they are.
            sink: Name of the node.
            make: Makes the output under a hidden name.
            overwrite: Whether it may replace what others have written.
        """
        self._path = path
        self._make = make
        self._overwrite = overwrite
        final = Path(path).resolve()
        self._ledger = FolderLedger(final.with_name(f".{final.name}.epochs"), job, sink, path)
        self._lineage = job.lineage
        self._spool = Spool()
        self._columns: list[str] | None = None

    @property
    def _published(self) -> Path:
        return self._ledger.folder / _PUBLISHED

    def begin(self) -> None:
        """Enter the lineage.

        Raises:
            OutputExistsError: If the output exists and may not be replaced.
            OutputError: If a later run stands in the way.
        """
        folder = self._ledger.folder
        if not self._published.exists():
            check_vacant(self._path, overwrite=self._overwrite)
        with reporting(self._path):
            folder.mkdir(exist_ok=True)
            with self._ledger.locked():
                lines = self._ledger.lines()
                entry = self._ledger.enter()
        if not entry.is_own and not self._overwrite and any(line.epoch for line in lines):
            msg = (
                f"an earlier run of this job has kept rows for it in `{folder.name}`; delete "
                f"that folder, set `overwrite: true`, or choose another name"
            )
            raise OutputExistsError(msg, path=self._path)

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows.

        Raises:
            SchemaError: If they have other columns than those before.
        """
        if self._columns is None:
            self._ledger.check_columns(batches[0].schema)
            self._columns = [str(field) for field in batches[0].schema]
        self._spool.write(batches)

    def stage(self, epoch: int, folder: Path) -> None:  # noqa: ARG002  the folder says it
        """Put the rows into the epoch's folder."""
        self._spool.stage(folder)

    def commit(self, epoch: int, folder: Path) -> None:
        """Keep the rows of an epoch, and record it.

        Raises:
            OutputError: If it is not known to be done.
        """
        with reporting(self._path), self._ledger.locked():
            if self._ledger.has(epoch):
                return
            staged = sorted(folder.glob("outbox-*.arrow"))
            start = f"{epoch:012d}-{quote(self._lineage, safe='')}-"
            kept = {path.name for path in self._ledger.folder.glob("*.arrow")}
            names = sorted(
                {start + path.name for path in staged}
                | {name for name in kept if name.startswith(start)}
            )
            if not names:
                msg = "what was staged is not there"
                raise OutputError(msg, path=str(folder))
            for name in names:
                source = folder / name.removeprefix(start)
                target = self._ledger.folder / name
                if source.exists():
                    move_file(source, target, source.stat().st_size)
            sync(self._ledger.folder)
            columns = [str(field) for field in schema_of_file(self._ledger.folder / names[0])]
            self._ledger.record(epoch, {"files": names, "columns": columns})

    def committed(self) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        return self._ledger.mark()

    def finish(self) -> None:
        """Make the output of all that is kept, unless it is there already.

        Raises:
            OutputError: If it cannot be written.
        """
        symbols = SymbolTable()
        with reporting(self._path), self._ledger.locked():
            if self._is_published():
                return
            output = self._make(overwrite=self._overwrite or self._published.exists())
            try:
                for manifest in self._ledger.own():
                    for name in manifest["files"]:
                        for batch in read_file(self._ledger.folder / name, symbols):
                            output.write([batch])
                output.complete()
                # First: a run that dies in between finds its own output, not another's.
                self._published.touch()
                sync(self._ledger.folder)
                output.publish()
            except BaseException:
                output.discard()
                raise
            self._published.write_text(self._all_kept(), encoding="utf-8")

    def _all_kept(self) -> str:
        mark = self._ledger.mark()
        return f"{self._lineage} 0" if mark is None else f"{mark.lineage} {mark.epoch}"

    def _is_published(self) -> bool:
        """Tell whether the output was made of all that is kept; one torn line says no."""
        if not (self._published.exists() and Path(self._path).exists()):
            return False
        return self._published.read_text(encoding="utf-8") == self._all_kept()

    def discard(self) -> None:
        """Forget what is not staged."""
        self._spool.discard()

    def close(self) -> None:
        """Forget what is not staged."""
        self._spool.discard()

    def interrupt(self) -> None:
        """Do nothing: what is written to a disk takes as long as it takes."""

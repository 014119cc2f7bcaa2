"""A folder of Parquet files by epochs: staged beside it, renamed into it, listed in a log.

| in the folder | what it is |
|---|---|
| `part-LINEAGE-EPOCH-NUMBER.parquet` | rows of an epoch, in its partition |
| `part-empty.parquet` | no rows, but their columns, where no run has brought any rows |
| `_log/EPOCH-LINEAGE.json` | which files the epoch has brought: its mark |
| `_staged/` | files of epochs that are not committed, under names that nobody reads |
"""

from __future__ import annotations

__all__ = ("EMPTY", "LOG", "STAGED", "ParquetEpochs", "committed_files")

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import quote

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.errors import OutputError, OutputExistsError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.folder_ledger import FolderLedger, manifests_in, move_file
from market_data_pipeline.sink.parquet_parts import Layout, Part, PartFiles
from market_data_pipeline.sink.publish import reporting, sync

LOG: Final = "_log"
STAGED: Final = "_staged"
EMPTY: Final = "part-empty.parquet"

_LIST: Final = "parts.json"


def committed_files(folder: Path) -> list[Path] | None:
    """Return the files of a folder that its log names, in order; None if it has no log.

    Raises:
        OutputError: If a manifest cannot be read.
    """
    log = folder / LOG
    if not log.is_dir():
        return None
    return [folder / file["path"] for found in _standing(log) for file in found["files"]]


def _standing(log: Path) -> list[dict[str, Any]]:
    """Return the manifests that nothing has replaced, in order."""
    manifests = manifests_in(log)
    first = max((i for i, found in enumerate(manifests) if found["replaces"]), default=0)
    return manifests[first:]


def _plain(value: Any) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


@final
class ParquetEpochs:
    """An `EpochOutput` for one folder."""

    def __init__(
        self,
        path: str,
        layout: Layout,
        job: Job,
        sink: str,
        schema: Schema | None,
        *,
        overwrite: bool,
    ) -> None:
        self._place = path
        self._folder = Path(path)
        self._layout = layout
        self._job = job
        self._overwrite = overwrite
        self._schema = schema
        self._ledger = FolderLedger(self._folder / LOG, job, sink, path)
        self._files: PartFiles | None = None
        self._complete: list[Part] = []
        self._is_clean = False
        self._is_stale = False
        self._broken: OutputError | None = None

    def begin(self) -> None:
        """Make the folder where it is not there, and enter the lineage.

        Raises:
            OutputExistsError: If there are rows of somebody else and they may not be replaced.
            OutputError: If a later run stands in the way, or the files before are others.
        """
        with reporting(self._place):
            for folder in (self._folder, self._folder / LOG, self._folder / STAGED):
                folder.mkdir(exist_ok=True)
            sync(self._folder)
            sync(self._folder.parent)
            with self._ledger.locked():
                entry = self._ledger.enter()
                self._check_standing()
                self._delete_replaced()
            self._check_layout()
            is_used = bool(self._visible())
            self._is_stale = is_used and self._replaces()
            if not entry.is_own and not self._overwrite and is_used:
                msg = (
                    "exists already and holds rows that are not of this run; set "
                    "`overwrite: true` to replace them, or choose another name"
                )
                raise OutputExistsError(msg, path=self._place)

    def _check_standing(self) -> None:
        """Refuse to go on with files that another job has replaced."""
        own = self._ledger.own()
        standing = {found["lineage"]: found["job"] for found in _standing(self._folder / LOG)}
        if own and not any(found["lineage"] in standing for found in own):
            by = next(iter(standing.values()))
            msg = (
                f"what this job wrote was replaced by the job `{by}`; start it from scratch, "
                f"with another folder or `overwrite: true`"
            )
            raise OutputError(msg, path=self._place)

    def _check_layout(self) -> None:
        """Refuse files that nobody could read together with those of the epochs before."""
        own = self._ledger.own()
        if not own:
            return
        here = self._described()
        for name, before in ((name, own[-1].get(name)) for name in here):
            if before is not None and before != here[name]:
                msg = (
                    f"its files were written with `{name}: {_plain(before)}`, and files with "
                    f"`{name}: {_plain(here[name])}` cannot be read together with them; put it "
                    f"back, or write all of it again to another folder with `--from-scratch`"
                )
                raise OutputError(msg, path=self._place)

    def _described(self) -> dict[str, Any]:
        return {"partition": list(self._layout.partition), "prices": self._layout.prices}

    def _visible(self) -> list[Path]:
        inside = self._folder.rglob("*.parquet")
        return [path for path in inside if path.is_file() and path.name != EMPTY]

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows.

        Raises:
            OutputError: If they cannot be written.
        """
        with self._writing():
            if not self._is_clean:
                self._clean()
            if self._files is None:
                self._ledger.check_columns(batches[0].schema)
                token = secrets.token_hex(8)
                staged = self._folder / STAGED
                self._files = PartFiles(
                    batches[0].schema, self._layout, lambda n, _: staged / f"{token}-{n}.tmp"
                )
            self._files.write(batches)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Take no rows any more once a file could not be written: some of its rows are gone.

        They are not lost, since the next run reads them again from the last checkpoint.
        """
        if self._broken is not None:
            msg = (
                "a file could not be written before, and nobody knows which of its rows are in "
                "it; mend what is wrong and run it again, it goes on from its last checkpoint "
                f"({self._broken})"
            )
            raise OutputError(msg, path=self._place) from self._broken
        try:
            with reporting(self._place):
                yield
        except OutputError as err:
            self._broken = err
            raise

    def _clean(self) -> None:
        """Delete what processes before this one staged for checkpoints that never were.

        Whatever they staged and is decided is committed before the first row comes.
        """
        for path in (self._folder / STAGED).iterdir():
            path.unlink(missing_ok=True)
        self._is_clean = True

    def stage(self, epoch: int, folder: Path) -> None:
        """Complete the files of the epoch, and list them in its folder.

        Raises:
            OutputError: If it cannot be done. Files that are complete are listed by the next
                call; if one could not be completed no call will do.
        """
        with self._writing():
            if self._files is not None:
                schema = self._files.schema
                self._files.close()
                for part in self._files.parts:
                    sync(part.path)
                self._complete += self._files.parts
                self._files, self._schema = None, schema
                sync(self._folder / STAGED)
        with reporting(self._place):
            if self._complete or (self._is_stale and self._schema is not None):
                self._list(epoch, folder)
        self._complete, self._is_stale = [], False

    def _list(self, epoch: int, folder: Path) -> None:
        lineage = quote(self._job.lineage, safe="")
        parts = []
        for number, part in enumerate(self._complete):
            name = f"part-{lineage}-{epoch:08d}-{number}.parquet"
            path = f"{part.partition}/{name}" if part.partition else name
            told = {"staged": part.path.name, "path": path}
            parts.append({**told, "rows": part.rows, "bytes": part.nbytes})
        listed = folder / _LIST
        columns = [] if self._schema is None else [str(field) for field in self._schema]
        listed.write_text(json.dumps({"parts": parts, "columns": columns}), encoding="utf-8")
        sync(listed)
        sync(folder)

    def commit(self, epoch: int, folder: Path) -> None:
        """Give the files of an epoch their names, and record it.

        Raises:
            OutputError: If it is not known to be done.
        """
        with reporting(self._place), self._ledger.locked():
            if self._ledger.has(epoch):
                return
            try:
                told: dict[str, Any] = json.loads((folder / _LIST).read_text(encoding="utf-8"))
            except ValueError as err:
                msg = f"the list of what was staged cannot be read: {err}"
                raise OutputError(msg, path=str(folder)) from err
            replaces = self._replaces()
            self._show(told["parts"])
            files = [
                {name: part[name] for name in ("path", "rows", "bytes")} for part in told["parts"]
            ]
            rows = sum(part["rows"] for part in files)
            self._ledger.record(
                epoch,
                {
                    "rows": rows,
                    "replaces": replaces,
                    "columns": told["columns"],
                    **self._described(),
                    "files": files,
                },
            )
            if replaces:
                self._delete_replaced()
            (self._folder / EMPTY).unlink(missing_ok=True)

    def _show(self, parts: Sequence[dict[str, Any]]) -> None:
        touched: set[Path] = set()
        for part in parts:
            target = self._folder / part["path"]
            for parent in reversed(target.relative_to(self._folder).parents):
                folder = self._folder / parent
                if not folder.is_dir():
                    folder.mkdir()
                    touched.add(folder.parent)
            move_file(self._folder / STAGED / part["staged"], target, part["bytes"])
            touched.add(target.parent)
        for folder in touched:
            sync(folder)

    def _replaces(self) -> bool:
        return self._overwrite and not self._ledger.own()

    def _delete_replaced(self) -> None:
        """Delete what was there before: nobody who follows the log reads it any more.

        A run that was killed here leaves it to the next one.
        """
        if not any(manifest["replaces"] for manifest in self._ledger.own()):
            return
        known = set(committed_files(self._folder) or ())
        mine = f"part-{quote(self._job.lineage, safe='')}-"
        for path in self._visible():
            if path not in known and not path.name.startswith(mine):
                path.unlink()

    def committed(self) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        return self._ledger.mark()

    def finish(self) -> None:
        """Take away the folder of what is staged, which is empty.

        Raises:
            OutputError: If there are no rows to show, and their columns cannot be shown.
        """
        with reporting(self._place), self._ledger.locked():
            # Readers take a file in the root of a folder with partitions for a mistake.
            if self._schema is not None and not (self._layout.partition or self._visible()):
                self._show_columns(self._schema)
        with suppress(OSError):
            (self._folder / STAGED).rmdir()

    def _show_columns(self, schema: Schema) -> None:
        staged = self._folder / STAGED / f"{secrets.token_hex(8)}-empty.tmp"
        files = PartFiles(schema, self._layout, lambda _, __: staged)
        files.close(at_least_one=True)
        sync(staged)
        staged.replace(self._folder / EMPTY)
        sync(self._folder)

    def discard(self) -> None:
        """Delete what is not staged."""
        parts = [*self._complete]
        if self._files is not None:
            self._files.give_up()
            parts += self._files.parts
            for path in self._files.made:
                path.unlink(missing_ok=True)
        for part in parts:
            part.path.unlink(missing_ok=True)
        self._files, self._complete = None, []

    def close(self) -> None:
        """Delete what is not staged."""
        self.discard()

    def interrupt(self) -> None:
        """Do nothing: what is written to a disk takes as long as it takes."""

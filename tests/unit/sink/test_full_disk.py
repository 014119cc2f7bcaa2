"""Disks that fill up while an output is written."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.dag.epochs import Job
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.csv import CsvSink
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.jsonl import JsonlSink
from market_data_pipeline.sink.parquet import ParquetSink
from support.sink_rows import bars, context, write

_SINKS = pytest.mark.parametrize(
    ("sink", "name"),
    [
        (ParquetSink, "out.parquet"),
        (ParquetSink, "out/"),
        (CsvSink, "out.csv"),
        (CsvSink, "out.csv.gz"),
        (CsvSink, "out.csv.zst"),
        (JsonlSink, "out.jsonl"),
        (DuckDBSink, "out.duckdb"),
    ],
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("only root may mount a small file system")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip("this machine does not let root mount a file system")
    yield tmp_path
    subprocess.run([umount, str(tmp_path)], check=True)


@_SINKS
def test_full_disk_is_an_error_with_a_way_out_and_leaves_nothing(
    small_disk: Path, sink: Any, name: str
) -> None:
    """The error names the output; the half-written draft gives its space back."""
    with pytest.raises(OutputError, match=r"out.*no space is left there; free some"):
        write(sink(f"{small_disk}/{name}"), [bars(20_000, seed=i) for i in range(20)])
    assert list(small_disk.iterdir()) == []


_LIMITED = """
import resource, sys
from support.sink_rows import bars, write
from market_data_pipeline.errors import OutputError
from market_data_pipeline.sink.{module} import {sink}

batches = [bars(20_000, seed=i) for i in range(20)]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    write({sink}(sys.argv[1]), batches)
except OutputError as err:
    print(err)
"""


@_SINKS
def test_limit_on_file_sizes_is_an_error_and_leaves_nothing(
    tmp_path: Path, sink: type, name: str
) -> None:
    """A limit of the account is told like a full disk."""
    code = _LIMITED.format(module=sink.__module__.rsplit(".", maxsplit=1)[-1], sink=sink.__name__)
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, f"{tmp_path}/{name}"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tests)},
    )
    assert "raise the limit on file sizes" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def _ballast(folder: Path) -> Path:
    """Fill a disk up."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return path


def test_epoch_on_a_full_disk_is_not_staged_and_never_staged_without_its_rows(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A checkpoint must not come about with fewer rows because a first try has failed."""
    epochs = tmp_path_factory.mktemp("epochs")

    async def run() -> None:
        given = replace(context(), job=Job("job", "one"))
        writer: Any = await ParquetSink(f"{small_disk}/out/").open(given, BAR)
        await writer.write(bars(100))
        await writer.stage(1, epochs)
        await writer.commit(1, epochs)
        await writer.write(bars(15_000))
        ballast = _ballast(small_disk)
        for epoch in (2, 3):
            with pytest.raises(OutputError):
                await writer.stage(epoch, epochs)
        ballast.unlink()
        with pytest.raises(OutputError, match="could not be written before"):
            await writer.stage(4, epochs)
        await writer.abort()

    asyncio.run(run())
    assert ParquetSink(f"{small_disk}/out/").read().num_rows == 100
    assert not list((small_disk / "out" / "_staged").iterdir())


def test_outbox_on_a_full_disk_keeps_its_rows_for_the_next_epoch(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where the epoch's folder has no room, and later has."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    sink = DuckDBSink(elsewhere / "out.duckdb")

    async def run() -> None:
        writer: Any = await sink.open(replace(context(), job=Job("job", "one")), BAR)
        await writer.write(bars(15_000))
        ballast = _ballast(small_disk)
        with pytest.raises(OutputError, match="no space is left"):
            await writer.stage(1, small_disk)
        ballast.unlink()
        await writer.stage(2, elsewhere)
        await writer.commit(2, elsewhere)
        await writer.finish()

    asyncio.run(run())
    assert sink.read().num_rows == 15_000

"""Disks that fill up while an output is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.errors import OutputError
from market_data_pipeline.sink.csv import CsvSink
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.jsonl import JsonlSink
from market_data_pipeline.sink.parquet import ParquetSink
from support.sink_rows import bars, write

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

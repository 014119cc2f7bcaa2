"""A process that is killed while it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.canonical import canonical_hash
from market_data_pipeline.sink.csv import CsvSink
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.parquet import ParquetSink
from support.sink_rows import bars, write

_HALF_WAY = """
import asyncio, sys
from support.sink_rows import bars, context
from market_data_pipeline.sink.{module} import {sink}

async def run():
    writer = await {sink}(sys.argv[1], overwrite=True).open(context(), None)
    await writer.write(bars(150_000))
    await writer.write(bars(150_000))
    print("half way", flush=True)
    sys.stdin.read()

asyncio.run(run())
"""


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        (ParquetSink, "out.parquet"),
        (ParquetSink, "out/"),
        (CsvSink, "out.csv"),
        (DuckDBSink, "out.duckdb"),
    ],
)
def test_killed_run_leaves_the_old_output_whole(tmp_path: Path, sink: Any, name: str) -> None:
    """What stays behind is hidden, and the next run is not disturbed by it."""
    path = f"{tmp_path}/{name}"
    write(sink(path), [bars(3)])
    before = canonical_hash(sink(path).read())
    code = _HALF_WAY.format(module=sink.__module__.rsplit(".", maxsplit=1)[-1], sink=sink.__name__)
    with subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half way\n"
        process.kill()
    assert canonical_hash(sink(path).read()) == before
    visible = [found.name for found in tmp_path.iterdir() if not found.name.startswith(".")]
    assert visible == [name.rstrip("/")]
    write(sink(path, overwrite=True), [bars(5)])
    assert sink(path).read().num_rows == 5

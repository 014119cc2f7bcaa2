"""Checkpoints over the protocol of S3, to a server on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.objects import Objects
from market_data_pipeline.errors import CheckpointsUnreachableError
from support.crashes import HastyClock
from support.epoch_sink import EpochSink
from support.services import require

_URL = "s3://kept/job"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that speaks S3."""
    code = (
        "from moto.server import ThreadedMotoServer as S; import sys; "
        "s = S(ip_address='127.0.0.1', port=0, verbose=False); s.start(); "
        "print(s.get_host_and_port()[1], flush=True); sys.stdin.read(); s.stop()"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    require(port or None, "there is no server for S3 (moto, flask)")
    yield f"http://127.0.0.1:{port}"
    process.stdin.close()
    process.wait(timeout=20)
    process.stdout.close()


@pytest.fixture(autouse=True)
def _bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    store.mkdir("kept")
    yield
    store.rm("kept", recursive=True)


def test_objects_of_a_bucket() -> None:
    """What is written is read, listed and deleted; what is there is not created again."""
    objects = Objects(_URL)
    assert objects.read("a") is None
    assert objects.sizes() == {}
    objects.create("1/a", b"first")
    with pytest.raises(OSError, match=r"."):
        objects.create("1/a", b"second")
    assert objects._creates
    objects.write("1/b c%20[1]*", b"12")
    assert objects.read("1/a") == b"first"
    assert objects.sizes() == {"1/a": 5, "1/b c%20[1]*": 2}
    objects.delete(["1/a", "1/b c%20[1]*", "not there"])
    objects.drop_folder("1")
    assert objects.sizes() == {}


def test_files_go_there_and_come_back(tmp_path: Path) -> None:
    """Small and large ones, in one call."""
    objects = Objects(_URL)
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "large").write_bytes(os.urandom(12 << 20))
    objects.upload({f"1/{name}": tmp_path / name for name in ("small", "large")})
    assert objects.sizes("1") == {"1/small": 1, "1/large": 12 << 20}
    objects.download({f"1/{name}": tmp_path / f"{name}.back" for name in ("small", "large")})
    assert (tmp_path / "large.back").read_bytes() == (tmp_path / "large").read_bytes()


def _run(path: Path) -> tuple[Any, EpochSink]:
    dag, sink = mdp.Dag("job"), EpochSink(path)
    dag.source(mdp.SyntheticSource(rows=2_000), name="ticks").bars("1s").sink(sink, name="store")
    settings = mdp.Checkpoint(_URL, interval=None)
    return asyncio.run(mdp.run_dag(dag, checkpoint=settings, clock=HastyClock())), sink


def test_a_job_whose_checkpoints_are_in_a_bucket(tmp_path: Path) -> None:
    """It ends, and a run after it knows."""
    first, sink = _run(tmp_path / "out.json")
    rows = sink.rows()
    second, _ = _run(tmp_path / "out.json")
    assert not first.was_complete
    assert second.was_complete
    assert rows
    assert sink.rows() == rows
    assert max(Objects(_URL).sizes()) == "JOB.json"


def test_a_bucket_that_is_not_there_is_told(tmp_path: Path) -> None:
    """It is not made, and no secret is told."""
    dag = mdp.Dag("job")
    dag.source(mdp.SyntheticSource(rows=10)).collect()
    with pytest.raises(CheckpointsUnreachableError, match="s3://nowhere/job") as caught:
        mdp.run(dag, checkpoint=mdp.Checkpoint("s3://nowhere/job"))
    assert "hunter2" not in str(caught.value)


def test_a_run_that_is_killed_goes_on_from_the_bucket(tmp_path: Path) -> None:
    """What its sink had staged comes from there; `mdp checkpoint` takes the address."""
    nodes = {
        "ticks": {"source": "synthetic", "rows": 20_000, "batch_rows": 64},
        "bars": {"operator": "bars", "from": "ticks", "every": "1s"},
        "store": {"sink": "sqlite", "from": "bars", "path": "out.sqlite", "table": "bars"},
    }
    spec = {"name": "job", "checkpoint": {"path": _URL, "interval": "50ms"}, "nodes": nodes}
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(spec))

    def mdp_(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "market_data_pipeline", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    killed = mdp_("run", "pipeline.yaml", MDP_FAILPOINT="remote.decided")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = mdp_("run", "pipeline.yaml", "--json")
    assert again.returncode == 0, again.stderr
    ledger = {node["node"]: node for node in json.loads(again.stdout)["ledger"]}
    with closing(sqlite3.connect(tmp_path / "out.sqlite")) as database:
        (rows,) = database.execute("SELECT count(*) FROM bars").fetchone()
    assert rows == ledger["store"]["out"] > 0
    assert json.loads(mdp_("checkpoint", "verify", _URL, "--json").stdout)["sound"]
    assert mdp_("checkpoint", "show", _URL).stdout.startswith("checkpoint ")
    assert mdp_("checkpoint", "prune", _URL, "--retain", "1").stdout.endswith(" 1 kept\n")
    (listed,) = json.loads(mdp_("checkpoint", "list", _URL, "--json").stdout)["checkpoints"]
    assert listed["state"] == "complete"

"""Objects of a store elsewhere, and what is said of an address that has none."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.objects import Objects
from market_data_pipeline.dag.checkpoints.stores import store_at
from market_data_pipeline.errors import ConfigError, MissingDependencyError
from support.faulty_objects import Plan, begin


class GuardedFileSystem(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A disk with a folder that nobody may look into."""

    protocol = "guarded"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("guarded://"))

    def ls(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if path.endswith("00000002"):
            msg = "not for you"
            raise PermissionError(msg)
        return super().ls(path, *args, **kwargs)


@pytest.fixture(params=["memory", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return Objects(f"{request.param}://{tmp_path}/some job [1]")


def test_what_is_written_is_read_listed_and_deleted(objects: Objects) -> None:
    """Names are those below the address; nothing is not an error."""
    assert objects.read("a") is None
    assert objects.sizes() == {}
    objects.write("a", b"1")
    objects.write("a", b"12")
    objects.write("00000001/b [*]?", b"123")
    assert objects.read("a") == b"12"
    assert objects.sizes() == {"a": 2, "00000001/b [*]?": 3}
    assert objects.sizes("00000001") == {"00000001/b [*]?": 3}
    objects.delete(["a", "00000001/b [*]?", "not there"])
    objects.drop_folder("00000001")
    objects.drop_folder("00000002")
    assert objects.sizes() == {}


def test_what_is_there_is_not_created_again(objects: Objects) -> None:
    """The first one stays."""
    objects.create("00000001/a", b"first")
    with pytest.raises(FileExistsError):
        objects.create("00000001/a", b"second")
    assert objects.read("00000001/a") == b"first"


def test_files_go_there_and_come_back(objects: Objects, tmp_path: Path) -> None:
    """Several in one call, whatever their names."""
    paths = [tmp_path / name for name in ("a", "b%20 c", "d[1]*")]
    for path in paths:
        path.write_bytes(path.name.encode())
    objects.upload({f"1/{path.name}": path for path in paths})
    back = {f"1/{path.name}": tmp_path / f"{path.name}.back" for path in paths}
    objects.download(back)
    assert [path.read_bytes() for path in back.values()] == [p.name.encode() for p in paths]


def test_a_listing_that_is_not_whole_is_an_error(tmp_path: Path) -> None:
    """A folder that cannot be read would be taken for one without checkpoints."""
    for epoch in ("00000001", "00000002"):
        (tmp_path / "job" / epoch).mkdir(parents=True)
        (tmp_path / "job" / epoch / "a").write_bytes(b"")
    fsspec.register_implementation("guarded", GuardedFileSystem, clobber=True)
    with pytest.raises(OSError, match="not for you"):
        Objects(f"guarded://{tmp_path}/job").sizes()


def test_errors_tell_no_secret() -> None:
    """What a driver says is cleaned before anybody reads it."""

    class Told(Plan):
        def call(self, name: str) -> Any:
            msg = "no answer from https://me:hunter2@host/?X-Amz-Signature=abcdef"
            raise OSError(msg)

    begin(Told())
    with pytest.raises(OSError, match="no answer from") as caught:
        Objects("faulty://bucket/job").read("a")
    assert "hunter2" not in str(caught.value)
    assert "abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "s3://me:secret@host/job",
        "sftp://:secret@host/job",
        "https://[secret:x@y",
        "zip://a::s3://b/c",
    ],
)
def test_an_address_with_a_secret_or_two_stores_is_refused(path: str) -> None:
    """The message does not repeat the secret."""
    with pytest.raises(ConfigError, match="`path` of `checkpoint` must") as caught:
        mdp.Checkpoint(path)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError):
        store_at(path)


@pytest.mark.parametrize("path", ["s3://", "s3:///", "://x", "1s://x"])
def test_an_address_of_nothing_is_refused(path: str) -> None:
    """There must be a kind of store and a place in it."""
    with pytest.raises(ConfigError, match="must be a folder or one address"):
        mdp.Checkpoint(path)


def test_an_address_that_became_a_path_is_refused() -> None:
    """`pathlib` makes one slash of two, and a folder `s3:` would be made."""
    with pytest.raises(ConfigError, match="must be text to be an address"):
        mdp.Checkpoint(Path("s3://bucket/job"))  # type: ignore[arg-type]


def test_a_store_that_nobody_knows_is_refused_at_first_use() -> None:
    """The settings may be made where no driver is."""
    mdp.Checkpoint("nobody://bucket/job")
    with pytest.raises(ConfigError, match="there is no driver for `nobody://`"):
        store_at("nobody://bucket/job")


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is what to install."""
    monkeypatch.setitem(sys.modules, "ossfs", None)
    with pytest.raises(ConfigError, match=r"`oss://` needs a driver .*`pip install ossfs`"):
        store_at("oss://bucket/job")


def test_the_extra_is_named_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fsspec there are folders only."""
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "fsspec":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match=r"market-data-pipeline\[remote\]"):
        store_at("memory://bucket/job")

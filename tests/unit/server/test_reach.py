"""What a pipeline that comes over HTTP may touch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.errors import SpecError
from market_data_pipeline.server.reach import check_reach, files_of
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.yaml_text import parse_yaml

CLOSED = ServerSettings()


def graph(**nodes: Any) -> dict[str, Any]:
    return {"name": "x", "nodes": nodes}


def look(pipeline: dict[str, Any], settings: ServerSettings = CLOSED) -> None:
    check_reach(parse_yaml(json.dumps(pipeline), "pipeline"), settings)


def refused(pipeline: dict[str, Any], settings: ServerSettings = CLOSED) -> str:
    with pytest.raises(SpecError) as caught:
        look(pipeline, settings)
    return str(caught.value)


def test_pipeline_without_files_is_taken() -> None:
    """Synthetic data into memory touches nothing."""
    look(graph(t={"source": "synthetic"}, b={"operator": "bars"}, s={"sink": "memory"}))
    look({"tenant_id": "a", "pipeline_id": "b", "source": "synthetic"})


@pytest.mark.parametrize(
    "node",
    [
        {"source": "replay", "path": "/etc/passwd"},
        {"source": "replay", "path": ["a.csv", "/etc/*"]},
        {"source": "replay", "path": "x.csv", "states": "/etc/passwd"},
        {"source": "chaos", "of": {"source": "replay", "path": "/etc/passwd"}},
        {"operator": "conditions", "table": "/etc/codes.csv"},
        {"operator": "conditions", "table": "codes.csv"},
        {"sink": "parquet", "path": "/var/out.parquet"},
        {"sink": "duckdb", "path": "out.duckdb"},
        {"sink": "csv", "path": 7},
        {"sink": "jsonl", "path": {"x": 1}},
        {"sink": "dead_letters", "path": "letters/"},
        {"source": "journal", "path": "/var/journal", "of": {"source": "synthetic"}},
    ],
)
def test_file_is_refused_without_a_root(node: dict[str, Any]) -> None:
    """Nobody said that a pipeline from elsewhere may read or write any file."""
    assert "n" in refused(graph(n=node))


@pytest.mark.parametrize("table", ["us_equity", {"@": "all"}])
def test_table_that_is_no_file_is_taken(table: Any) -> None:
    """A built-in table, or one that is written out, is no file."""
    look(graph(c={"operator": "conditions", "table": table}))


def test_only_files_below_a_root_are_taken(tmp_path: Path) -> None:
    """Below a root all is well; links, dots and patterns do not lead out of it."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "deep").mkdir(parents=True)
    outside.mkdir()
    (root / "in.csv").write_text("x")
    (outside / "secret.csv").write_text("x")
    (root / "link.csv").symlink_to(outside / "secret.csv")
    (root / "folder").symlink_to(outside)
    (root / "wild").mkdir()
    (root / "wild" / "link.csv").symlink_to(outside / "secret.csv")
    settings = ServerSettings(data_roots=(root,))
    for path in ("in.csv", "deep/new.csv", "deep/*.csv", "nothing/*.csv", "*n.csv"):
        look(graph(t={"source": "replay", "path": f"{root}/{path}"}), settings)
    for path in (
        f"{root}/../outside/secret.csv",
        f"{root}/deep/../../outside/secret.csv",
        f"{root}/link.csv",
        f"{root}/folder/secret.csv",
        f"{root}/folder/*.csv",
        f"{root}/wild/*.csv",
        f"{root}/*/*.csv",
        f"{root}x/in.csv",
        f"{outside}/secret.csv",
        f"{root}/in.csv\0.csv",
        "~/secret.csv",
        "~root/secret.csv",
        f"file://{root}/in.csv",
        "*",
        "/**",
        "",
        "/proc/self/environ",
        "/dev/stdin",
    ):
        refused(graph(t={"source": "replay", "path": path}), settings)
        refused(graph(t={"sink": "csv", "path": path}), settings)
        refused({"tenant_id": "a", "overrides": {"replay_path": path}}, settings)


def test_component_that_is_not_listed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has said what a component of somebody else touches."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "plugin"))
    assert "toy_feed" in registry.names("source")
    assert "mdp serve FILE" in refused(graph(n={"source": "toy_feed"}))


@pytest.mark.parametrize(
    "target",
    [
        "postgresql://u:p@db.internal/x",
        "postgresql://u:p@db.example:5432,db.internal:5432/x",
        "postgresql://db.example:5432/x?host=/var/run",
        "postgresql://db.example:5432/x?passfile=/etc/passwd",
        "host=db.example port=5432",
        "service=prod",
        "${env:DATABASE_URL}",
        "mysql://db.example:5432/x",
        "postgresql:///x",
        "postgresql://%2Ftmp/x",
        "",
        7,
    ],
)
def test_server_that_was_not_allowed_is_refused(target: Any) -> None:
    """A pipeline from elsewhere cannot make this process call any server it likes."""
    settings = ServerSettings(targets=("db.example:5432",))
    refused(graph(s={"sink": "postgres", "dsn": target}), settings)
    refused({"tenant_id": "a", "overrides": {"database_url": target}}, settings)


@pytest.mark.parametrize(
    "target", ["postgresql://u:p@db.example/x", "postgres://db.example:5432/x?sslmode=require"]
)
def test_server_that_was_allowed_is_taken(target: str) -> None:
    """The declared database may be named."""
    settings = ServerSettings(targets=("db.example:5432",))
    look(graph(s={"sink": "postgres", "dsn": target}), settings)


def test_refusal_does_not_repeat_a_secret() -> None:
    """An address with a password is not sent back."""
    said = refused(graph(s={"sink": "postgres", "dsn": "postgresql://u:c4nary@db/x"}))
    assert "c4nary" not in said.splitlines()[0]


@pytest.mark.parametrize("kind", registry.KINDS)
def test_no_component_that_may_be_used_has_a_file_that_is_not_looked_at(
    kind: registry.Kind,
) -> None:
    """A setting that is a path by type or name is on the list, for every component listed."""
    for name in registry.built_in(kind):
        listed = files_of(kind, name)
        if listed is None:
            continue
        for field in dataclasses.fields(registry.find(kind, name)):
            looks_like_one = "Path" in str(field.type) or field.name in {
                "path",
                "file",
                "folder",
                "dir",
                "directory",
                "truth",
                "url",
                "journal",
            }
            assert not looks_like_one or field.name in listed, f"{kind} {name}: {field.name}"

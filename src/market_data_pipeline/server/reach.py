"""What a pipeline given over HTTP may touch: files below the data roots, declared targets.

A pipeline file on the server's disk was put there by someone who may write files there. A
pipeline that comes over HTTP was not, so it is looked at before anything is made of it. A
component that is not listed here is refused: nobody has said what it touches.
"""

from __future__ import annotations

__all__ = ("check_reach", "files_of")

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Final
from urllib.parse import urlsplit

from market_data_pipeline.errors import Problem, SpecError
from market_data_pipeline.operator.condition_tables import TABLES
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.spec.excerpts import shown
from market_data_pipeline.spec.registry import KINDS, Kind, names
from market_data_pipeline.spec.yaml_text import Value

_NOTHING: Final[tuple[str, ...]] = ()
_FILES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("source", "replay"): ("path", "states"),
    ("source", "synthetic"): _NOTHING,
    ("source", "chaos"): _NOTHING,
    ("source", "memory"): _NOTHING,
    ("source", "journal"): ("path",),
    ("source", "dead_letters"): ("path",),
    **{
        ("operator", name): _NOTHING
        for name in (
            "asof_join",
            "assign",
            "bars",
            "batch",
            "clock_skew",
            "dedupe",
            "filter",
            "interval_join",
            "map",
            "options_chain",
            "quality",
            "router",
            "select",
            "sequence",
            "sessions",
            "throttle",
            "trades_with_quotes",
            "union",
            "windows",
        )
    },
    ("operator", "conditions"): ("table",),
    ("sink", "memory"): _NOTHING,
    **{("sink", name): ("path",) for name in ("csv", "duckdb", "jsonl", "parquet")},
    ("sink", "dead_letters"): ("path",),
    ("sink", "postgres"): _NOTHING,
    ("sink", "market_data_store"): _NOTHING,
}
"""Settings that name files, by component."""
_TARGETS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("sink", "postgres"): ("dsn",),
    ("sink", "market_data_store"): ("dsn",),
}
"""Settings that name a database or a broker, by component."""
_OVERRIDE_FILES: Final = ("replay_path",)
_OVERRIDE_TARGETS: Final = ("database_url", "kafka_bootstrap")
_URL_SETTINGS: Final = frozenset({"sslmode", "application_name", "connect_timeout"})
_MATCHES_MAX: Final = 10_000


def check_reach(root: Value, settings: ServerSettings) -> None:
    """Do nothing if a pipeline names only what it may.

    Args:
        root: The pipeline: a graph or a version 0.8 spec.
        settings: What it may name.

    Raises:
        SpecError: If it names anything else.
    """
    problems = list(_problems(root, settings))
    if problems:
        raise SpecError(problems[:20], further=len(problems[20:]))


def files_of(kind: str, name: str) -> tuple[str, ...] | None:
    """Return the settings of a component that name files; None if it may not be used."""
    return _FILES.get((kind, name))


def _problems(root: Value, settings: ServerSettings) -> Iterator[Problem]:
    if not isinstance(root.content, dict):
        return
    if "nodes" in root.content:
        for value in root.content.values():
            yield from _of_nodes(value, settings)
        checkpoint = root.content.get("checkpoint")
        if checkpoint is not None:
            folder = checkpoint
            if isinstance(checkpoint.content, dict):
                folder = checkpoint.content.get("path", checkpoint)
            yield from _of_files(folder, settings)
        return
    overrides = root.content.get("overrides")
    for part in (root, overrides):
        if part is not None and isinstance(part.content, dict):
            for name, value in part.content.items():
                if name in _OVERRIDE_FILES:
                    yield from _of_files(value, settings)
                elif name in _OVERRIDE_TARGETS:
                    yield from _of_target(value, settings)
                elif name in {"database_settings", "database_processor"}:
                    yield value.problem(f"`{name}` cannot be given over HTTP")


def _of_nodes(value: Value, settings: ServerSettings) -> Iterator[Problem]:
    """Look at a value and all that is in it; sources may hold sources."""
    if isinstance(value.content, list):
        for item in value.content:
            yield from _of_nodes(item, settings)
    if not isinstance(value.content, dict):
        return
    for kind in KINDS:
        name = value.content.get(kind)
        if name is not None and isinstance(name.content, str):
            yield from _of_component(kind, name, value.content, settings)
    for item in value.content.values():
        yield from _of_nodes(item, settings)


def _of_component(
    kind: Kind, name: Value, entries: Mapping[str, Value], settings: ServerSettings
) -> Iterator[Problem]:
    what = (kind, str(name.content))
    if what[1] not in names(kind):
        return  # whoever makes the graph says so, with a hint
    if what not in _FILES:
        msg = (
            f"the {kind} `{shown(what[1])}` cannot be used over HTTP; "
            "start it from a file, as `mdp serve FILE`"
        )
        yield name.problem(msg)
        return
    for setting in _FILES[what]:
        if setting in entries and not _is_table(what, entries[setting]):
            yield from _of_files(entries[setting], settings)
    for setting in _TARGETS.get(what, ()):
        if setting in entries:
            yield from _of_target(entries[setting], settings)


def _is_table(what: tuple[str, str], value: Value) -> bool:
    """Tell whether a setting that may be a file is none: a table by name, or written out."""
    return what == ("operator", "conditions") and (
        isinstance(value.content, dict) or value.content in TABLES
    )


def _of_files(value: Value, settings: ServerSettings) -> Iterator[Problem]:
    items = value.content if isinstance(value.content, list) else [value]
    for item in items:
        if item.content is None:
            continue
        if not isinstance(item.content, str):
            yield item.problem("expected a path, as text")
        elif not settings.data_roots:
            yield item.problem(
                "a pipeline given over HTTP may name no files; "
                "allow a folder with `--data-root FOLDER`"
            )
        elif not _is_within(item.content, settings.data_roots):
            yield item.problem(
                f"`{shown(item.content)}` does not lie below a folder given as `--data-root`"
            )


def _is_within(path: str, roots: Iterable[Path]) -> bool:
    """Tell whether a path or pattern, with links followed, stays below one of the folders."""
    if "\0" in path or "://" in path or path.startswith("~"):
        return False
    if ".." in PurePath(path).parts:
        return False
    real_roots = [os.path.realpath(root) for root in roots]
    paths = [path]
    if glob.has_magic(path):
        paths = []
        fixed = PurePath(path)
        while glob.has_magic(str(fixed)):
            fixed = fixed.parent
        if not _is_below(str(fixed), real_roots):
            return False
        for number, match in enumerate(glob.iglob(path, recursive=True)):  # noqa: PTH207
            if number >= _MATCHES_MAX:
                return False
            paths.append(match)
    return all(_is_below(found, real_roots) for found in paths)


def _is_below(path: str, real_roots: Iterable[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in real_roots)


def _of_target(value: Value, settings: ServerSettings) -> Iterator[Problem]:
    if value.content is None:
        return
    if not isinstance(value.content, str):
        yield value.problem("expected the address of a server, as text")
        return
    named = _targets_in(value.content)
    if named is None:
        yield value.problem(
            "over HTTP a server is named as `postgresql://user@host:port/database` or as "
            "`host:port`, without further parameters"
        )
    elif not named <= set(settings.targets):
        yield value.problem(
            "a pipeline given over HTTP may name only the servers given as `--allow-target "
            "HOST:PORT`; without one the server's own settings apply"
        )


def _targets_in(text: str) -> set[str] | None:
    """Return the servers a text names as `host:port`; None if it may name more."""
    rest, port = text, ""
    if "://" in text:
        try:
            parts = urlsplit(text)
        except ValueError:
            return None
        names = {pair.partition("=")[0] for pair in parts.query.split("&") if pair}
        if parts.scheme not in {"postgresql", "postgres"} or names - _URL_SETTINGS:
            return None
        rest, port = parts.netloc.rpartition("@")[2], ":5432"
    if not rest or any(sign in rest for sign in "=/%\\ \0"):
        return None
    hosts = [host.strip() for host in rest.split(",")]
    return {host if ":" in host else f"{host}{port}" for host in hosts}

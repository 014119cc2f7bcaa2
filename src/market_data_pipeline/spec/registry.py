"""Components by kind and name: the built-in ones and those of installed packages.

A name in a spec resolves here and nowhere else. Packages add components by an entry point
in `market_data_pipeline.sources`, `.operators` or `.sinks`, named as the component's own
`type_name`; a built-in name cannot be taken over. Nothing is imported before it is asked
for.
"""

from __future__ import annotations

__all__ = ("KINDS", "Kind", "built_in", "find", "kind_of", "names", "package_of")

import contextlib
import dataclasses
import functools
import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.spec.excerpts import shown

Kind: TypeAlias = Literal["source", "operator", "sink"]

KINDS: Final[tuple[Kind, ...]] = ("source", "operator", "sink")

_Table: TypeAlias = Mapping[Kind, Mapping[str, tuple[str, str]]]

_PACKAGE: Final = "market_data_pipeline"
_BUILT_IN: Final[_Table] = MappingProxyType(
    {
        "source": {
            "chaos": ("source.chaos", "ChaosSource"),
            "dead_letters": ("source.dead_letters", "DeadLetterSource"),
            "journal": ("source.journal", "JournalSource"),
            "failover": ("source.failover", "FailoverSource"),
            "memory": ("source.memory", "MemorySource"),
            "provider": ("adapters.provider_source", "ProviderSource"),
            "replay": ("source.replay", "ReplaySource"),
            "synthetic": ("source.synthetic", "SyntheticSource"),
        },
        "operator": {
            "asof_join": ("operator.asof_join", "AsofJoin"),
            "assign": ("operator.assign", "Assign"),
            "bars": ("operator.bars", "Bars"),
            "batch": ("batcher.batch", "BatchRows"),
            "clock_skew": ("operator.clock_skew", "ClockSkew"),
            "conditions": ("operator.conditions", "Conditions"),
            "dedupe": ("operator.dedupe", "Dedupe"),
            "filter": ("operator.filter", "Filter"),
            "interval_join": ("operator.interval_join", "IntervalJoin"),
            "map": ("operator.map", "Map"),
            "options_chain": ("operator.options", "OptionsChain"),
            "quality": ("operator.quality", "Quality"),
            "router": ("operator.router", "Router"),
            "select": ("operator.select", "Select"),
            "sessions": ("operator.sessions", "TradingSessions"),
            "sequence": ("operator.sequence", "SequenceTracker"),
            "throttle": ("operator.throttle", "Throttle"),
            "trades_with_quotes": ("operator.trades_with_quotes", "TradesWithQuotes"),
            "union": ("operator.union", "Union"),
            "windows": ("operator.windows", "Windows"),
        },
        "sink": {
            "csv": ("sink.csv", "CsvSink"),
            "dead_letters": ("sink.dead_letters", "DeadLetterSink"),
            "duckdb": ("sink.duckdb", "DuckDBSink"),
            "jsonl": ("sink.jsonl", "JsonlSink"),
            "market_data_store": ("adapters.bars_store", "BarsStoreSink"),
            "memory": ("sink.memory", "MemorySink"),
            "parquet": ("sink.parquet", "ParquetSink"),
            "postgres": ("sink.postgres", "PostgresSink"),
            "sqlite": ("sink.sqlite", "SqliteSink"),
        },
    }
)


def find(kind: Kind, name: str) -> type[Any]:
    """Return the class of a component.

    Args:
        kind: `source`, `operator` or `sink`.
        name: The word for it in YAML.

    Raises:
        ConfigError: If there is none of this name, or an installed package's component
            cannot be loaded.
    """
    built_in = _BUILT_IN[kind].get(name)
    if built_in is not None:
        module, attribute = built_in
        cls: type[Any] = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), attribute)
        return cls
    installed = _installed(kind).get(name, [])
    if not installed:
        raise ConfigError(_unknown(kind, name), parameter=kind)
    if len(installed) > 1:
        packages = " and ".join(f"`{_package_of(entry)}`" for entry in installed)
        msg = f"the {kind} `{name}` comes from two packages, {packages}; uninstall one"
        raise ConfigError(msg, parameter=kind)
    return _load(kind, installed[0])


def built_in(kind: Kind) -> list[str]:
    """Return the names of the built-in components of a kind, in order."""
    return sorted(_BUILT_IN[kind])


def names(kind: Kind) -> list[str]:
    """Return the names of all components of a kind, in order; imports none of them."""
    return sorted({*_BUILT_IN[kind], *_installed(kind)})


def package_of(kind: Kind, name: str) -> str:
    """Return the name of the package a component comes from."""
    installed = _installed(kind).get(name, [])
    if name in _BUILT_IN[kind] or not installed:
        return _PACKAGE
    return _package_of(installed[0])


def kind_of(component: object) -> Kind:
    """Return the kind under which exactly this component's class is registered.

    Raises:
        ConfigError: If it is not registered.
    """
    name = type_name_of(component)
    for kind in KINDS:
        if name not in names(kind):
            continue
        # Another package's broken component of the same name must not stand in the way.
        with contextlib.suppress(ConfigError):
            if find(kind, name) is type(component):
                return kind
    msg = (
        f"`{type(component).__qualname__}` is not registered; only built-in components and "
        f"those of installed packages have a name in YAML"
    )
    raise ConfigError(msg)


def _unknown(kind: Kind, name: str) -> str:
    for other in KINDS:
        if other != kind and name in names(other):
            return f"there is no {kind} `{name}`; it is {_an(other)}: write `{other}: {name}`"
    known = names(kind)
    listed = ", ".join(f"`{word}`" for word in known)
    return f"there is no {kind} `{shown(name)}`{nearest(name, known)} ({kind}s: {listed})"


def _an(kind: Kind) -> str:
    return f"an {kind}" if kind == "operator" else f"a {kind}"


def _installed(kind: Kind) -> dict[str, list[EntryPoint]]:
    return _entries(kind, tuple(sys.path))


@functools.cache
def _entries(kind: Kind, _path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Return entry points by name; looking through all packages takes milliseconds."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=f"{_PACKAGE}.{kind}s"):
        found.setdefault(entry.name, []).append(entry)
    return found


def _package_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def _load(kind: Kind, entry: EntryPoint) -> type[Any]:
    package = _package_of(entry)
    try:
        cls = entry.load()
    except (ImportError, AttributeError) as err:
        msg = f"the {kind} `{entry.name}` of the package `{package}` cannot be loaded: {err}"
        raise ConfigError(msg, parameter=kind) from err
    if (
        not isinstance(cls, type)
        or not dataclasses.is_dataclass(cls)
        or getattr(cls, "type_name", None) != entry.name
    ):
        msg = (
            f"the package `{package}` offers `{entry.value}` as the {kind} `{entry.name}`, "
            f"but it is no class made with `@component({entry.name!r})`"
        )
        raise ConfigError(msg, parameter=kind)
    return cls

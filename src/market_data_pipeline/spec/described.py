"""What a component says of itself: summary and settings, for lists, docs and the schema."""

from __future__ import annotations

__all__ = (
    "ComponentInfo",
    "Setting",
    "describe",
    "describe_all",
    "fields_of",
    "settings_from_docstring",
)

import collections.abc
import dataclasses
import inspect
import re
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from market_data_pipeline.dag.component import default_of
from market_data_pipeline.dag.nodes import SourceNode
from market_data_pipeline.dag.secret import Secret
from market_data_pipeline.durations import Duration, SignedDuration
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.component_schema import component_schema
from market_data_pipeline.spec.registry import Kind

_SECTION: Final = re.compile(r"(\w[\w ]*):")
_ENTRY: Final = re.compile(r"(\w+)(?: \([^)]*\))?: ?(.*)")
_DURATIONS: Final = tuple(typing.get_args(hint)[1] for hint in (Duration, SignedDuration))
_WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    Secret: "text",
    type(None): "null",
    Any: "anything",
    object: "anything",
    SourceNode: "source",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a component.

    Attributes:
        name: Its name, in YAML and in Python.
        type: What it may be, in words.
        default: The default as it is written in YAML or Python; empty if it must be given.
        required: True if it must be given.
        description: What it does; empty if its author did not say.
        in_yaml: False if it can only be given in Python.
    """

    name: str
    type: str
    default: str
    required: bool
    description: str
    in_yaml: bool


@dataclass(frozen=True, slots=True)
class ComponentInfo:
    """What is told of a component.

    Attributes:
        kind: `source`, `operator` or `sink`.
        name: The word for it in YAML.
        summary: One line.
        settings: Its settings, in order.
        package: The package it comes from.
        problem: Why it cannot be used here; empty if it can.
    """

    kind: Kind
    name: str
    summary: str
    settings: tuple[Setting, ...]
    package: str
    problem: str = ""

    @property
    def in_yaml(self) -> bool:
        """True if it can stand in a pipeline file: no setting it needs is a Python object."""
        return all(setting.in_yaml for setting in self.settings if setting.required)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self) | {"in_yaml": self.in_yaml}


def describe(kind: Kind, name: str) -> ComponentInfo:
    """Return what a component says of itself.

    Raises:
        ConfigError: If there is no such component, or it cannot be loaded.
    """
    cls = registry.find(kind, name)
    doc = inspect.getdoc(cls) or ""
    summary = doc.partition("\n")[0]
    return ComponentInfo(kind, name, summary, _settings(cls, doc), registry.package_of(kind, name))


def describe_all(kind: Kind) -> list[ComponentInfo]:
    """Return all components of a kind; one that cannot be loaded tells why."""
    found = []
    for name in registry.names(kind):
        try:
            found.append(describe(kind, name))
        except ConfigError as err:
            package = registry.package_of(kind, name)
            found.append(ComponentInfo(kind, name, "", (), package, str(err)))
    return found


def settings_from_docstring(doc: str) -> dict[str, str]:
    """Return the descriptions in the `Attributes:` section of a docstring, by name."""
    found: dict[str, str] = {}
    inside, current = False, ""
    for line in inspect.cleandoc(doc).splitlines():
        if line and not line.startswith(" "):
            match = _SECTION.fullmatch(line)
            inside, current = bool(match) and line == "Attributes:", ""
        elif inside and line.startswith("    ") and not line.startswith("     "):
            entry = _ENTRY.fullmatch(line.strip())
            if entry:
                current = entry.group(1)
                found[current] = entry.group(2)
        elif inside and current and line.strip():
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found


def _settings(cls: type[Any], doc: str) -> tuple[Setting, ...]:
    descriptions = settings_from_docstring(doc)
    in_yaml = component_schema(cls).get("properties", {})
    hints = typing.get_type_hints(cls, include_extras=True)
    settings = []
    for field in fields_of(cls).values():
        default = default_of(field)
        required = default is dataclasses.MISSING
        hint = hints[field.name]
        settings.append(
            Setting(
                field.name,
                type_in_words(hint),
                "" if required else _default_text(default),
                required,
                descriptions.get(field.name, ""),
                field.name in in_yaml,
            )
        )
    return tuple(settings)


def fields_of(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """Return the settings of a component's class by name, in order."""
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def _default_text(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if isinstance(default, tuple):
        default = list(default)
    return str(default)


def type_in_words(hint: Any) -> str:
    """Return what a setting of this type may be, as a user reads it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        if any(duration in args for duration in _DURATIONS):
            return "duration"
        return type_in_words(args[0])
    if origin is typing.Literal:
        return " | ".join(str(arg) for arg in args)
    if origin in {typing.Union, types.UnionType}:
        return " | ".join(dict.fromkeys(type_in_words(arg) for arg in args))
    if origin is tuple and args and args[-1] is not Ellipsis:
        return "list of " + ", ".join(type_in_words(arg) for arg in args)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        if args[1] is Any:
            return "mapping"
        return f"mapping of {type_in_words(args[0])} to {type_in_words(args[1])}"
    if _is_function(hint, origin):
        return "Python function"
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        return f"list of {type_in_words(args[0])}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _is_function(hint: Any, origin: Any) -> bool:
    return collections.abc.Callable in (hint, origin) or hint is typing.Callable

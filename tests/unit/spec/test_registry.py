"""Components by name."""

from __future__ import annotations

import dataclasses

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.described import describe, describe_all, settings_from_docstring
from market_data_pipeline.spec.node_entry import RESERVED
from market_data_pipeline.spec.registry import KINDS, Kind

BUILT_IN: list[tuple[Kind, str]] = [(k, n) for k in KINDS for n in registry.built_in(k)]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_every_built_in_component_is_there_and_described(kind: Kind, name: str) -> None:
    """Its class bears its name, is of its kind and tells what each setting does."""
    cls = registry.find(kind, name)
    assert cls.type_name == name
    members = {"source": ["open", "schema"], "operator": ["build"], "sink": ["open", "check"]}
    assert all(callable(getattr(cls, member)) for member in members[kind])
    info = describe(kind, name)
    assert info.summary.endswith(".")
    assert not info.problem
    assert [s.name for s in info.settings if not s.description] == []
    assert not {s.name for s in info.settings} & set(RESERVED)


def test_an_unknown_name_gets_the_nearest() -> None:
    """The list of all names follows."""
    with pytest.raises(ConfigError, match="did you mean `parquet`") as caught:
        registry.find("sink", "parqet")
    assert "`jsonl`" in str(caught.value)


def test_a_name_of_another_kind_is_told_as_such() -> None:
    """`source: bars` is a common slip."""
    with pytest.raises(ConfigError, match="it is an operator: write `operator: bars`"):
        registry.find("source", "bars")


@pytest.mark.parametrize("name", ["os.system", "builtins:eval", "../x", "", "a" * 100_000, "\x1b"])
def test_nothing_but_registered_names_resolves(name: str) -> None:
    """A dotted path is a name that is not there; the message stays short and printable."""
    with pytest.raises(ConfigError) as caught:
        registry.find("operator", name)
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


def test_installed_packages_bring_components() -> None:
    """By entry points of the group of their kind."""
    cls = registry.find("source", "toy_feed")
    assert cls(path="x").path == "x"
    assert registry.kind_of(cls(path="x")) == "source"
    assert describe("source", "toy_feed").package == "mdp-toy"
    assert "toy_feed" in registry.names("source")


def test_an_installed_package_cannot_take_a_built_in_name() -> None:
    """The toys offer a sink `duckdb`; the name keeps its meaning."""
    assert registry.package_of("sink", "duckdb") == "market_data_pipeline"
    assert describe("sink", "duckdb").package == "market_data_pipeline"


def test_an_entry_point_that_fails_names_its_package() -> None:
    """The list of components goes on without it and says why."""
    with pytest.raises(ConfigError, match="`toy_broken` of the package `mdp-toy` cannot"):
        registry.find("source", "toy_broken")
    with pytest.raises(ConfigError, match="no class made with `@component\\('toy_plain'\\)`"):
        registry.find("source", "toy_plain")
    listed = {info.name: info for info in describe_all("source")}
    assert "cannot be loaded" in listed["toy_broken"].problem
    assert not listed["toy_feed"].problem


def test_a_class_that_is_not_registered_has_no_kind() -> None:
    """Nor has a subclass of a registered one under its name."""
    toy = registry.find("sink", "toy_store")

    @dataclasses.dataclass(frozen=True)
    class Mine(toy):  # type: ignore[misc, valid-type]
        """Mine."""

    with pytest.raises(ConfigError, match="Mine` is not registered"):
        registry.kind_of(Mine(path="x"))
    with pytest.raises(ConfigError, match="is not registered"):
        registry.kind_of(object())


def test_settings_tell_name_type_default_and_description() -> None:
    """What `mdp list` and the reference show."""
    settings = {s.name: s for s in describe("source", "toy_feed").settings}
    assert settings["path"].required
    assert settings["path"].type == "text"
    assert settings["speed"].type == "number | max"
    assert settings["speed"].description.endswith("recorded speed, or `max`.")
    assert (settings["out_of_order"].type, settings["out_of_order"].default) == ("duration", "0s")
    assert settings["columns"].type == "mapping of text to text | null"
    assert (settings["strict"].type, settings["strict"].default) == ("true or false", "false")


def test_a_setting_that_only_python_can_give_is_told() -> None:
    """A function cannot be written in YAML; a function or an expression can."""
    assert not describe("operator", "toy_call").in_yaml
    assert describe("operator", "toy_where").in_yaml
    (where,) = describe("operator", "toy_where").settings
    assert where.type == "text | Python function"


def test_the_attributes_section_is_read_up_to_the_next() -> None:
    """Entries go on over lines that are indented further."""
    doc = """Do it.

    Attributes:
        a: One
            and more.

            Still one.
        b (int): Two.

    Raises:
        c: Not a setting.
    """
    assert settings_from_docstring(doc) == {"a": "One and more. Still one.", "b": "Two."}

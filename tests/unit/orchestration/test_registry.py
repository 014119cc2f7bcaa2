from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration import registry as home
from market_data_pipeline.orchestration.registry import SourceRegistry
from market_data_pipeline.source.memory import MemorySource


def test_built_in_sources_are_known_by_their_names() -> None:
    """An empty registry loads what a pipeline file can name."""
    registry = SourceRegistry()
    assert registry.list_sources() == []
    assert registry.load("synthetic").__name__ == "SyntheticSource"
    with pytest.raises(ImportError, match="there is no source `synthetc`; did you mean"):
        registry.load("synthetc")


def test_own_registration_comes_first() -> None:
    """A name that is registered gives back the same object, also a built-in name."""

    class Mine:
        pass

    registry = SourceRegistry()
    registry.register("synthetic", Mine)
    registry.register("mine", Mine)
    assert registry.load("synthetic") is registry.load("mine") is Mine
    assert registry.list_sources() == ["mine", "synthetic"]
    for name, cls in (("", Mine), ("x", None)):
        with pytest.raises(ConfigError, match="a source needs a name and a class"):
            registry.register(name, cls)


def test_packages_are_discovered_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken package hurts when it is loaded, not when it is found."""
    group = "market_data.providers"
    where = "market_data_pipeline.source.memory"
    found = [
        EntryPoint("good", f"{where}:MemorySource", group),
        EntryPoint("moved", f"{where}:NoSuchSource", group),
        EntryPoint("gone", "no_such_package:Source", group),
    ]
    monkeypatch.setattr(home, "entry_points", lambda group: found)
    registry = SourceRegistry()
    assert registry.discover_entrypoints() == ["gone", "good", "moved"]
    assert registry.discover_entrypoints() == []
    assert registry.load("good") is MemorySource
    with pytest.raises(ImportError, match="`moved` is not in its package"):
        registry.load("moved")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        registry.load("gone")

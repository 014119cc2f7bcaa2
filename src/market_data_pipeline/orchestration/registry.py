"""Sources by name: the components of a pipeline file, installed packages, and one's own."""

from __future__ import annotations

__all__ = ("SourceRegistry",)

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.spec import registry

_GROUP: Final = "market_data.providers"


class SourceRegistry:
    """Gives the class of a source by its name.

    What was registered here comes first, then the components that a pipeline file can
    name, then the providers that installed packages offer. Nothing is imported before it is
    loaded.
    """

    def __init__(self) -> None:
        self._own: dict[str, Any] = {}
        self._offered: dict[str, EntryPoint] = {}

    def register(self, name: str, cls: Any) -> None:
        """Make a source known by a name; what had the name here before is replaced.

        Raises:
            ConfigError: If the name is empty, or nothing can be made of `cls`.
        """
        if not name or not callable(cls):
            msg = f"a source needs a name and a class, were `{name}` and {cls!r}"
            raise ConfigError(msg, parameter="name")
        self._own[name] = cls

    def load(self, name: str) -> Any:
        """Return the class of a source.

        Raises:
            ImportError: If there is none of this name, or it cannot be imported.
        """
        if name in self._own:
            return self._own[name]
        if name not in registry.names("source") and name in self._offered:
            return self._import(self._offered[name])
        try:
            return registry.find("source", name)
        except ConfigError as err:
            raise ImportError(str(err), name=name) from err

    def list_sources(self) -> list[str]:
        """Return the names that were registered or discovered, in order.

        The built-in ones are those of `mdp list`.
        """
        return sorted({*self._own, *self._offered})

    def discover_entrypoints(self, group: str = _GROUP) -> list[str]:
        """Make known what installed packages offer; return the names that are new.

        Nothing is imported, so a package that is broken is told of when it is loaded.

        Args:
            group: The entry points to look at.
        """
        found = {entry.name: entry for entry in entry_points(group=group)}
        fresh = sorted(found.keys() - self._offered.keys() - self._own.keys())
        self._offered |= {name: found[name] for name in fresh}
        return fresh

    def _import(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except AttributeError as err:
            msg = f"the provider `{entry.name}` is not in its package: {err}"
            raise ImportError(msg, name=entry.name) from err

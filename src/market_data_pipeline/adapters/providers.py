"""Providers by name: the built-in ones and those of installed packages."""

from __future__ import annotations

__all__ = ("PROVIDER_GROUP", "provider_factory", "provider_names")

import functools
import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from market_data_pipeline.adapters.given_settings import settings_of
from market_data_pipeline.errors import ConfigError, nearest

PROVIDER_GROUP: Final = "market_data.providers"
"""The entry point group in which a package offers a callable that makes a provider."""

_BUILT_IN: Final = {"ibkr": ("market_data_pipeline.adapters.ibkr", "make_ibkr_provider")}


def provider_names() -> list[str]:
    """Return the names of all providers, in order; imports none of them."""
    return sorted({*_BUILT_IN, *entry_points(group=PROVIDER_GROUP).names})


def provider_factory(name: str, settings: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what makes a provider of this name, each time it is called.

    Args:
        name: `ibkr`, or the name of an entry point.
        settings: Keyword arguments of the callable behind the name.

    Raises:
        ConfigError: If there is none of this name, several, or it cannot be loaded.
        MissingDependencyError: If the package it needs is not installed.
    """
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name]
        return functools.partial(getattr(importlib.import_module(module), attribute), **settings)
    found = list(entry_points(group=PROVIDER_GROUP, name=name))
    if not found:
        names = ", ".join(f"`{known}`" for known in provider_names())
        msg = (
            f"there is no provider `{name}`{nearest(name, provider_names())} (providers: {names})"
        )
        raise ConfigError(msg, parameter="provider")
    if len(found) > 1:
        homes = " and ".join(f"`{entry.value}`" for entry in found)
        msg = f"the provider `{name}` comes from two packages, {homes}; uninstall one"
        raise ConfigError(msg, parameter="provider")
    try:
        make = found[0].load()
    except (ImportError, AttributeError) as err:
        msg = f"the provider `{name}` (`{found[0].value}`) cannot be loaded: {err}"
        raise ConfigError(msg, parameter="provider") from err
    if not callable(make):
        msg = f"the provider `{name}` (`{found[0].value}`) is nothing that can be called"
        raise ConfigError(msg, parameter="provider")
    return functools.partial(_made, name, make, settings)


def _made(name: str, make: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    with settings_of(name):
        return make(**settings)

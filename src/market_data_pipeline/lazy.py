"""Names of a package that are loaded on first use."""

from __future__ import annotations

__all__ = ("loaded_from",)

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def loaded_from(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return what stands as `__getattr__` in a package.

    Args:
        package: Its `__name__`.
        homes: The module of each name, below the package; `module:name` where it is called
            something else there.
    """

    def load(name: str) -> Any:
        if name not in homes:
            msg = f"module `{package}` has no attribute `{name}`"
            raise AttributeError(msg)
        module, _, attribute = homes[name].partition(":")
        value = getattr(importlib.import_module(f"{package}.{module}"), attribute or name)
        setattr(sys.modules[package], name, value)
        return value

    return load

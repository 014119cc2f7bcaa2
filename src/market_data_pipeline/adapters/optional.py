"""Packages that need not be there: imported where they are needed, missed by name."""

from __future__ import annotations

__all__ = ("has_core", "require_optional")

import importlib
import importlib.util
from types import ModuleType

from market_data_pipeline.errors import MissingDependencyError


def require_optional(module: str, *, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: The module, as `market_data_store` or `market_data_core.errors`.
        extra: The extra of this distribution that brings its package.

    Raises:
        MissingDependencyError: If the package is not installed.
        ImportError: If it is, and cannot be imported: something it needs is absent, or it
            has no such module. That is another fault and has another cure.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as err:
        if err.name != package:
            raise
        raise MissingDependencyError(package, extra) from err
    return importlib.import_module(module)


def has_core() -> bool:
    """Tell whether market_data_core is installed, without importing it.

    To import it takes most of a second, and it imports this package in turn.
    """
    return importlib.util.find_spec("market_data_core") is not None

"""The sibling packages as they are on a package index: there, or a reason to skip or fail."""

from __future__ import annotations

__all__ = ("real_package",)

import importlib.util

from support.services import require


def real_package(name: str, extra: str) -> None:
    """Go on if a package is installed; else skip, or fail where services must be there."""
    there = importlib.util.find_spec(name) is not None
    require(there, f"`{name}` is not installed (the extra `{extra}`)")

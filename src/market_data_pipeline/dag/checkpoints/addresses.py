"""Tells folders from addresses of stores elsewhere, and refuses what cannot be used."""

from __future__ import annotations

__all__ = ("check_address", "is_address")

import re
from typing import Final
from urllib.parse import urlsplit

from market_data_pipeline.errors import ConfigError

_MARK: Final = "://"
_WHOLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*[^/].*")
# What `pathlib` makes of an address; one letter is a drive.
_COLLAPSED: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/[^/]")


def is_address(path: str) -> bool:
    """Tell whether a path is the address of a store elsewhere, as `s3://bucket/job`."""
    return _MARK in path


def check_address(path: str) -> None:
    """Do nothing if a path can be that of checkpoints.

    Raises:
        ConfigError: If it is an address that cannot be used.
    """
    found = _COLLAPSED.match(path)
    if found:
        msg = f"`path` of `checkpoint` must be text to be an address, as `{found[1]}://...`"
        raise ConfigError(msg, parameter="path")
    if not is_address(path):
        return
    # The address is in messages, manifests and logs, so it is not repeated before this.
    try:
        has_password = urlsplit(path).password is not None
    except ValueError:
        has_password = True
    if has_password:
        msg = (
            "`path` of `checkpoint` must not hold a password; give it to the driver of the store "
            "by its environment or its own files"
        )
        raise ConfigError(msg, parameter="path")
    if path.count(_MARK) > 1 or not _WHOLE.fullmatch(path):
        msg = f"`path` of `checkpoint` must be a folder or one address, was `{path}`"
        raise ConfigError(msg, parameter="path")

"""The store of checkpoints that a path names."""

from __future__ import annotations

__all__ = ("store_at",)

from pathlib import Path

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.checkpoints.addresses import check_address, is_address
from market_data_pipeline.dag.checkpoints.store import Store


def store_at(path: str, clock: Clock | None = None, *, retain: int = 3) -> Store:
    """Return the checkpoints in a folder or at an address; nothing is opened.

    Args:
        path: A folder, or the address of a store elsewhere.
        clock: Time outside the data, None for the machine's.
        retain: Checkpoints to keep.

    Raises:
        ConfigError: If it is an address that cannot be used, or there is no driver for it.
    """
    if not is_address(path):
        return Store(Path(path).expanduser(), retain=retain)
    check_address(path)
    from market_data_pipeline.dag.checkpoints.mirror import MirroredStore

    return MirroredStore(path, clock or SystemClock(), retain=retain)

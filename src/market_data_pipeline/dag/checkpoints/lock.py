"""A lock on a folder that ends with the process that holds it."""

from __future__ import annotations

__all__ = ("FolderLock",)

import errno
import os
import sys
from pathlib import Path
from typing import Final

from market_data_pipeline.dag.checkpoints.files import FILE_MODE
from market_data_pipeline.errors import CheckpointsInUseError

_TAKEN: Final = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}


class FolderLock:
    """Keeps a second process out of a folder.

    Args:
        folder: The folder.

    Raises:
        CheckpointsInUseError: If another process has it.
        OSError: If it cannot be known.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            _take(self._handle)
        except OSError as err:
            os.close(self._handle)
            if err.errno not in _TAKEN:
                raise
            msg = "another run uses these checkpoints; stop it first, or give this one a `path`"
            raise CheckpointsInUseError(msg, path=str(folder)) from err

    def release(self) -> None:
        """Let others in."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

"""Keep passes of the garbage collector short while a graph runs."""

from __future__ import annotations

__all__ = ("short_passes",)

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Frozen:
    """How many runs of this process want the heap they found left alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._ours = False

    def enter(self) -> None:
        with self._lock:
            self._runs += 1
            # An application that froze its heap itself is left to it.
            if self._runs == 1 and gc.isenabled() and not gc.get_freeze_count():
                self._ours = True
                gc.collect(1)
                gc.freeze()

    def leave(self) -> None:
        with self._lock:
            self._runs -= 1
            if not self._runs and self._ours:
                self._ours = False
                gc.unfreeze()


_FROZEN = _Frozen()


@contextmanager
def short_passes() -> Iterator[None]:
    """Let the collector pass over nothing that was there before.

    A full pass walks every object of the process, most of which belong to the modules that
    are loaded: tens of milliseconds in which no row moves. What was there before is set
    aside until the last run of the process is over; what is made while it runs is
    collected as ever.
    """
    _FROZEN.enter()
    try:
        yield
    finally:
        _FROZEN.leave()

"""How kernels that call one another with arrays are compiled.

They allocate nothing, so they are compiled without reference counts (`_nrt`): numba would
otherwise count references to every array in every such call, with two locked
instructions each, which can take longer than the work.
"""

from __future__ import annotations

__all__ = ("called", "inlined", "kernel")

from typing import Any

from numba import njit

_UNCOUNTED: dict[str, Any] = {"_nrt": False}

called: Any = njit(**_UNCOUNTED)
"""Decorates a function that kernels call."""

inlined: Any = njit(forceinline=True, **_UNCOUNTED)
"""Decorates a small function that becomes part of the kernels that call it."""


def kernel(*signature: Any) -> Any:
    """Return what decorates a kernel: compiled once, kept on disk, run without the lock.

    Args:
        signature: Types of its result and arguments.
    """
    return njit(*signature, cache=True, nogil=True, **_UNCOUNTED)

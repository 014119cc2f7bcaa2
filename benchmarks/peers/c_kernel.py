"""The same bare kernel in C, compiled with -O3 for this machine."""

from __future__ import annotations

__all__ = ("TASKS",)

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.numba_kernel import SLOT
from benchmarks.peers.numba_kernel import BarsInMemory as NumbaBars
from benchmarks.tasks import Missing
from benchmarks.ticks import DATA

_SOURCE = Path(__file__).with_name("second_bars.c")


def _address(array: np.ndarray[Any, Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class BarsInMemory(NumbaBars):
    """Arrays in memory -> bars as arrays."""

    def prepare(self) -> None:
        """Compile the kernel.

        Raises:
            Missing: If there is no compiler.
        """
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            msg = "there is no C compiler"
            raise Missing(msg)
        DATA.mkdir(parents=True, exist_ok=True)
        library = DATA / "second_bars.so"
        flags = ["-O3", "-march=native", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, str(_SOURCE), "-o", str(library)], check=True)
        self.kernel = ctypes.CDLL(str(library)).second_bars
        self.kernel.restype = ctypes.c_int64
        super().prepare()

    def run(self) -> Any:
        """Call the kernel once, over all ticks."""
        slots = np.zeros(self.ticks.symbols * 2 * SLOT, np.int64)
        given = self.given
        arrays = (given.ts_event, given.code, given.price, given.size)
        return self.kernel(
            ctypes.c_int64(len(given)),
            *map(_address, (*arrays, slots, self.out, self.averages)),
            ctypes.c_int64(self.ticks.symbols),
        )


TASKS = {"bars_memory": BarsInMemory}

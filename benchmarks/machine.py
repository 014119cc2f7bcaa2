"""On what the figures were measured."""

from __future__ import annotations

__all__ = ("describe",)

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "market-data-pipeline",
    "numpy",
    "numba",
    "pyarrow",
    "duckdb",
    "polars",
    "bytewax",
    "csp",
)


def describe() -> dict[str, Any]:
    """Return the machine, how busy it is, and the versions of what is measured."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    compiler = shutil.which("gcc")
    if compiler is not None:
        command = [compiler, "-dumpfullversion"]
        text = subprocess.run(command, check=True, capture_output=True, text=True)
        versions["gcc"] = text.stdout.strip()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

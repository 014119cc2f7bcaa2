"""`mdp doctor`: is everything here that is needed?"""

from __future__ import annotations

__all__ = ("Finding", "command", "examine")

import importlib
import importlib.util
import os
import platform
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import click

from market_data_pipeline.cli.codes import FAILED
from market_data_pipeline.cli.output import format_bytes, print_json

_DISTRIBUTION: Final = "market-data-pipeline"
_IMPORTS: Final = {
    "PyYAML": "yaml",
    "opentelemetry-sdk": "opentelemetry.sdk",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
}
"""The modules of packages whose names do not tell them."""
_KERNELS: Final = Path(__file__).parents[1] / "kernels"
_MEMORY_BYTES_MIN: Final = 1 << 30
_DISK_BYTES_MIN: Final = 1 << 30
_MARKS: Final = {"ok": "ok", "note": "--", "bad": "!!"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        state: `ok`, `note` (it can run, but should be known) or `bad` (it cannot run).
        found: What was found, and the way out where one is needed.
    """

    what: str
    state: Literal["ok", "note", "bad"]
    found: str


@click.command(short_help="Check that everything needed is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:  # noqa: FBT001
    """Check that everything needed is there.

    Looks at Python, the packages, the cache of compiled kernels, cores, memory and disk.
    Exits with 0 if pipelines can run here, else with 1.
    """
    findings = examine()
    able = all(finding.state != "bad" for finding in findings)
    if as_json:
        print_json({"able": able, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            click.echo(f"{_MARKS[finding.state]}  {finding.what.ljust(width)}  {finding.found}")
        click.echo("\nall fine: pipelines can run here" if able else "\npipelines cannot run here")
    if not able:
        ctx.exit(FAILED)


def examine() -> list[Finding]:
    """Return what was found, in the order it is printed."""
    return [_python(), *_packages(), *_kernel_cache(), *_machine()]


def _python() -> Finding:
    version = platform.python_version()
    where = f"{version} ({platform.python_implementation()}, {sys.executable})"
    return Finding("python", "ok", where)


def _packages() -> list[Finding]:
    try:
        own = metadata.distribution(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return [Finding(_DISTRIBUTION, "bad", f"not installed; `pip install {_DISTRIBUTION}`")]
    findings = [Finding(_DISTRIBUTION, "ok", own.version)]
    # Two extras may need the same package.
    wanted = {_name(requirement): requirement for requirement in reversed(own.requires or [])}
    findings += [_package(requirement) for requirement in reversed(wanted.values())]
    return findings


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found.group() if found else requirement


def _package(requirement: str) -> Finding:
    name = _name(requirement)
    of_extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
    needed = of_extra is None and "sys_platform" not in requirement
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if needed:
            return Finding(name, "bad", f"not installed; `pip install '{requirement}'`")
        extra = of_extra.group(1) if of_extra else ""
        way = f"`pip install '{_DISTRIBUTION}[{extra}]'`" if extra else "not needed here"
        return Finding(name, "note", f"optional, not installed; {way}")
    least = re.search(r">=\s*([0-9.]+)", requirement)
    if least and _numbers(version) < _numbers(least.group(1)):
        state: Literal["note", "bad"] = "bad" if needed else "note"
        return Finding(name, state, f"{version}: {least.group(1)} or newer is needed")
    try:
        if importlib.util.find_spec(_IMPORTS.get(name, name.replace("-", "_"))) is None:
            return Finding(name, "bad" if needed else "note", f"{version}, but not to be found")
        if needed:
            importlib.import_module(_IMPORTS.get(name, name.replace("-", "_")))
    except ImportError as err:
        return Finding(name, "bad" if needed else "note", f"{version}, but broken: {err}")
    return Finding(name, "ok", version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _kernel_cache() -> list[Finding]:
    folder = _cache_folder()
    if folder is None:
        return [
            Finding(
                "kernel cache",
                "bad",
                f"neither {_KERNELS} nor the user's cache folder can be written to; "
                "set NUMBA_CACHE_DIR to a folder that can",
            )
        ]
    kernels = [p.stem for p in _KERNELS.glob("*.py") if _has_kernel(p.read_text("utf-8"))]
    compiled = {path.name.split(".")[0] for path in folder.rglob("*.nbi")}
    cached = sum(kernel in compiled for kernel in kernels)
    state: Literal["ok", "note"] = "ok" if cached == len(kernels) else "note"
    later = "" if state == "ok" else "; the others are compiled once, on first use"
    return [
        Finding("kernel cache", "ok", f"{folder} can be written to"),
        Finding("kernels", state, f"{cached} of {len(kernels)} compiled and cached{later}"),
    ]


def _has_kernel(text: str) -> bool:
    return "\n@kernel(" in text or ("@njit(" in text and "cache=True" in text)


def _cache_folder() -> Path | None:
    """Return where numba keeps compiled kernels, by its own order of preference."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        candidates = [Path(chosen)]
    else:
        beside = _KERNELS / "__pycache__"
        cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        candidates = [beside, Path(cache_home) / "numba"]
    return next((folder for folder in candidates if _can_write(folder)), None)


def _can_write(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _machine() -> list[Finding]:
    findings = [Finding("cores", "ok", f"{_core_count()} to use, {os.cpu_count()} in all")]
    memory = _memory_available_bytes()
    if memory is None:
        findings.append(Finding("memory", "note", "this system does not tell how much is free"))
    else:
        state: Literal["ok", "note"] = "ok" if memory >= _MEMORY_BYTES_MIN else "note"
        findings.append(Finding("memory", state, f"{format_bytes(memory)} available"))
    free = shutil.disk_usage(Path.cwd()).free
    state = "ok" if free >= _DISK_BYTES_MIN else "note"
    findings.append(Finding("disk", state, f"{format_bytes(free)} free in {Path.cwd()}"))
    return findings


def _core_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_available_bytes() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        text = ""
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    if found:
        return int(found.group(1)) * 1024
    if "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None

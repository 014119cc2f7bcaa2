"""The figures of a server, drawn for a terminal."""

from __future__ import annotations

__all__ = ("TopView",)

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from market_data_pipeline.cli.output import format_time
from market_data_pipeline.spec.node_labels import clip

_WORDS: Final = frozenset({"node", "kind", "state"})
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_SPARK: Final = 40
_NAME: Final = 32
_NAME_LEAST: Final = 12
_GAP: Final = 2
_DROPPED: Final = ("in", "busy", "kind", "in/s", "rejected", "out", "queue", "lag", "late")
"""What a narrow terminal does without, in this order."""
_COLOURS: Final = {
    "running": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "failed": "bold red",
    "finished": "blue",
    "idle": "yellow",
}
_COLUMNS: Final = (
    "node",
    "kind",
    "state",
    "in/s",
    "out/s",
    "in",
    "out",
    "late",
    "rejected",
    "lag",
    "queue",
    "busy",
)


class TopView:
    """Draws figures, and remembers enough for a line of throughput."""

    def __init__(self) -> None:
        self._past: dict[str, deque[float]] = {}

    def shown(self, figures: Mapping[str, Any], width: int) -> RenderableType:
        """Return one look at a server, for a terminal of so many columns."""
        parts: list[RenderableType] = [_head(figures)]
        lines = {job["key"]: [_cells(node) for node in job["nodes"]] for job in figures["jobs"]}
        widths = _fitting([line for of_job in lines.values() for line in of_job], width)
        for job in figures["jobs"]:
            past = self._past.setdefault(job["key"], deque(maxlen=_SPARK))
            past.append(job["rates"]["in"])
            parts += ["", _job(job, past)]
            if job["error"]:
                parts.append(Text(clip(job["error"], 400), style="red"))
            if job["nodes"]:
                parts.append(_nodes(lines[job["key"]], widths))
        if not figures["jobs"]:
            parts += ["", Text("nothing runs")]
        return Group(*parts)


def _head(figures: Mapping[str, Any]) -> Text:
    jobs = figures["jobs"]
    running = sum(job["state"] == "running" for job in jobs)
    failed = sum(job["state"] == "failed" for job in jobs)
    head = Text(f"market_data_pipeline {clip(str(figures['version']), 20)}  ", style="bold")
    head.append(f"{(format_time(figures['at_ns']) or '')[:19]}  ", style="dim")
    head.append(f"{running} running", style="green" if running else "")
    if failed:
        head.append(f"  {failed} failed", style="bold red")
    return head


def _job(job: Mapping[str, Any], past: deque[float]) -> Text:
    line = Text(clip(job["key"], 60), style="bold")
    line.append(f"  {job['state']}", style=_COLOURS.get(job["state"], ""))
    line.append(f"  {_short(job['rates']['in'])} rows/s in, {_short(job['rates']['out'])} out  ")
    top = max([1.0, *past])
    line.append("".join(_BLOCKS[round(rate / top * 8)] for rate in past), style="cyan")
    return line


def _cells(node: Mapping[str, Any]) -> dict[str, Text]:
    """Return what is told of a node, by column."""
    reasons = node["reasons"]
    late, rejected = reasons.get("late", 0), reasons.get("rejected", 0)
    pressure = (node["pressure"] or {}).get("level")
    return {
        "node": Text(clip(node["name"], _NAME)),
        "kind": Text(clip(f"{node['kind']} {node['type']}", 28), style="dim"),
        "state": Text(node["state"], style=_COLOURS.get(node["state"], "")),
        "in/s": Text(_short(node["in_rate"])),
        "out/s": Text(_short(node["out_rate"])),
        "in": Text(_short(node["in"])),
        "out": Text(_short(node["out"])),
        "late": Text(_short(late), style="yellow" if late else "dim"),
        "rejected": Text(_short(rejected), style="red" if rejected else "dim"),
        "lag": Text(_seconds(node["lag_s"])),
        "queue": Text(_share(node["fill"]), style=_level(node["fill"], pressure)),
        "busy": Text(_share(node["busy"])),
    }


def _fitting(lines: Sequence[Mapping[str, Text]], width: int) -> dict[str, int]:
    """Return the columns there is room for, and how wide each is; long names give way first."""
    widths = {
        name: max([len(name), *(line[name].cell_len for line in lines)]) for name in _COLUMNS
    }
    longest = widths["node"]
    widths["node"] = min(longest, _NAME_LEAST)
    dropped = iter(_DROPPED)
    while (room := width - sum(widths.values()) - _GAP * (len(widths) - 1)) < 0:
        name = next(dropped, None)
        if name is None:
            return widths
        del widths[name]
    return {**widths, "node": min(longest, widths["node"] + room)}


def _nodes(lines: Sequence[Mapping[str, Text]], widths: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for name, wide in widths.items():
        justify: Literal["left", "right"] = "left" if name in _WORDS else "right"
        table.add_column(name, justify=justify, no_wrap=True, width=wide)
    for line in lines:
        table.add_row(*(line[name] for name in widths))
    return table


def _level(fill: float, pressure: str | None) -> str:
    if pressure == "hard" or fill >= 0.9:
        return "bold red"
    return "yellow" if pressure == "soft" or fill >= 0.5 else "dim"


def _short(value: float) -> str:
    if value < 10_000:
        return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    for unit in ("k", "M", "G"):
        value /= 1_000
        if value < 999.5:
            return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
    return f"{value / 1_000:.1f}T"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.1f}s"
    return f"{value / 60:.0f}min" if value < 7_200 else f"{value / 3_600:.0f}h"


def _share(value: float) -> str:
    return f"{value * 100:.0f}%"

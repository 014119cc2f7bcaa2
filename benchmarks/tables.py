"""Results as tables: rows of text that the terminal and the docs show alike."""

from __future__ import annotations

__all__ = ("Table", "tables_of")

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: What it shows.
        heads: Names of the columns.
        rows: The cells.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables_of(results: dict[str, Any]) -> list[Table]:
    """Return the tables of results."""
    return [_TABLES.get(found["measure"], _rates)(found) for found in results["measures"]]


def _rates(found: dict[str, Any]) -> Table:
    title = f"{found['title']}: {found['rows']:,} rows, {found['symbols']:,} symbols"
    heads = ("", "rows/s", "seconds", "our rate to its", "aim", "answer")
    return Table(title, heads, tuple(map(_rate_row, found["peers"])))


def _rate_row(peer: dict[str, Any]) -> tuple[str, ...]:
    name = peer["peer"]
    if peer["failed"]:
        return (name, "", "", "", "", peer["failed"])
    ratio = peer.get("ratio")
    return (
        name,
        _rate(peer["rows_per_second"]),
        _seconds(peer["seconds"]),
        "" if ratio is None else _ratio(ratio),
        _aim(peer, ratio),
        _answer(peer),
    )


def _latencies(found: dict[str, Any]) -> Table:
    title = f"{found['title']}: {found['rows']:,} rows"
    heads = ("", "p50 µs", "p99 µs", "p99.9 µs", "CPU s", "rows a batch", "aim", "answer")
    rows = []
    for peer in found["peers"]:
        if peer["failed"]:
            rows.append((peer["peer"], "", "", "", "", "", "", peer["failed"]))
            continue
        batch = peer.get("rows_per_batch")
        rows.append(
            (
                peer["peer"],
                *(_micros(peer[name]) for name in ("p50_us", "p99_us", "p999_us")),
                _seconds(peer["cpu_seconds"]),
                "1" if batch is None else f"{batch['median']:.2f}",
                _latency_aim(peer),
                _answer(peer),
            )
        )
    return Table(title, heads, tuple(rows))


def _latency_aim(peer: dict[str, Any]) -> str:
    if "p99_ratio" not in peer:
        return ""
    aims = (("p99", peer["p99_ratio"], 1.0), ("CPU", peer["cpu_ratio"], 2.0))
    return "; ".join(
        f"its {name} {_ratio(ratio)} of ours, >= {least}x: "
        f"{'reached' if ratio['median'] >= least else 'missed'}"
        for name, ratio, least in aims
    )


def _peaks(found: dict[str, Any]) -> Table:
    rows = [
        (f"{peak['rows']:,}", f"{peak['peak_rss_bytes'] / 2**20:,.0f} MiB", "", "")
        for peak in found["peaks"]
    ]
    ratio, target = found["ratio"], found["target"]
    mark = "reached" if ratio <= target else "missed"
    rows[-1] = (*rows[-1][:2], f"{ratio:.2f}x", f"<= {target}x: {mark}")
    return Table(found["title"], ("rows", "peak RSS", "of the first", "aim"), tuple(rows))


def _commands(found: dict[str, Any]) -> Table:
    rows = []
    for row in found["commands"]:
        target, seconds = row["target"], row["seconds"]
        aim = ""
        if target is not None:
            aim = f"< {target} s: {'reached' if seconds['median'] < target else 'missed'}"
        rows.append((row["command"], _seconds(seconds), aim))
    return Table(found["title"], ("command", "seconds", "aim"), tuple(rows))


def _restored(found: dict[str, Any]) -> Table:
    target, seconds = found["target"], found["seconds"]
    aim = ""
    if target is not None:
        aim = f"< {target:.0f} s: {'reached' if seconds['median'] < target else 'missed'}"
    row = (f"{found['keys']:,}", f"{found['bytes'] / 2**20:,.0f} MiB", _seconds(seconds), aim)
    return Table(found["title"], ("keys", "checkpoint", "seconds", "aim"), (row,))


_TABLES = {
    "latency": _latencies,
    "memory": _peaks,
    "restoring": _restored,
    "starting": _commands,
}


def _rate(rows_per_second: float) -> str:
    if rows_per_second >= 1e6:
        return f"{rows_per_second / 1e6:,.1f} M"
    return f"{rows_per_second / 1e3:,.0f} k"


def _seconds(spread: dict[str, float]) -> str:
    return f"{spread['median']:.3f} ({spread['min']:.3f}-{spread['max']:.3f})"


def _micros(spread: dict[str, float]) -> str:
    return f"{spread['median']:,.0f} ({spread['min']:,.0f}-{spread['max']:,.0f})"


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f}x ({spread['min']:.2f}-{spread['max']:.2f})"


def _aim(peer: dict[str, Any], ratio: dict[str, float] | None) -> str:
    target = peer["target"]
    if target is None or ratio is None:
        return ""
    return f">= {target}x: {'reached' if ratio['median'] >= target else 'missed'}"


def _answer(peer: dict[str, Any]) -> str:
    if peer["wrong"]:
        return f"wrong: {peer['wrong']}"
    if peer["without"]:
        return f"right, without {', '.join(peer['without'])}"
    return "right"

"""How results are printed: tables, times and JSON, on terminals and in pipes alike."""

from __future__ import annotations

__all__ = (
    "format_bytes",
    "format_count",
    "format_rows",
    "format_span",
    "format_table",
    "format_time",
    "print_json",
)

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def print_json(value: object) -> None:
    """Print a value as one line of JSON on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, indent: str = ""
) -> str:
    """Return rows as aligned text: numbers to the right, the rest to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    columns = range(len(header))
    widths = [max([len(header[i]), *(len(row[i]) for row in cells)]) for i in columns]
    right = [any(_is_number(row[i]) for row in rows) for i in columns]

    def line(texts: Sequence[str]) -> str:
        parts = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(texts, widths, right, strict=True)
        ]
        return (indent + "  ".join(parts)).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, cells)])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return format_count(value)
    return str(value)


def format_count(value: float) -> str:
    """Return a number with its thousands apart: `1,234,567`."""
    return f"{value:,.0f}"


def format_rows(count: int, what: str = "row") -> str:
    """Return a number of things: `1 row`, `1,234 rows`."""
    return f"{format_count(count)} {what}{'' if count == 1 else 's'}"


def format_bytes(count: float) -> str:
    """Return a number of bytes in the unit that suits it: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_span(ns: int) -> str:
    """Return a length of time in the coarsest units that keep it exact: `1h30min`, `1.5s`.

    The text can be given to every option that takes a duration.
    """
    if ns < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("us", 1_000)):
            if ns and ns >= size:
                return f"{_decimal(ns, size)}{unit}"
        return f"{ns}ns" if ns else "0s"
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        count, ns = divmod(ns, size * 1_000_000_000)
        parts += [f"{count}{unit}"] if count else []
    parts += [f"{_decimal(ns, 1_000_000_000)}s"] if ns else []
    return "".join(parts)


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def format_time(ns: int | None) -> str | None:
    """Return nanoseconds since the UNIX epoch as ISO text in UTC, as short as is exact.

    None stands for "none", as do the ends of int64, which no clock ever shows.
    """
    if ns is None or ns in {-(1 << 63), (1 << 63) - 1}:
        return None
    seconds, fraction = divmod(ns, 1_000_000_000)
    text = _civil(seconds)
    if fraction:
        digits = f"{fraction:09d}"
        while digits.endswith("000"):
            digits = digits[:-3]
        text += f".{digits}"
    return text + "Z"


def _civil(seconds: int) -> str:
    # Int64 nanoseconds span the years 1677 to 2262, all of them within datetime's range.
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")

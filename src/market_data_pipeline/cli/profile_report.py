"""What `mdp inspect` prints of a file: as text and as plain data."""

from __future__ import annotations

__all__ = (
    "gaps_dict",
    "gaps_text",
    "order_text",
    "profile_dict",
    "profile_text",
    "rows_text",
)

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from market_data_pipeline.cli.output import (
    format_bytes,
    format_count,
    format_rows,
    format_span,
    format_table,
    format_time,
)

if TYPE_CHECKING:
    from market_data_pipeline.cli.file_profile import Profile, TimeProfile
    from market_data_pipeline.cli.sequence_check import Gap

_NO_ID: Final = (
    "there is no column `trade_id` or `sequence`, and rows that are equal in all columns "
    "may still be separate events"
)
_NO_NUMBERS: Final = "there is no column `sequence` and no whole-number `trade_id`"


def profile_dict(place: str, size: int, profile: Profile, *, limit: int) -> dict[str, Any]:
    """Return what was found in a file as plain data.

    Args:
        place: The file.
        size: Its bytes.
        profile: What was found.
        limit: Most symbols to describe.
    """
    symbols = list(profile.symbols.items())[:limit]
    return {
        "file": place,
        "bytes": size,
        "kind": profile.schema.name,
        "schema": {field.name: _type(str(field)) for field in profile.schema},
        "rows": profile.rows_read,
        "rejected": dict(profile.rejected),
        "first_rejected": [asdict(reject) for reject in profile.first_rejected],
        **(_times_dict(profile.whole) if profile.whole else {}),
        "gaps": gaps_dict(profile),
        "duplicates": {
            "column": profile.id_column,
            "rows": profile.duplicates,
            "why_not": None if profile.id_column else _NO_ID,
        },
        "symbol_count": len(profile.symbols),
        "symbols": {symbol: _times_dict(times) for symbol, times in symbols},
    }


def _type(field: str) -> str:
    return field.partition(": ")[2]


def _times_dict(times: TimeProfile) -> dict[str, Any]:
    return {
        "taken": times.rows,
        "first": format_time(times.first),
        "last": format_time(times.last),
        "out_of_order": times.out_of_order,
        "worst_disorder_ns": times.worst_disorder_ns,
        "silence_ns": times.silence_ns,
        "silence_from": format_time(times.silence_start) if times.silence_ns else None,
        "silence_to": format_time(times.silence_end) if times.silence_ns else None,
    }


def gaps_dict(profile: Profile) -> dict[str, Any]:
    """Return what is missing in the sequence numbers as plain data."""
    gaps = profile.gaps
    if gaps is None:
        return {"column": None, "why_not": _NO_NUMBERS}
    return {
        "column": profile.number_column,
        "per_symbol": gaps.per_symbol,
        "count": gaps.count,
        "missing": gaps.missing,
        "largest": [_gap_dict(gap) for gap in gaps.largest],
    }


def _gap_dict(gap: Gap) -> dict[str, Any]:
    times = {"after": format_time(gap.after), "before": format_time(gap.before)}
    return asdict(gap) | times


def profile_text(place: str, size: int, profile: Profile, *, limit: int) -> str:
    """Return what was found in a file as a page of text.

    Args:
        place: The file.
        size: Its bytes.
        profile: What was found.
        limit: Most symbols to describe.
    """
    columns = ", ".join(str(field) for field in profile.schema)
    facts = [
        ("kind", f"{profile.schema.name}s, {format_bytes(size)}"),
        ("columns", columns),
        ("rows", rows_text(profile)),
        *(_times_facts(profile.whole) if profile.whole else []),
        ("gaps", gaps_text(profile)),
        ("duplicates", _duplicates_text(profile)),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [place, *(f"  {name.ljust(width)}  {text}" for name, text in facts)]
    if profile.gaps is not None and profile.gaps.largest:
        lines += ["", _gaps_table(profile.gaps.largest)]
    if profile.first_rejected:
        rows = [(reject.row, reject.reason, reject.detail) for reject in profile.first_rejected]
        lines += ["", format_table(("row", "rejected as", "what was found"), rows, indent="  ")]
    if profile.symbols:
        lines += ["", _symbols_table(profile, limit)]
    return "\n".join(lines) + "\n"


def rows_text(profile: Profile) -> str:
    """Return in words how many rows there are, and how many could not be taken."""
    text = f"{format_count(profile.rows_read)} of {format_rows(len(profile.symbols), 'symbol')}"
    if not profile.rejected:
        return text + ", none rejected"
    reasons = ", ".join(f"{format_count(n)} {reason}" for reason, n in profile.rejected.items())
    return f"{text}, {format_count(sum(profile.rejected.values()))} rejected ({reasons})"


def _times_facts(times: TimeProfile) -> list[tuple[str, str]]:
    silence = "none: all rows have one time"
    if times.silence_ns:
        begin, end = format_time(times.silence_start), format_time(times.silence_end)
        silence = f"{format_span(times.silence_ns)}, from {begin} to {end}"
    return [
        ("first", str(format_time(times.first))),
        ("last", f"{format_time(times.last)} ({format_span(times.last - times.first)} later)"),
        ("out of order", order_text(times)),
        ("longest silence", silence),
    ]


def order_text(times: TimeProfile) -> str:
    """Return in words how far rows are out of the order of event time."""
    if not times.out_of_order:
        return "none: times never run backwards"
    share = 100 * times.out_of_order / times.rows
    worst = format_span(times.worst_disorder_ns)
    return (
        f"{format_rows(times.out_of_order)} ({share:.2g} %), at worst {worst} behind; "
        f"`--out-of-order {worst}` makes none of them late"
    )


def gaps_text(profile: Profile) -> str:
    """Return in words what is missing in the sequence numbers."""
    gaps = profile.gaps
    if gaps is None:
        return f"not looked for: {_NO_NUMBERS}"
    scope = "counting per symbol" if gaps.per_symbol else "counting over all symbols"
    if not gaps.count:
        return f"none in `{profile.number_column}`, {scope}"
    return (
        f"{format_count(gaps.count)} in `{profile.number_column}`, "
        f"{format_count(gaps.missing)} numbers missing, {scope}"
    )


def _duplicates_text(profile: Profile) -> str:
    if profile.duplicates is None:
        return f"not looked for: {_NO_ID}"
    count = format_count(profile.duplicates) if profile.duplicates else "none"
    return f"{count} by (`symbol`, `{profile.id_column}`)"


def _gaps_table(gaps: tuple[Gap, ...]) -> str:
    rows = [
        (
            gap.symbol,
            str(gap.first),
            str(gap.last),
            gap.last - gap.first + 1,
            format_time(gap.after),
            format_time(gap.before),
        )
        for gap in gaps
    ]
    header = ("gap in", "first missing", "last missing", "numbers", "after", "before")
    return format_table(header, rows, indent="  ")


def _symbols_table(profile: Profile, limit: int) -> str:
    rows = [
        (
            symbol,
            times.rows,
            format_time(times.first),
            format_time(times.last),
            times.out_of_order,
            format_span(times.worst_disorder_ns),
            format_span(times.silence_ns),
        )
        for symbol, times in list(profile.symbols.items())[:limit]
    ]
    header = ("symbol", "rows", "first", "last", "out of order", "at worst", "silence")
    table = format_table(header, rows, indent="  ")
    hidden = len(profile.symbols) - len(rows)
    return table if hidden <= 0 else f"{table}\n  ... and {format_count(hidden)} more symbols"

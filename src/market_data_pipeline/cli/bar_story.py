"""What a bar's own columns say of it, in sentences."""

from __future__ import annotations

__all__ = ("CERTIFICATE", "Fact", "hours_at", "reasons_for_none", "story_of", "value_text")

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from market_data_pipeline.calendars import SessionTable
from market_data_pipeline.cli.bar_lookup import Bar, Lookup
from market_data_pipeline.cli.output import format_count, format_rows, format_span, format_time

_STATES: Final = {
    "live": "the feed was live throughout",
    "quiet": "the feed was live, and quiet for a while",
    "closed": "the market was closed for a part of it",
    "halted": "trading was halted for a part of it",
    "disconnected": "the feed was disconnected for a part of it",
}
_DOUBTFUL: Final = frozenset({"halted", "disconnected"})
CERTIFICATE: Final = (
    "is_final",
    "revision",
    "late_count",
    "missing_seq",
    "gap_ns",
    "coverage",
    "feed_state",
    "session",
)
"""The columns in which a bar says how far it can be trusted."""
_SELDOM: Final = frozenset({"op", "revision", "is_final"})


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of a bar.

    Attributes:
        about: The column it is told from.
        says: A sentence without its full stop.
        doubt: True if it speaks against the bar.
    """

    about: str
    says: str
    doubt: bool = False


def story_of(bar: Bar, lookup: Lookup) -> list[Fact]:
    """Return what is known of a bar, and what is not."""
    facts = [fact for tell in _TELLERS for fact in tell(bar, lookup)]
    told = {"is_final", "revision", "late_count", "missing_seq", "coverage", "feed_state"}
    absent = [name for name in CERTIFICATE if name not in lookup.columns and name in told]
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        what = "column" if len(absent) == 1 else "columns"
        facts.append(Fact("columns", f"the file has no {what} {names}, so that is not known"))
    return facts


def _made_of(bar: Bar, lookup: Lookup) -> Iterator[Fact]:
    what = "quote" if "bid_open" in lookup.columns else "trade"
    count = bar.values.get("count")
    if count is not None and count > 0:
        yield Fact("count", f"{format_rows(count, what)} went into it")
    elif count == 0:
        yield Fact("count", f"no {what} went into it: the window was filled")
    if bar.retracted:
        yield Fact("op", "it was taken back, and nothing stands in its place", doubt=True)


def _how_final(bar: Bar, _: Lookup) -> Iterator[Fact]:
    final, revision = _truth(bar.values.get("is_final")), bar.values.get("revision")
    before = (
        f"; it was given out otherwise {format_rows(revision, 'time')} before" if revision else ""
    )
    if final:
        alone = "" if before or revision is None else " and is as it first came out"
        yield Fact("is_final", f"it is final{alone}{before}")
    elif final is False:
        says = "it is not final: rows that come late, or corrections, may still change it"
        yield Fact("is_final", says + before, doubt=True)
    elif revision is not None:
        yield Fact("revision", f"it is revision {revision}{before}")
    for number, row in enumerate(bar.earlier):
        changed = [
            f"{name} {value_text(value)}"
            for name, value in row.items()
            if value != bar.values.get(name) and name not in _SELDOM
        ]
        which = row.get("revision")
        name = f"revision {which}" if which is not None else f"row {number + 1} of this window"
        yield Fact("revision", f"before, in {name}, it had {', '.join(changed) or 'the same'}")


def _how_late(bar: Bar, _: Lookup) -> Iterator[Fact]:
    late = bar.values.get("late_count")
    if late:
        yield Fact("late_count", f"{format_rows(late, 'row')} in it came after its window ended")
    elif late == 0:
        yield Fact("late_count", "no row in it came after its window ended")


def _what_is_missing(bar: Bar, lookup: Lookup) -> Iterator[Fact]:
    missing = bar.values.get("missing_seq")
    if missing is not None and missing < 0:
        came = f"{format_rows(-missing, 'row')} came into it that had been missing"
        says = f"{came}; that was noticed, and is marked, in a later bar"
        yield Fact("missing_seq", says)
    elif missing:
        are = "is" if missing == 1 else "are"
        says = f"{format_rows(missing, 'row')} of the feed's numbering {are} missing in it"
        yield Fact("missing_seq", says, doubt=True)
    elif missing == 0:
        yield Fact("missing_seq", "no row of the feed's numbering is missing in it")
    elif "missing_seq" in lookup.columns:
        says = "whether rows are missing is not known: no sequence numbers were tracked"
        yield Fact("missing_seq", says)


def _how_covered(bar: Bar, _: Lookup) -> Iterator[Fact]:
    gap, coverage = bar.values.get("gap_ns"), bar.values.get("coverage")
    width = format_span(bar.ts_close - bar.ts_open)
    share = "" if coverage is None else f", coverage {float(coverage):.1%}"
    if gap:
        says = f"the feed was cut off for {format_span(gap)} of its {width}{share}"
        yield Fact("gap_ns", says, doubt=True)
    elif coverage is not None and float(coverage) < 1:
        yield Fact("coverage", f"its {width} are not all covered{share}", doubt=True)
    elif gap == 0 or coverage is not None:
        yield Fact("coverage", f"the feed was connected for all of its {width}")
    state = bar.values.get("feed_state")
    if state is not None:
        says = _STATES.get(state, f"the state of the feed was `{state}`")
        yield Fact("feed_state", says, doubt=state in _DOUBTFUL)


def _when(bar: Bar, lookup: Lookup) -> Iterator[Fact]:
    session = bar.values.get("session")
    if session is not None:
        yield Fact("session", f"it belongs to the trading session of {session}")
    elif "session" in lookup.columns:
        yield Fact("session", "it was made without a trading calendar")
    if lookup.assumed_width:
        says = (
            f"the file has no column `ts_close`; bars are taken to be as long as they are "
            f"apart, {format_span(lookup.width_ns)}"
        )
        yield Fact("ts_close", says)
    elif bar.ts_close - bar.ts_open < lookup.width_ns:
        says = f"its window is shorter than the usual {format_span(lookup.width_ns)}"
        if session is not None:
            says += ": it is cut at the end of trading"
        yield Fact("ts_close", says)


_TELLERS: Final[tuple[Callable[[Bar, Lookup], Iterator[Fact]], ...]] = (
    _made_of,
    _how_final,
    _how_late,
    _what_is_missing,
    _how_covered,
    _when,
)


def reasons_for_none(lookup: Lookup) -> list[str]:
    """Return why there may be no bar at a moment, by what the file has around it."""
    reasons: list[str] = []
    before, after = lookup.before, lookup.after
    if before is None:
        reasons.append(f"bars of {lookup.symbol} begin later in this file")
    elif after is None:
        reasons.append(f"bars of {lookup.symbol} end earlier in this file")
    else:
        reasons += _between(before, after, lookup)
    for bar, which in ((before, "before"), (after, "after")):
        state = None if bar is None else bar.values.get("feed_state")
        if state in _DOUBTFUL | {"closed"}:
            reasons.append(f"in the bar {which} it, {_STATES[state]}")
    if lookup.others:
        reasons.append(
            f"{format_rows(lookup.others, 'other symbol')} of the file "
            f"{'has a bar' if lookup.others == 1 else 'have bars'} there, so the feed was "
            f"running: {lookup.symbol} had no rows of its own, or they were late or sorted out"
        )
    return reasons


def hours_at(time: int, calendar: SessionTable, name: str) -> str:
    """Return whether trading was on at a moment, and since or until when.

    Args:
        time: Nanoseconds since the epoch.
        calendar: The calendar to ask.
        name: What it is called.

    Raises:
        ConfigError: If the calendar does not know of the moment.
    """
    import numpy as np

    positions, outside = calendar.find(np.array([time], np.int64))
    if not outside:
        at = int(positions[0])
        opened, closed = int(calendar.opens[at]), int(calendar.closes[at])
        return f"{name} was open then, from {format_time(opened)} to {format_time(closed)}"
    following = int(np.searchsorted(calendar.opens, time, "right"))
    said = [f"{name} was closed then"]
    if following:
        said.append(f"it closed at {format_time(int(calendar.closes[following - 1]))}")
    if following < len(calendar.opens):
        said.append(f"it opened at {format_time(int(calendar.opens[following]))}")
    return "; ".join(said)


def _between(before: Bar, after: Bar, lookup: Lookup) -> Iterator[str]:
    sessions = before.values.get("session"), after.values.get("session")
    if None not in sessions and sessions[0] != sessions[1]:
        yield (
            f"it lies between two trading sessions: the bar before is of {sessions[0]}, the one "
            f"after of {sessions[1]}"
        )
        return
    apart = after.ts_open - before.ts_close
    windows = apart // lookup.width_ns if lookup.width_ns > 0 else 0
    length = f"{format_span(apart)} ({format_rows(windows, 'window')} of the usual length)"
    within = f"within the session of {sessions[0]}, " if sessions[0] is not None else ""
    yield (
        f"{within}there are {length} from the end of the bar before to the one after: a window "
        f"without rows has no bar"
    )


def _truth(value: Any) -> bool | None:
    return None if value is None else value in {True, "true", "True"}


def value_text(value: Any) -> str:
    """Return a value of a bar as people write it."""
    if value is None:
        return "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return format_count(value)
    text = f"{value:f}" if hasattr(value, "is_finite") else str(value)
    return text.rstrip("0").rstrip(".") if "." in text and not isinstance(value, str) else text

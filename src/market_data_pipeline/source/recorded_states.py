"""What a feed said of itself, recorded beside its rows."""

from __future__ import annotations

__all__ = ("read_states",)

import csv
from pathlib import Path
from typing import Final

from market_data_pipeline.dag.messages import Status
from market_data_pipeline.errors import ConfigError, InputError, MissingInputError, nearest
from market_data_pipeline.records import FeedState
from market_data_pipeline.source.time_range import moment_ns

_NEEDED: Final = ("ts_event", "state")
_KNOWN: Final = frozenset({*_NEEDED, "symbol", "until"})


def read_states(path: Path, timezone: str) -> list[Status]:
    """Return the states of a CSV file by event time; those of one time keep their order.

    Its columns are `ts_event` and `state` and, if wanted, `symbol` (empty for the whole
    feed) and `until` (empty if unknown). Times are ISO 8601 or whole nanoseconds.

    Args:
        path: The file.
        timezone: Zone of times that name none.

    Raises:
        InputError: If the file cannot be read, or a row is no state of a feed.
    """
    if not path.exists():
        msg = "there is no such file of `states`"
        raise MissingInputError(msg, place=str(path))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file, restval="")
            names = set(rows.fieldnames or ())
            if not names.issuperset(_NEEDED) or not names <= _KNOWN:
                msg = (
                    "a file of states has the columns `ts_event` and `state`, and may have "
                    f"`symbol` and `until`; this has {', '.join(sorted(names)) or 'none'}"
                )
                raise InputError(msg, place=str(path))
            found = [
                _status(row, timezone, f"{path}, row {number}")
                for number, row in enumerate(rows, 1)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        msg = f"the file of `states` cannot be read: {err}"
        raise InputError(msg, place=str(path)) from err
    return sorted(found, key=lambda status: status.time)


def _status(row: dict[str, str], timezone: str, place: str) -> Status:
    states = [state.value for state in FeedState]
    if row["state"] not in states:
        known = ", ".join(f"`{state}`" for state in states)
        hint = nearest(row["state"], states)
        msg = f"no feed is `{row['state']}`{hint} (states: {known})"
        raise InputError(msg, place=place)
    until = row.get("until") or ""
    return Status(
        row["state"],
        _time(row["ts_event"], timezone, place),
        row.get("symbol") or None,
        _time(until, timezone, place) if until else None,
    )


def _time(text: str, timezone: str, place: str) -> int:
    if text.removeprefix("-").isdecimal():
        return int(text)
    try:
        return moment_ns(text, timezone, "ts_event")
    except ConfigError as err:
        raise InputError(str(err), place=place) from err

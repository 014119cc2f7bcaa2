"""Find the bars of a symbol that cover a moment, and those next to it."""

from __future__ import annotations

__all__ = ("Bar", "Lookup", "bars_of", "look_up", "moment_in")

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
from pyarrow import compute

from market_data_pipeline.errors import ColumnError, ConfigError, nearest

_pc: Any = compute  # its functions are made at run time, unseen by type checkers
_NAMED: Final = 8
_RETRACTION: Final = -1
_WHOLE: Final = {"count", "revision", "late_count", "missing_seq", "gap_ns", "op"}
_CLOCK: Final = re.compile(r"\d\d:\d\d")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, as a file has it.

    Attributes:
        ts_open: Where its window begins, nanoseconds.
        ts_close: Where it ends.
        values: Its columns, without the symbol and these two.
        earlier: What the file has of the same window from before, oldest first.
        retracted: True if the last the file says of it is that it is taken back.
    """

    ts_open: int
    ts_close: int
    values: dict[str, Any]
    earlier: tuple[dict[str, Any], ...] = ()
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a file has around a moment.

    Attributes:
        symbol: The symbol.
        time: The moment, nanoseconds.
        columns: Columns of the file.
        covering: The symbol's bars whose windows hold the moment, shortest first.
        before: The symbol's last bar that ends at or before the moment.
        after: The symbol's first bar that begins after it.
        width_ns: How long most of the symbol's windows are.
        assumed_width: True if the file has no `ts_close`, and `width_ns` is the distance
            between most bars.
        others: How many other symbols have a bar that holds the moment.
    """

    symbol: str
    time: int
    columns: tuple[str, ...]
    covering: tuple[Bar, ...]
    before: Bar | None
    after: Bar | None
    width_ns: int
    assumed_width: bool
    others: int


def bars_of(bars: pa.Table, symbol: str, place: str) -> pa.Table:
    """Return the bars of a symbol.

    Args:
        bars: As `load_bars` gives them.
        symbol: The symbol.
        place: The file, for messages.

    Raises:
        ConfigError: If the file has none.
    """
    mine = bars.filter(_pc.equal(bars.column("symbol"), symbol))
    if not mine.num_rows:
        names = sorted(_pc.unique(bars.column("symbol")).drop_null().to_pylist())
        listed = ", ".join(f"`{name}`" for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        hint = nearest(symbol, names)
        msg = f"{place} has no bars of `{symbol}`{hint} (symbols: {listed or 'none'}{more})"
        raise ConfigError(msg)
    return mine


def look_up(bars: pa.Table, symbol: str, time: int, place: str) -> Lookup:
    """Return what a file has around a moment.

    Args:
        bars: As `load_bars` gives them.
        symbol: The symbol.
        time: Nanoseconds since the epoch.
        place: The file, for messages.

    Raises:
        ConfigError: If the file has no bar of the symbol.
        ColumnError: If it does not say where windows end, and that cannot be told.
    """
    mine = bars_of(bars, symbol, place)
    assumed = "ts_close" not in bars.column_names
    width = _usual_width(mine, place)
    if assumed:
        bars, mine = (_with_close(table, width) for table in (bars, mine))
    opens, closes = mine.column("ts_open"), mine.column("ts_close")
    holding = _pc.and_(_pc.less_equal(opens, time), _pc.greater(closes, time))
    ended = mine.filter(_pc.less_equal(closes, time))
    begun = mine.filter(_pc.greater(opens, time))
    return Lookup(
        symbol=symbol,
        time=time,
        columns=tuple(bars.column_names),
        covering=tuple(_bars(mine.filter(holding))),
        before=_nearest(ended, "ts_close", _pc.max),
        after=_nearest(begun, "ts_open", _pc.min),
        width_ns=width,
        assumed_width=assumed,
        others=_others(bars, symbol, time),
    )


def moment_in(mine: pa.Table, text: str, timezone: str) -> int:
    """Return a moment as nanoseconds since the epoch; a time of day is that of the bars.

    Args:
        mine: Bars, which tell the date of a time of day.
        text: An ISO 8601 moment, or a time of day.
        timezone: Zone of a moment that names none.

    Raises:
        ConfigError: If it is neither, or the bars are of several dates.
    """
    from market_data_pipeline.source.time_range import moment_ns

    if not _CLOCK.match(text):
        return moment_ns(text, timezone, "TIME")
    zone = _zone(timezone)
    edges = _pc.min_max(mine.column("ts_open")).as_py()
    first, last = _date(edges["min"], zone), _date(edges["max"], zone)
    if first != last:
        msg = f"`TIME` needs its date, as `{first}T{text}`: bars are of {first} to {last}"
        raise ConfigError(msg, parameter="TIME")
    return moment_ns(f"{first}T{text}", timezone, "TIME")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        msg = f"there is no time zone `{name}`"
        raise ConfigError(msg, parameter="timezone") from err


def _date(ns: int, zone: ZoneInfo) -> date:
    return (_EPOCH + timedelta(seconds=ns // 1_000_000_000)).astimezone(zone).date()


def _usual_width(mine: pa.Table, place: str) -> int:
    opens = mine.column("ts_open").to_pylist()
    if "ts_close" in mine.column_names:
        widths = [b - a for a, b in zip(opens, mine.column("ts_close").to_pylist(), strict=True)]
    else:
        times = sorted(set(opens))
        widths = [b - a for a, b in pairwise(times)]
    if not widths:
        msg = "there is no column `ts_close`, and one bar alone does not tell how long it is"
        raise ColumnError(msg, place=place)
    return int(Counter(widths).most_common(1)[0][0])


def _with_close(table: pa.Table, width: int) -> pa.Table:
    return table.append_column("ts_close", _pc.add(table.column("ts_open"), width))


def _nearest(table: pa.Table, name: str, choose: Any) -> Bar | None:
    if not table.num_rows:
        return None
    edge = choose(table.column(name))
    return _bars(table.filter(_pc.equal(table.column(name), edge)))[0]


def _others(bars: pa.Table, symbol: str, time: int) -> int:
    holding = _pc.and_(
        _pc.less_equal(bars.column("ts_open"), time), _pc.greater(bars.column("ts_close"), time)
    )
    there = bars.filter(_pc.and_(holding, _pc.not_equal(bars.column("symbol"), symbol)))
    return int(_pc.count_distinct(there.column("symbol")).as_py())


def _bars(table: pa.Table) -> list[Bar]:
    """Return one bar for each window, the shortest window first."""
    windows: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in _without_times(table).to_pylist():
        window = row.pop("ts_open"), row.pop("ts_close")
        del row["symbol"]
        for name in _WHOLE & row.keys():
            # Text files hold numbers without saying which of them are whole.
            if row[name] is not None:
                row[name] = int(row[name])
        windows.setdefault(window, []).append(row)
    return [
        _latest(window, rows)
        for window, rows in sorted(windows.items(), key=lambda item: item[0][1] - item[0][0])
    ]


def _without_times(table: pa.Table) -> pa.Table:
    # Python has no times in nanoseconds; those a foreign file may have are told as text.
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            text = table.column(at).cast(pa.string())
            table = table.set_column(at, field.name, text)
    return table


def _latest(window: tuple[int, int], rows: Iterable[dict[str, Any]]) -> Bar:
    # Of one revision the final one is the last; a stable sort keeps the order of the file.
    ordered = sorted(rows, key=lambda row: (row.get("revision") or 0, bool(row.get("is_final"))))
    held = [row for row in ordered if row.get("op") != _RETRACTION]
    last = held[-1] if held else ordered[-1]
    earlier = tuple(row for row in held if row is not last)
    # What is replaced is taken back and given again; what is only taken back is gone.
    return Bar(*window, last, earlier, retracted=len(ordered) >= 2 * max(len(held), 1))

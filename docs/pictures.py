"""The timelines in the docs: a handful of rows each, and what the engine made of them."""

from __future__ import annotations

__all__ = ("pictures",)

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from timelines import Band, Came, Entry, Moment, Timeline, draw, play, play_join

import market_data_pipeline as mdp
from market_data_pipeline.dag.messages import Status

_S: Final = 10**9
_H: Final = 3600 * _S
_MIDNIGHT: Final = 1_720_000_000 * _S // (24 * _H) * 24 * _H  # of 2024-07-03, UTC

_BARS: Final = {
    "first": "a bar that can still change",
    "revised": "the same bar, revised",
    "final": "a bar that changes no more",
    "open": "up to here the watermark lets it be revised",
    "row": "a row, at its event time",
    "gone": "a late row: no bar takes it",
}


def pictures() -> dict[Path, str]:
    """Return the text of every picture, by its path below `docs/`."""
    return {Path("images", f"{name}.svg"): draw(make()) for name, make in _PICTURES.items()}


# How things are written


def _seconds(time: int) -> str:
    return f"{time / _S:g} s"


def _span(row: Mapping[str, Any]) -> str:
    return f"{row['ts_open'] / _S:g}-{row['ts_close'] / _S:g} s"


def _trade(at: float, price: str = "10", **more: Any) -> dict[str, Any]:
    return {"ts_event": round(at * _S), "symbol": "A", "price": price, "size": 1, **more}


def _row(moment: Moment) -> str:
    item = moment.item
    if isinstance(item, Status):
        return f"{item.state} from {_seconds(item.time)}"
    return f"row of {_seconds(item['ts_event'])}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _bar(*, lateness: int = 0, say: Callable[[Mapping[str, Any]], str]) -> Callable[[Came], Entry]:
    """Return how bars are drawn, and rows that went to other outputs."""

    def entry(came: Came) -> Entry:
        row = came.row
        if came.port != "out":
            return Entry(f"to the output {came.port}", "gone")
        look = "final" if row["is_final"] else "revised" if row["revision"] else "first"
        until = None if row["is_final"] else row["ts_close"] + lateness
        return Entry(f"{_span(row)}: {say(row)}", look, row["ts_open"], row["ts_close"], until)

    return entry


def _revision(row: Mapping[str, Any]) -> str:
    final = ", final" if row["is_final"] else ""
    return f"{_rows(row['count'])}, revision {row['revision']}{final}"


def _of(legend: Mapping[str, str], *looks: str, **more: str) -> dict[str, str]:
    return {**{look: legend[look] for look in looks}, **more}


# The pictures


def _watermark() -> Timeline:
    rows = [_trade(at) for at in (1, 3.5, 2, 6.5, 4, 8, 4.5, 9, 12.5)]
    return Timeline(
        "Bars of 5 s with out_of_order 2 s",
        play(rows, mdp.Bars("5s"), out_of_order="2s"),
        (0, 15 * _S),
        5 * _S,
        _seconds,
        _row,
        _bar(say=lambda row: _rows(row["count"])),
        legend=_of(_BARS, "row", "final", "gone"),
    )


def _lateness() -> Timeline:
    rows = [_trade(at) for at in (1, 3, 6.5, 2, 8, 4, 10.5, 3, 16)]
    return Timeline(
        "Bars of 5 s with out_of_order 1 s and lateness 4 s",
        play(rows, mdp.Bars("5s", lateness="4s"), out_of_order="1s"),
        (0, 20 * _S),
        5 * _S,
        _seconds,
        _row,
        _bar(lateness=4 * _S, say=_revision),
        legend=_BARS,
    )


def _feed_states() -> Timeline:
    script = [
        _trade(1),
        _trade(3),
        Status("quiet", 11 * _S),
        _trade(12),
        Status("disconnected", 14 * _S),
        Status("live", 24 * _S),
        _trade(24.5),
        _trade(27),
        _trade(31.5),
    ]

    def trust(row: Mapping[str, Any]) -> str:
        return f"{_rows(row['count'])}, gap {row['gap_ns'] / _S:g} s, coverage {row['coverage']:g}"

    return Timeline(
        "Bars of 5 s of a feed that tells how it is",
        play(script, mdp.Bars("5s"), out_of_order="1s"),
        (0, 35 * _S),
        5 * _S,
        _seconds,
        _row,
        _bar(say=trust),
        bands=(
            Band(0, 11 * _S, "live"),
            Band(11 * _S, 14 * _S, "quiet", "quiet"),
            Band(14 * _S, 24 * _S, "disconnected", "lost"),
            Band(24 * _S, 35 * _S, "live"),
        ),
        legend=_of(_BARS, "row", "final"),
    )


def _clock(time: int) -> str:
    return datetime.fromtimestamp(time // _S, UTC).strftime("%H:%M")


def _sessions() -> Timeline:
    def at(hour: int, minute: int) -> int:
        return _MIDNIGHT + hour * _H + minute * _H // 60

    hours = {"sessions": [{"open": "2024-07-03T09:30:00Z", "close": "2024-07-03T13:00:00Z"}]}
    times = [(9, 10), (9, 40), (10, 20), (10, 50), (12, 15), (12, 45), (13, 5)]
    rows = [{**_trade(0), "ts_event": at(*time)} for time in times]

    def entry(came: Came) -> Entry:
        row = came.row
        if came.port != "out":
            return Entry(f"to the output {came.port}", "gone")
        text = f"{_clock(row['ts_open'])}-{_clock(row['ts_close'])}: {_rows(row['count'])}"
        return Entry(text, "final", row["ts_open"], row["ts_close"])

    return Timeline(
        "Bars of 1 h of a session that opens at 09:30 and closes early, at 13:00",
        play(rows, mdp.Bars("1h", calendar=hours)),
        (at(9, 0), at(13, 30)),
        _H // 2,
        _clock,
        lambda moment: f"row of {_clock(moment.item['ts_event'])}",
        entry,
        bands=(Band(at(9, 30), at(13, 0), "session"),),
        legend=_of(_BARS, "row", "final", gone="a row outside of the session"),
    )


def _window(came: Came) -> Entry:
    row = came.row
    if came.port != "out":
        return Entry(f"to the output {came.port}", "gone")
    look = "final" if row["is_final"] else "revised" if row["revision"] else "first"
    return Entry(f"{_span(row)}: {_rows(row['n'])}", look, row["ts_open"], row["ts_close"])


def _hopping() -> Timeline:
    rows = [_trade(at) for at in (4, 5, 7, 9.5, 13, 16)]
    return Timeline(
        "Windows with size 6 s and every 3 s",
        play(rows, mdp.Windows({"n": "count()"}, size="6s", every="3s")),
        (0, 21 * _S),
        3 * _S,
        _seconds,
        _row,
        _window,
        legend={"row": _BARS["row"], "final": "a window, from its start to its end"},
    )


def _activity() -> Timeline:
    rows = [_trade(at) for at in (1, 3, 4, 9.5, 10.5, 17)]
    return Timeline(
        "Sessions of activity with gap 4 s",
        play(rows, mdp.Windows({"n": "count()"}, gap="4s")),
        (0, 24 * _S),
        2 * _S,
        _seconds,
        _row,
        _window,
        legend={"row": _BARS["row"], "final": "a session; it ends the gap after its last row"},
    )


def _backfill() -> Timeline:
    numbered = [(1, 1), (2, 2), (4.2, 5), (6, 6), (2.8, 3), (3.5, 4), (8, 7), (11, 8)]
    rows = [_trade(at, sequence=number) for at, number in numbered]
    bar = _bar(
        lateness=4 * _S,
        say=lambda row: (
            f"{_rows(row['count'])}, missing {row['missing_seq']}, "
            f"revision {row['revision']}{', final' if row['is_final'] else ''}"
        ),
    )

    def entry(came: Came) -> Entry:
        row = came.row
        if came.port != "gaps":
            return bar(came)
        return Entry(
            f"to gaps: {row['kind']}, {row['rows']:+d}", "plain", row["ts_before"], row["ts_after"]
        )

    return Timeline(
        "sequence, then bars of 5 s with lateness 4 s; a second source fills the gap",
        play(rows, mdp.SequenceTracker(ttl="1min"), mdp.Bars("5s", lateness="4s")),
        (0, 15 * _S),
        5 * _S,
        _seconds,
        lambda moment: f"number {moment.item['sequence']}, of {_seconds(moment.item['ts_event'])}",
        entry,
        legend=_of(_BARS, "first", "revised", "final", "open", "row", plain="a record of the gap"),
    )


def _duplicates() -> Timeline:
    ttl = 5 * _S
    rows = [
        _trade(at, trade_id=number)
        for at, number in [(1, 1), (2, 2), (2, 2), (4, 1), (6.5, 3), (7.5, 1)]
    ]

    def entry(came: Came) -> Entry:
        at, number = came.row["ts_event"], came.row["trade_id"]
        if came.port != "out":
            return Entry(f"trade_id {number}: to the output {came.port}", "gone")
        return Entry(f"trade_id {number} passes", "first", at, at + ttl)

    return Timeline(
        "dedupe by trade_id with ttl 5 s",
        play(rows, mdp.Dedupe(["trade_id"], ttl="5s")),
        (0, 13 * _S),
        _S,
        lambda time: f"{time // _S}" if time else "0 s",
        lambda moment: (
            f"trade_id {moment.item['trade_id']}, of {_seconds(moment.item['ts_event'])}"
        ),
        entry,
        legend={
            "row": "a row that passes",
            "first": "its key is remembered until the watermark is here",
            "gone": "a duplicate",
        },
    )


def _activity_bars() -> Timeline:
    rows = [_trade(at) for at in (1, 2, 4, 3.5, 6, 7, 10, 9.5, 5, 13)]
    return Timeline(
        "Bars of 3 ticks with out_of_order 1 s",
        play(rows, mdp.Bars("3tick"), out_of_order="1s"),
        (0, 15 * _S),
        _S,
        lambda time: f"{time // _S}" if time else "0 s",
        _row,
        _bar(say=lambda row: _rows(row["count"])),
        legend={
            "row": _BARS["row"],
            "final": "a bar, from its first row to its last",
            "gone": "a late row: no bar takes it",
        },
    )


def _quote(at: float, bid: str, **more: Any) -> dict[str, Any]:
    sides = {"bid_price": bid, "bid_size": 1, "ask_price": "20", "ask_size": 1}
    return {"ts_event": round(at * _S), "symbol": "A", **sides, **more}


def _either(moment: Moment) -> str:
    item = moment.item
    what = f"quote {item['bid_price']}" if moment.side else "trade"
    received = f", got {item['ts_recv'] / _S:g} s" if "ts_recv" in item else ""
    return f"{what} of {_seconds(item['ts_event'])}{received}"


def _clocks() -> Timeline:
    behind = 1.25
    waits = [(1, 0.05), (2, 0.4), (3, 0.01), (5, 0.3), (6.5, 0.02), (7.5, -1.5), (9, 0.1)]
    rows = [_trade(at, ts_recv=round((at + wait - behind) * _S)) for at, wait in waits]

    def entry(came: Came) -> Entry | None:
        if came.port != "out":
            return None
        skewed = ", is_skewed" if came.row["is_skewed"] else ""
        text = f"clock_offset {came.row['clock_offset'] / _S:.2f} s{skewed}"
        return Entry(text, "gone" if skewed else "plain")

    return Timeline(
        "clock_skew with span 3 s; the receiving clock is 1.25 s behind",
        play(rows, mdp.ClockSkew(span="3s", bound="1s")),
        (-_S, 11 * _S),
        _S,
        _seconds,
        lambda moment: (
            f"row of {_seconds(moment.item['ts_event'])}, got {_seconds(moment.item['ts_recv'])}"
        ),
        entry,
        legend={
            "row": "a row at ts_event; the arrow leads to ts_recv",
            "gone": "a row whose own times are wrong",
        },
    )


def _stale() -> Timeline:
    quotes = [(1, "10.1"), (3, "10.2"), (5, "10.2"), (7.5, "10.2"), (8.5, "10.2"), (9.5, "10.3")]

    def entry(came: Came) -> Entry:
        if came.port == "out":
            return Entry("passes", "plain")
        return Entry(f"to rejected: {came.row['reason']}", "gone")

    return Timeline(
        "quality with stale after 4 s",
        play([_quote(*quote) for quote in quotes], mdp.Quality(stale={"after": "4s"})),
        (0, 11 * _S),
        _S,
        lambda time: f"{time // _S}" if time else "0 s",
        lambda moment: f"quote {moment.item['bid_price']} of {_seconds(moment.item['ts_event'])}",
        entry,
        legend={"row": "a quote that passes", "gone": "a stale quote"},
    )


def _matched(
    script: Sequence[tuple[int, Mapping[str, Any]]], time: str
) -> Callable[[Came], Entry]:
    quotes = {str(row["bid_price"]): row[time] for side, row in script if side}

    def entry(came: Came) -> Entry:
        row = came.row
        at, bid = row[time], row["bid_price"]
        told = f"trade of {row['ts_event'] / _S:g} s: "
        if bid is None:
            return Entry(f"{told}none within 3 s", "gone", at, at, link=True)
        ahead = ", looked_ahead" if row.get("looked_ahead") else ""
        price = f"{bid.normalize():f}"
        return Entry(f"{told}bid {price}{ahead}", "plain", quotes[price], at, link=True)

    return entry


def _asof() -> Timeline:
    script = [
        (1, _quote(1, "10.1")),
        (0, _trade(2)),
        (1, _quote(3, "10.2")),
        (0, _trade(4.5)),
        (0, _trade(8)),
        (1, _quote(7, "10.3")),
        (0, _trade(12)),
        (1, _quote(13, "10.4")),
    ]
    return Timeline(
        "asof_join backward with tolerance 3 s",
        play_join(script, mdp.AsofJoin(tolerance="3s", columns=["bid_price"])),
        (0, 15 * _S),
        _S,
        lambda time: f"{time // _S}" if time else "0 s",
        _either,
        _matched(script, "ts_event"),
        legend={
            "row": "a trade, the left row",
            "other": "a quote, the right row",
            "plain": "the quote that a trade is given",
        },
    )


def _known() -> Timeline:
    def got(at: float) -> dict[str, int]:
        return {"ts_recv": round(at * _S)}

    script = [
        (1, _quote(1, "10.1", **got(1.5))),
        (0, _trade(2, **got(2.5))),
        (0, _trade(5, **got(5.5))),
        (1, _quote(4, "10.2", **got(7))),
        (0, _trade(8, **got(8.5))),
        (1, _quote(9, "10.3", **got(9.5))),
    ]
    return Timeline(
        "asof_join on ts_recv with look_ahead: what was known",
        play_join(script, mdp.AsofJoin(on="ts_recv", look_ahead=True, columns=["bid_price"])),
        (0, 11 * _S),
        _S,
        lambda time: f"{time // _S}" if time else "0 s",
        _either,
        _matched(script, "ts_recv"),
        legend={
            "row": "a trade at ts_event; the arrow leads to ts_recv",
            "other": "a quote at ts_event; the arrow leads to ts_recv",
            "plain": "the last quote received before the trade was",
        },
    )


_PICTURES: Final[Mapping[str, Callable[[], Timeline]]] = {
    "timeline-watermark": _watermark,
    "timeline-lateness": _lateness,
    "timeline-feed-states": _feed_states,
    "timeline-sessions": _sessions,
    "timeline-hopping": _hopping,
    "timeline-activity": _activity,
    "timeline-backfill": _backfill,
    "timeline-clocks": _clocks,
    "timeline-stale": _stale,
    "timeline-dedupe": _duplicates,
    "timeline-activity-bars": _activity_bars,
    "timeline-asof": _asof,
    "timeline-known": _known,
}

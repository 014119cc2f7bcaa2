"""Pictures of timelines, drawn of what the engine gives out for a handful of rows.

Event time runs to the right and arrival downwards, as in a space-time diagram: each row of a
picture is one thing that came, with all that came out because of it. The rows of the script
go through the components themselves, one at a time, so that it is known what came out when;
then once more through `mdp.run`, which must give the same.
"""

from __future__ import annotations

__all__ = ("Band", "Came", "Entry", "Moment", "Timeline", "draw", "play", "play_join")

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from xml.sax.saxutils import escape

import pyarrow as pa

import market_data_pipeline as mdp
from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.dag.messages import Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.records import UNDEFINED, Kind
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import ScriptedSource

Row = Mapping[str, Any]

# The script played


@dataclass(frozen=True)
class Came:
    """One row that came out of an output; its columns as Python values, times in ns."""

    port: str
    row: Row


@dataclass(frozen=True)
class Moment:
    """One thing that came, the watermarks of the inputs after it, and what came out."""

    item: Any
    side: int
    watermarks: tuple[int, ...]
    came: tuple[Came, ...]


def play(script: Sequence[Any], *chain: Any, out_of_order: str = "0s") -> list[Moment]:
    """Return what comes out of a chain of operators for each item of a script, and at its end."""
    source = ScriptedSource(script, out_of_order=out_of_order)
    symbols = SymbolTable()
    reader = asyncio.run(source.open(NodeContext("rows", symbols)))
    steps = [part.build(NodeContext(f"step{at}", symbols)) for at, part in enumerate(chain)]
    watermark, moments = TIME_MIN, []
    for item in script:
        came: list[Came] = []
        for _, message in asyncio.run(reader.read()) or ():
            if isinstance(message, Batch):
                came += _through(steps, message)
                watermark = message.watermark
                came += _advanced(steps, watermark)
            elif isinstance(message, Watermark):
                watermark = message.time
                came += _advanced(steps, watermark)
            elif isinstance(message, Status):
                came += _told(steps, message)
        moments.append(Moment(item, 0, (watermark,), tuple(came)))
    came = []
    for at, step in enumerate(steps):
        came += _routed(steps[at + 1 :], step.finish())
    moments.append(Moment(None, 0, (TIME_MAX,), tuple(came)))
    dag = mdp.Dag("checked")
    stream = dag.source(source)
    for at, part in enumerate(chain):
        stream = stream.to(part, name=f"step{at}")
    stream.collect(name="kept")
    _check(moments, dag)
    return moments


def play_join(
    script: Sequence[tuple[int, Row]], join: Any, out_of_order: tuple[str, str] = ("0s", "0s")
) -> list[Moment]:
    """Return what comes out of a join for rows of its two inputs, and at their end."""
    symbols = SymbolTable()
    sources = [
        ScriptedSource([row for of, row in script if of == side], out_of_order=out_of_order[side])
        for side in (0, 1)
    ]
    schemas = (sources[0].schema(), sources[1].schema())
    readers = [asyncio.run(source.open(NodeContext("rows", symbols))) for source in sources]
    step = join.build(NodeContext("join", symbols, schemas=schemas))
    watermarks, moments = [TIME_MIN, TIME_MIN], []
    for side, row in script:
        ((_, batch),) = asyncio.run(readers[side].read())
        came = _rows_of(step.process(side, batch))
        watermarks[side] = batch.watermark
        came += _rows_of(step.advance(side, batch.watermark))
        moments.append(Moment(row, side, (watermarks[0], watermarks[1]), tuple(came)))
    came = [*_rows_of(step.advance(0, TIME_MAX)), *_rows_of(step.advance(1, TIME_MAX))]
    came += _rows_of(step.finish())
    moments.append(Moment(None, 0, (TIME_MAX, TIME_MAX), tuple(came)))
    dag = mdp.Dag("checked")
    left, right = (dag.source(sources[side], name=f"rows{side}") for side in (0, 1))
    left.join(join, right, name="join").collect(name="kept")
    _check(moments, dag)
    return moments


def _through(steps: Sequence[Any], batch: Batch) -> list[Came]:
    if not steps:
        return _rows_of([("out", batch)])
    return _routed(steps[1:], steps[0].process(batch))


def _routed(steps: Sequence[Any], outputs: Sequence[tuple[str, Batch]]) -> list[Came]:
    came: list[Came] = []
    for port, batch in outputs:
        came += _through(steps, batch) if port == "out" else _rows_of([(port, batch)])
    return came


def _advanced(steps: Sequence[Any], watermark: int) -> list[Came]:
    came: list[Came] = []
    for at, step in enumerate(steps):
        came += _routed(steps[at + 1 :], step.advance(watermark))
        watermark = step.output_watermark(watermark)
    return came


def _told(steps: Sequence[Any], status: Status) -> list[Came]:
    came: list[Came] = []
    for at, step in enumerate(steps):
        if hasattr(step, "status"):
            came += _routed(steps[at + 1 :], step.status(status))
    return came


def _rows_of(outputs: Sequence[tuple[str, Batch]]) -> list[Came]:
    return [Came(port, row) for port, batch in outputs for row in _dicts(batch)]


def _dicts(batch: Batch) -> Iterator[Row]:
    columns: dict[str, list[Any]] = {}
    for one in batch.schema:
        column: Any = batch[one.name]
        values = column.to_pylist() if one.kind is Kind.ARROW else column.tolist()
        if one.kind is Kind.SYMBOL:
            values = [batch.symbols.name(code) for code in values]
        elif one.kind is Kind.FIXED:
            values = [
                None if value == UNDEFINED else Decimal(value).scaleb(-one.scale)
                for value in values
            ]
        elif one.kind in {Kind.INT, Kind.TIME}:
            values = [None if value == UNDEFINED else value for value in values]
        columns[one.name] = values
    for at in range(len(batch)):
        yield {name: values[at] for name, values in columns.items()}


def _check(moments: Sequence[Moment], dag: mdp.Dag) -> None:
    """Hold what came out step by step against a run.

    Raises:
        AssertionError: If it is something else.
    """
    table = mdp.run(dag).to_arrow("kept")
    names = [
        name for name in ("ts_open", "ts_event", "revision", "count") if name in table.schema.names
    ]
    kept = table.select(names)
    ran = [tuple(row.values()) for row in kept.cast(_plain(kept.schema)).to_pylist()]
    played = [
        tuple(came.row[name] for name in names)
        for moment in moments
        for came in moment.came
        if came.port == "out"
    ]
    if ran != played:
        msg = f"played step by step {played} came out, in a run {ran}"
        raise AssertionError(msg)


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(one.name, pa.int64()) for one in schema])


# The picture


@dataclass(frozen=True)
class Band:
    """A stretch of event time under a name: a state of the feed, a session, an outage.

    Attributes:
        start: Where it begins, nanoseconds.
        end: Where it ends.
        text: Its name.
        look: `live`, `quiet`, `closed` or `lost`.
    """

    start: int
    end: int
    text: str
    look: str = "live"


@dataclass(frozen=True)
class Entry:
    """What is drawn for one row that came out.

    Attributes:
        text: What is written beside it.
        look: `first`, `revised`, `final`, `gone` or `plain`.
        start: Where its bar begins in event time; None for no bar.
        end: Where that ends.
        until: Up to where it can be revised.
        link: True for a line between two rows of a join, in the place of a bar.
    """

    text: str
    look: str = "plain"
    start: int | None = None
    end: int | None = None
    until: int | None = None
    link: bool = False


@dataclass(frozen=True)
class Timeline:
    """A picture.

    Attributes:
        title: What it shows.
        moments: What came, and what came out.
        span: First and last instant of the axis, nanoseconds.
        step: From one mark of the axis to the next.
        time: How an instant is written.
        arrived: What is written for a thing that came.
        entry: What is drawn for a row that came out.
        bands: Strips above the axis.
        legend: Looks that are explained below, with what they mean.
    """

    title: str
    moments: Sequence[Moment]
    span: tuple[int, int]
    step: int
    time: Callable[[int], str]
    arrived: Callable[[Moment], str]
    entry: Callable[[Came], Entry | None]
    bands: Sequence[Band] = ()
    legend: Mapping[str, str] = field(default_factory=dict)


_WIDTH: Final = 940
_LEFT: Final = 206
_RIGHT: Final = 612
_COMES: Final = 644
_HEAD: Final = 40
_LINE: Final = 21
_SIDES: Final = ("row", "other")
_STYLE: Final = """
text{font:12px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;fill:var(--ink)}
svg{--ground:#fff;--ink:#1f2937;--soft:#64748b;--hair:#e2e8f0;--past:#f1f5f9;--row:#1d4ed8;
--other:#9a3412;--first:#60a5fa;--revised:#f59e0b;--final:#22a06b;--gone:#dc2626;--plain:#94a3b8;
--live:#bbf7d0;--quiet:#dbeafe;--closed:#e2e8f0;--lost:#fecaca}
@media (prefers-color-scheme:dark){svg{--ground:#0f172a;--ink:#e5e7eb;--soft:#94a3b8;
--hair:#27344b;--past:#1a2438;--row:#93c5fd;--other:#fdba74;--first:#2563eb;--revised:#d97706;
--final:#16a34a;--gone:#f87171;--plain:#64748b;--live:#14532d;--quiet:#1e3a8a;--closed:#334155;
--lost:#7f1d1d}}
.ground{fill:var(--ground);stroke:var(--hair)}.title{font-weight:600;font-size:14px}
.soft{fill:var(--soft)}.hair{stroke:var(--hair)}.past{fill:var(--past)}
.grid{stroke:var(--soft);stroke-opacity:.35;stroke-dasharray:2 4}
.mark0{stroke:var(--row);fill:none;stroke-width:2}
.mark1{stroke:var(--other);fill:none;stroke-width:2;stroke-dasharray:6 3}
.open{stroke:var(--soft);stroke-dasharray:3 3;fill:none}
"""


def draw(picture: Timeline) -> str:
    """Return the picture as SVG: one piece, text as text, for light and for dark ground."""
    return _Drawing(picture).text()


class _Drawing:
    def __init__(self, picture: Timeline) -> None:
        self._picture = picture
        self._top = _HEAD + 26 * bool(picture.bands) + 24
        self._lines: list[tuple[int, Moment, list[Entry]]] = []
        y = self._top + 8
        for moment in picture.moments:
            entries = [entry for came in moment.came if (entry := picture.entry(came))]
            self._lines.append((y, moment, entries))
            y += _LINE * max(1, len(entries) + _is_below(entries)) + 7
        self._bottom = y

    def text(self) -> str:
        height = self._bottom + 18 + 20 * -(-(len(self._picture.legend) + 1) // 2)
        title = escape(self._picture.title)
        size = f'width="{_WIDTH}" height="{height}"'
        box = f'width="{_WIDTH - 1}" height="{height - 1}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {size}'
        parts = [
            f'{head} role="img" aria-label="{title}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" x="0.5" y="0.5" {box} rx="8"/>',
            _text(16, 25, title, "title"),
            *self._past(),
            *self._axis(),
            *self._bands(),
            *self._things(),
            *self._watermarks(),
            *self._dots(),
            *self._legend(),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _x(self, time: int) -> float:
        first, last = self._picture.span
        time = min(max(time, first), last)
        return round(_LEFT + (time - first) * (_RIGHT - _LEFT) / (last - first), 1)

    def _axis(self) -> Iterator[str]:
        first, last = self._picture.span
        y = self._top
        yield _text(16, y - 6, "what arrives, in this order", "soft")
        yield _text(_COMES, y - 6, "what comes out because of it", "soft")
        for time in range(first, last + 1, self._picture.step):
            x = self._x(time)
            yield f'<line class="grid" x1="{x}" y1="{y}" x2="{x}" y2="{self._bottom}"/>'
            label = self._picture.time(time)
            yield _text(x, y - 6, label, "soft", anchor="middle")
        for at, *_ in self._lines:
            yield f'<line class="hair" x1="12" y1="{at - 3}" x2="{_WIDTH - 12}" y2="{at - 3}"/>'

    def _bands(self) -> Iterator[str]:
        for band in self._picture.bands:
            x, end = self._x(band.start), self._x(band.end)
            yield (
                f'<rect x="{x}" y="{_HEAD}" width="{end - x:.1f}" height="18" rx="3" '
                f'fill="var(--{band.look})"/>'
            )
            yield _text((x + end) / 2, _HEAD + 13, escape(band.text), anchor="middle")

    def _things(self) -> Iterator[str]:
        for y, moment, entries in self._lines:
            told = "end of input" if moment.item is None else self._picture.arrived(moment)
            yield _text(16, y + 14, escape(told))
            for at, entry in enumerate(entries, _is_below(entries)):
                yield from self._thing(y + _LINE * at, entry)

    def _thing(self, y: int, entry: Entry) -> Iterator[str]:
        fill = f'fill="var(--{entry.look})"'
        if entry.start is not None and entry.end is not None:
            x, end = self._x(entry.start), self._x(entry.end)
            if entry.link:
                if end > x:
                    yield (
                        f'<path d="M{x} {y + 10}H{end}" stroke="var(--{entry.look})" '
                        f'stroke-width="3" fill="none"/>'
                    )
                    yield f'<circle cx="{x}" cy="{y + 10}" r="5" fill="var(--other)"/>'
                yield f'<circle cx="{end}" cy="{y + 10}" r="5" fill="var(--row)"/>'
            else:
                yield (
                    f'<rect x="{x}" y="{y + 4}" width="{max(end - x, 3):.1f}" height="12" '
                    f'rx="3" {fill}/>'
                )
            if entry.until is not None and entry.until > entry.end:
                until = self._x(entry.until)
                yield f'<path class="open" d="M{end} {y + 10}H{until}m0 -5v10"/>'
        yield f'<circle cx="{_COMES + 4}" cy="{y + 10}" r="4" {fill}/>'
        yield _text(_COMES + 14, y + 14, escape(entry.text))

    def _corners(self, side: int) -> list[tuple[float, int]]:
        """Return where a watermark goes, from above."""
        x = float(_LEFT)
        corners = [(x, self._top)]
        for y, moment, _ in self._lines:
            moved = self._x(moment.watermarks[side])
            corners += [(x, y + 10), (moved, y + 10)]
            x = moved
        return [*corners, (x, self._bottom)]

    def _past(self) -> Iterator[str]:
        if len(self._picture.moments[0].watermarks) > 1:
            return
        path = "".join(f"L{x} {y}" for x, y in self._corners(0))
        yield f'<path class="past" d="M{_LEFT} {self._top}{path}L{_LEFT} {self._bottom}z"/>'

    def _watermarks(self) -> Iterator[str]:
        for side in range(len(self._picture.moments[0].watermarks)):
            path = "L".join(f"{x} {y}" for x, y in self._corners(side))
            yield f'<path class="mark{side}" d="M{path}"/>'

    def _dots(self) -> Iterator[str]:
        for y, moment, entries in self._lines:
            if not isinstance(moment.item, Mapping):
                continue
            x, colour = self._x(moment.item["ts_event"]), _SIDES[moment.side]
            gone = any(entry.look == "gone" and entry.start is None for entry in entries)
            received = moment.item.get("ts_recv")
            if received is not None:
                end = self._x(received)
                back = 5 if end < x else -5
                yield (
                    f'<path d="M{x} {y + 10}H{end}m{back} -4l{-back} 4l{back} 4" '
                    f'stroke="var(--{colour})" fill="none" stroke-width="1.5"/>'
                )
            look = (
                'fill="var(--ground)" stroke="var(--gone)"'
                if gone
                else (f'fill="var(--{colour})" stroke="var(--ground)"')
            )
            yield f'<circle cx="{x}" cy="{y + 10}" r="5.5" {look} stroke-width="2"/>'

    def _legend(self) -> Iterator[str]:
        sides = len(self._picture.moments[0].watermarks)
        known = {"mark": "the watermark" if sides == 1 else "watermarks of the two inputs"}
        for at, (look, text) in enumerate({**known, **self._picture.legend}.items()):
            x, y = 16 + 460 * (at % 2), self._bottom + 20 + 20 * (at // 2)
            if look == "mark":
                yield f'<path class="mark0" d="M{x} {y - 4}h22"/>'
                if sides > 1:
                    yield f'<path class="mark1" d="M{x} {y}h22"/>'
            elif look == "open":
                yield f'<path class="open" d="M{x} {y - 4}h22m0 -5v10"/>'
            elif look in {"row", "other"}:
                yield f'<circle cx="{x + 11}" cy="{y - 4}" r="5" fill="var(--{look})"/>'
            elif look == "gone":
                yield (
                    f'<circle cx="{x + 11}" cy="{y - 4}" r="5" fill="var(--ground)" '
                    f'stroke="var(--gone)" stroke-width="2"/>'
                )
            else:
                yield (
                    f'<rect x="{x}" y="{y - 10}" width="22" height="12" rx="3" '
                    f'fill="var(--{look})"/>'
                )
            yield _text(x + 30, y, escape(text))


def _is_below(entries: Sequence[Entry]) -> bool:
    """Return whether what came out has a line of its own, below that of what arrived."""
    return any(entry.link for entry in entries)


def _text(x: float, y: float, text: str, look: str = "", anchor: str = "") -> str:
    classes = f' class="{look}"' if look else ""
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}"{classes}{anchored}>{text}</text>'

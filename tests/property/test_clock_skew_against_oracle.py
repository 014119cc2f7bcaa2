"""Clock skew against fractions: any cut, disorder, keys, a restart at any point."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.clock_skew import ClockSkew
from market_data_pipeline.records import TRADE, UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from support.operator_batches import batches_of

_SCHEMA = TRADE.only(("ts_event", "ts_recv", "symbol", "price", "size"))
_BILLION = 10**9


def _median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def _line(points: list[tuple[int, int]], bound: int) -> tuple[int, int, Fraction, int]:
    """Return a point of the line, its slope, and how many points it is told from."""
    points = sorted(points, key=lambda point: point[0])
    start = points[0][0]
    slope = 0
    if len(points) >= 6:
        slopes = [
            round(Fraction((b[1] - a[1]) * _BILLION, b[0] - a[0]))
            for a, b in combinations(points, 2)
            if b[0] > a[0]
        ]
        slope = _median(slopes) if slopes else 0
    rests = [y - round(Fraction(slope * (t - start), _BILLION)) for t, y in points]
    middle = _median(rests)
    spread = max(bound, 6 * _median([abs(rest - middle) for rest in rests]))
    kept = [
        point
        for point, rest in zip(points, rests, strict=True)
        if len(points) <= 2 or abs(rest - middle) <= spread
    ]
    lowest = min(kept, key=lambda point: point[1])
    flat = (*lowest, Fraction(0), len(kept))
    if len(kept) < 6:
        return flat
    mean = Fraction(sum(t for t, _ in kept), len(kept))
    best = flat
    reach = None
    for a, b in combinations(kept, 2):
        if a[0] == b[0]:
            continue
        rise = Fraction(b[1] - a[1], b[0] - a[0])
        if any(y < a[1] + rise * (t - a[0]) for t, y in kept):
            continue
        # The line that is highest at the mean time is the nearest to all points; of two
        # that meet there, the later.
        level = a[1] + rise * (mean - a[0])
        if (
            reach is None
            or (level, a[0]) > (reach[0], reach[1])
            or (level == reach[0] and rise > best[2])
        ):
            best, reach = (*a, rise, len(kept)), (level, a[0])
    return best


class Oracle:
    """One clock, with all its spans."""

    def __init__(self, span: int, spans: int, bound: int, way: int | None) -> None:
        self.span, self.spans, self.bound, self.way = span, spans, bound, way
        self.points: list[tuple[int, int]] = []
        self.begin: int | None = None
        self.rows: list[tuple[int, int]] = []
        self.difference = 0
        self.drift = 0
        self.told: list[tuple[int, ...]] = []

    @property
    def offset(self) -> int:
        return min(self.difference, 0) if self.way is None else self.difference - self.way

    def take(self, event: int, recv: int) -> tuple[int, bool]:
        difference = recv - event
        if self.begin is None:
            self.begin = recv // self.span * self.span
        elif recv >= self.begin + self.span or recv < self.begin - self.span * self.spans:
            self.close(recv)
        self.rows.append((recv, difference))
        if not self.points:
            self.difference = min(d for _, d in self.rows)
        late = bool(self.points) and difference - self.offset < -self.bound
        return self.offset, late

    def close(self, recv: int) -> None:
        before = (self.difference, self.drift)
        self.begin = recv // self.span * self.span
        now = self.begin + self.span // 2
        reach = self.span * self.spans
        self.points.append(min(self.rows, key=lambda row: row[1]))
        self.points = self.points[-self.spans :]
        near = [(t, y) for t, y in self.points if abs(t // 2 - now // 2) <= reach]
        used = 0
        if near:
            time, level, slope, used = _line(near, self.bound)
            first, last = min(t for t, _ in near), max(t for t, _ in near)
            at = min(max(now, first - reach), last + reach)
            self.difference = level + round(slope * (at - time))
            self.drift = round(slope * _BILLION)
        if (self.difference, self.drift) != before or len(self.points) == 1:
            future = sum(d < 0 for _, d in self.rows)
            told = (recv, self.difference, self.offset, self.drift, used)
            self.told.append((*told, len(self.rows), future))
        self.rows = []


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 1), st.integers(-40, 40)),
        min_size=1,
        max_size=80,
    ),
    far=st.lists(st.tuples(st.integers(0, 79), st.integers(-5_000, 5_000)), max_size=3),
    none=st.sets(st.integers(0, 79), max_size=3),
    span=st.integers(5, 60),
    spans=st.integers(3, 12),
    bound=st.integers(0, 30),
    way=st.sampled_from([None, 0, 7]),
    cuts=st.lists(st.integers(0, 80), max_size=5),
    restart=st.integers(0, 6),
)
def test_offsets_are_those_of_the_oracle(
    rows: list[tuple[int, int, int]],
    far: list[tuple[int, int]],
    none: set[int],
    span: int,
    spans: int,
    bound: int,
    way: int | None,
    cuts: list[int],
    restart: int,
) -> None:
    """Each row has the offset, each span the record that plain arithmetic gives."""
    events, received, symbols = [], [], []
    for place, (step, symbol, difference) in enumerate(rows):
        event = 10 * place + step
        symbols.append(symbol)
        events.append(event)
        away = dict(far).get(place, 0)
        received.append(UNDEFINED if place in none else event + difference + away)
    right, told = [], []
    clocks = {key: Oracle(span, spans, bound, way) for key in (0, 1)}
    for event, recv, symbol in zip(events, received, symbols, strict=True):
        clock = clocks[symbol]
        if recv == UNDEFINED:
            right.append((0 if clock.begin is None else clock.offset, False))
            continue
        right.append(clock.take(event, recv))
        told += [(symbol, *record) for record in clock.told]
        clock.told.clear()
    component = ClockSkew(
        by=["symbol"],
        span=f"{span}ns",
        spans=spans,
        bound=f"{bound}ns",
        way=None if way is None else f"{way}ns",
        correct=True,
    )
    columns = {"ts_event": events, "ts_recv": received, "symbol": symbols}
    context = NodeContext("c", symbols=SymbolTable(["AAA", "BBB", "CCC"]))
    operator = component.build(context)
    found: list[tuple[int, bool]] = []
    records: list[tuple[Any, ...]] = []
    corrected: list[int] = []
    for count, batch in enumerate(batches_of(columns, cuts=cuts, bound=9, schema=_SCHEMA)):
        if count == restart:
            state = operator.snapshot()
            operator = component.build(context)
            operator.restore(state)
        coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
        for port, out in operator.process(coded):
            if port == "out":
                offsets, late = out["clock_offset"].tolist(), out["is_skewed"].tolist()
                found += zip(offsets, late, strict=True)
                corrected += out["ts_recv"].tolist()
            else:
                names = [name for name in out.schema.names if name != "ts_event"]
                records += zip(*(out[name].tolist() for name in names), strict=True)
    assert found == right
    assert records == told
    assert corrected == [
        recv if recv == UNDEFINED else recv - offset
        for recv, (offset, _) in zip(received, right, strict=True)
    ]
    assert np.array(right).shape == (len(rows), 2)

"""A disturbed source does what its truth says and nothing else, however rows are cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.messages import Idle, Status
from market_data_pipeline.source.disturbance import Disturbance, Disturbed, Odds
from market_data_pipeline.symbols import SymbolTable
from support.readers import ticks

BOUND = 4
DELAY = 15
SKEW = 1_000
OUTAGE = 12

gaps = st.lists(st.integers(-6, 10), max_size=40)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=4)
odds = st.builds(
    Odds,
    seed=st.integers(-(2**63), 2**63),
    shares=st.tuples(*[st.sampled_from([0.0, 0.05, 0.2])] * 5),
    cuts=st.sampled_from([0.0, 0.0, 0.1]),
    places=st.integers(1, 4),
    delay=st.just(DELAY),
    skew=st.just(SKEW),
    outage=st.just(OUTAGE),
    leaves_out=st.booleans(),
)


class Outcome:
    """What came of rows numbered by their `sequence`, from 1."""

    def __init__(self, times: Sequence[int], odds: Odds, cuts: Sequence[int]) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self.flow: list[Any] = []
        self.truth: list[tuple[int, str, int]] = []
        self.counts: Counter[str] = Counter()
        self.known = TIME_MIN
        symbols = SymbolTable()
        disturbance = Disturbance(odds, symbols)
        at, turn, highest = 0, 0, TIME_MIN
        while at < len(times):
            part = times[at : at + cuts[turn % len(cuts)]]
            batch = ticks([(time, at + i + 1) for i, time in enumerate(part)], symbols)
            before, highest = highest, max(highest, *part)
            progress = Progress(before, BOUND, highest - BOUND)
            self._take(disturbance.take(batch.with_progress(progress)))
            at, turn = at + len(part), turn + 1
        rest = disturbance.finish()
        if rest is not None:
            self._take(rest)
        assert disturbance.finish() is None

    def _take(self, done: Disturbed) -> None:
        for item in done.items:
            if isinstance(item, Batch):
                assert item.progress is not None
                assert item.progress.before >= self.known
                marks = item.progress.watermarks(item.times).tolist()
                numbers = item["sequence"].tolist()
                found = list(zip(numbers, item.times.tolist(), marks, strict=True))
                self.rows += found
                self.flow += found
                self.known = item.watermark
            else:
                self.flow.append(item)
        if done.truth is not None:
            kinds = done.truth["kind"].to_pylist()
            columns = [done.truth.times.tolist(), kinds, done.truth["row"].tolist()]
            self.truth += zip(*columns, strict=True)
        self.counts["arrived"] += done.arrived
        self.counts["copies"] += done.copies
        for fate, rows in done.lost.items():
            self.counts[fate.name.lower()] += rows

    def told(self, *kinds: str) -> list[int]:
        """Return the numbers of the rows to which one of these was done."""
        return sorted(row for _, kind, row in self.truth if kind in kinds)


def times_of(gaps: Sequence[int]) -> list[int]:
    return list(accumulate(gaps, initial=0))[1:]


@given(gaps, odds, cuts, cuts)
def test_cuts_change_nothing(
    gaps: list[int], odds: Odds, cuts: list[int], others: list[int]
) -> None:
    """Rows, watermarks, states and truth are the same in whatever batches rows come."""
    first, second = (Outcome(times_of(gaps), odds, some) for some in (cuts, others))
    assert first.flow == second.flow
    assert first.truth == second.truth
    assert first.counts == second.counts


@given(gaps, odds, cuts)
def test_what_is_missing_and_what_comes_twice_is_what_the_truth_says(
    gaps: list[int], odds: Odds, cuts: list[int]
) -> None:
    """A detector that knows the sequence numbers scores full precision and recall."""
    times = times_of(gaps)
    found = Outcome(times, odds, cuts)
    seen = Counter(number for number, _, _ in found.rows)
    missing = [number for number in range(1, len(times) + 1) if number not in seen]
    assert missing == found.told("drop", "disconnect")
    assert sorted(n for n, count in seen.items() if count > 1) == found.told("duplicate")
    assert max(seen.values(), default=0) <= 2
    wrong = {number for number, time, _ in found.rows if time != times[number - 1]}
    assert sorted(wrong) == found.told("skew")
    assert all(time in {times[n - 1], times[n - 1] + SKEW} for n, time, _ in found.rows)
    assert all(time == times[number - 1] for time, _, number in found.truth)
    assert found.counts["arrived"] == len(seen)
    assert found.counts["copies"] == len(found.told("duplicate"))
    assert found.counts["drop"] == len(found.told("drop"))
    assert found.counts["disconnect"] == len(found.told("disconnect"))
    assert len({number for _, _, number in found.truth}) == len(found.truth)


@given(gaps, odds, cuts)
def test_rows_out_of_place_are_those_the_truth_says(
    gaps: list[int], odds: Odds, cuts: list[int]
) -> None:
    """A row that comes after one that followed it was moved or delayed, by what was asked."""
    times = times_of(gaps)
    found = Outcome(times, odds, cuts)
    numbers = [number for number, _, _ in found.rows]
    firsts = list(dict.fromkeys(numbers))
    newest, passed = 0, []
    for number in firsts:
        if number < newest:
            passed.append(number)
        newest = max(newest, number)
    assert sorted(passed) == found.told("reorder", "delay")
    if found.told("disconnect"):
        return
    marks = {number: mark for number, _, mark in found.rows}
    for number in found.told("delay"):
        due = times[number - 1] + DELAY
        assert marks[number] + BOUND >= min(due, max(times))
    for number in found.told("reorder"):
        over = [n for n in firsts[: firsts.index(number)] if n > number]
        assert min(over) <= number + odds.places


@given(gaps, odds, cuts)
def test_watermarks_are_those_of_the_rows_as_they_came(
    gaps: list[int], odds: Odds, cuts: list[int]
) -> None:
    """Misdated rows move none, delayed ones are late, and an outage lets none rise."""
    times = times_of(gaps)
    found = Outcome(times, odds, cuts)
    highs = list(accumulate(times, max))
    marks = [mark for _, _, mark in found.rows]
    assert marks == sorted(marks)
    lost = set(found.told("disconnect"))
    twice = set(found.told("duplicate"))
    stays = odds.shares[2:4] == (0.0, 0.0)
    for number, _, mark in found.rows:
        if stays and number not in twice:
            assert mark == highs[number - 1] - BOUND
        elif mark > TIME_MIN:
            assert mark + BOUND in {high for n, high in enumerate(highs, 1) if n not in lost}


@given(gaps, odds, cuts)
def test_an_outage_is_told_where_rows_are_missing(
    gaps: list[int], odds: Odds, cuts: list[int]
) -> None:
    """Lost rows lie between a state `disconnected` and the next `live`, and no row does."""
    times = times_of(gaps)
    found = Outcome(times, odds, cuts)
    states = [item for item in found.flow if isinstance(item, Status)]
    assert [state.state for state in states[::2]] == ["disconnected"] * len(states[::2])
    assert [state.state for state in states[1::2]] == ["live"] * len(states[1::2])
    is_cut = False
    for item in found.flow:
        if isinstance(item, Status):
            is_cut = item.state == "disconnected"
        else:
            assert not is_cut or isinstance(item, Idle)
    assert sum(isinstance(item, Idle) for item in found.flow) == odds.leaves_out * len(states[::2])
    highs = list(accumulate(times, max))
    expected = []
    ends = [state.time for state in states[1::2]]
    for number, state in enumerate(states[::2]):
        if number < len(ends):
            # The line comes back at the end, if rows are still to come.
            assert ends[number] >= min(state.time + OUTAGE, highs[-1])
        expected.append(state.time)
    lost = found.told("disconnect")
    spans = [
        [number for _, number in group]
        for _, group in groupby(enumerate(lost), key=lambda pair: pair[1] - pair[0])
    ]
    # Two outages may follow one another without a row between them.
    assert len(spans) <= len(expected)
    assert {highs[span[0] - 1] for span in spans} <= set(expected)


def test_a_line_without_faults_changes_nothing() -> None:
    """Rows and their watermarks go through as they are, and the truth is empty."""
    sound = Odds(7, (0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 5, 1, 1, 1, leaves_out=False)
    times = times_of([3, -1, 4, 0, 9])
    found = Outcome(times, sound, [2])
    marks = [high - BOUND for high in accumulate(times, max)]
    assert found.rows == list(zip(range(1, 6), times, marks, strict=True))
    assert found.truth == []


def test_shares_are_kept() -> None:
    """Of many rows as many have a fate as was asked for, each of them apart."""
    shares = (0.01, 0.02, 0.03, 0.04, 0.05)
    found = Outcome(
        list(range(50_000)), Odds(1, shares, 0.0, 5, 20, 1, 1, leaves_out=False), [9_999]
    )
    counts = Counter(kind for _, kind, _ in found.truth)
    names = ("drop", "duplicate", "reorder", "delay", "skew")
    for name, share in zip(names, shares, strict=True):
        assert abs(counts[name] / 50_000 - share) < 0.004
    other = Outcome(
        list(range(50_000)), Odds(2, shares, 0.0, 5, 20, 1, 1, leaves_out=False), [9_999]
    )
    assert other.truth != found.truth
    assert np.isclose(len(other.truth), len(found.truth), rtol=0.05)

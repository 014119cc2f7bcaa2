"""The line under points against all lines through two of them."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.kernels.skew_line import LINE, fit_line

_POINTS = st.lists(
    st.tuples(st.integers(0, 2**40), st.integers(-(2**40), 2**40)), min_size=6, max_size=14
)


def _sum_above(
    points: list[tuple[int, int]], time: int, level: Fraction, slope: Fraction
) -> Fraction:
    return sum((y - level - slope * (t - time) for t, y in points), Fraction(0))


@given(points=_POINTS)
def test_no_line_under_all_points_is_nearer_to_them(points: list[tuple[int, int]]) -> None:
    """The line lies under all points, and the sum of their distances is the least."""
    points = sorted(points)
    times = np.array([t for t, _ in points])
    differences = np.array([y for _, y in points])
    line = np.empty(LINE, np.int64)
    fit_line(times, differences, 2**61, line)
    start, level, dy, dx, kept = line.tolist()
    assert kept == len(points)
    slope = Fraction(dy, dx)
    assert all(y >= level + slope * (t - start) for t, y in points)
    best = None
    for (t1, y1), (t2, y2) in combinations(points, 2):
        if t1 == t2:
            continue
        other = Fraction(y2 - y1, t2 - t1)
        if all(y >= y1 + other * (t - t1) for t, y in points):
            total = _sum_above(points, t1, Fraction(y1), other)
            best = total if best is None else min(best, total)
    if best is not None:
        assert _sum_above(points, start, Fraction(level), slope) == best


@given(
    noise=st.lists(st.integers(0, 1_000_000), min_size=8, max_size=30),
    drift=st.integers(-1_000, 1_000),
    far=st.integers(2**44, 2**60),
    place=st.integers(0, 29),
    up=st.booleans(),
)
def test_one_point_far_away_changes_nothing(
    noise: list[int], drift: int, far: int, place: int, up: bool
) -> None:
    """What lies far off the line of all others is left out."""
    near = [(10**10 * i, drift * 10**4 * i + y) for i, y in enumerate(noise)]
    odd = (10**10 * (place % len(noise)) + 1, far if up else -far)
    lines = []
    for chosen in (near, sorted([*near, odd])):
        line = np.empty(LINE, np.int64)
        times, differences = zip(*chosen, strict=True)
        fit_line(np.array(times), np.array(differences), 10**8, line)
        lines.append(line.tolist())
    assert lines[1] == lines[0]

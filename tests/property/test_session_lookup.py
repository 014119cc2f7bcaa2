"""The lookup of intervals against a search one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.kernels.sessions import find_sessions

LOWEST, HIGHEST = -(2**63), 2**63 - 1

edges_of_intervals = st.lists(
    st.one_of(
        st.integers(-9, 9), st.integers(LOWEST, HIGHEST), st.sampled_from([LOWEST, HIGHEST])
    ),
    max_size=12,
    unique=True,
).map(lambda edges: sorted(edges)[: len(edges) // 2 * 2])


@given(edges_of_intervals, st.data())
def test_interval_of_each_time_is_the_one_that_holds_it(
    edges: list[int], data: st.DataObject
) -> None:
    """Whatever the order of the times and the gaps between intervals."""
    near = {max(LOWEST, min(HIGHEST, edge + off)) for edge in [*edges, 0] for off in (-1, 0, 1)}
    times = data.draw(st.lists(st.sampled_from(sorted(near)), max_size=30))
    pairs = list(zip(edges[::2], edges[1::2], strict=True))
    expected = [
        next((i for i, (begin, end) in enumerate(pairs) if begin <= time < end), -1)
        for time in times
    ]
    positions = np.full(len(times), -9, np.int64)
    opens, closes = np.array(edges[::2], np.int64), np.array(edges[1::2], np.int64)
    outside = find_sessions(opens, closes, np.array(times, np.int64), positions)
    assert positions.tolist() == expected
    assert outside == expected.count(-1)

"""States recorded beside rows come where their time belongs, however the file is cut."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.messages import Status, Watermark
from market_data_pipeline.source.feed import Feed
from market_data_pipeline.symbols import SymbolTable
from support.readers import ListReader

states = st.lists(
    st.builds(
        Status,
        st.sampled_from(["live", "quiet", "closed", "disconnected"]),
        st.integers(-10, 30),
        st.sampled_from([None, "A"]),
        st.one_of(st.none(), st.integers(0, 60)),
    ),
    max_size=6,
).map(lambda found: sorted(found, key=lambda status: status.time))


@given(
    st.lists(st.integers(-10, 30), max_size=20),
    states,
    st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(any),
)
def test_a_state_comes_before_the_first_row_beyond_its_time(
    times: list[int], states: list[Status], cuts: list[int]
) -> None:
    """Each once, in order; watermarks never fall, and rise with what the feed says."""
    reader = ListReader([(time, at) for at, time in enumerate(times)], cuts, SymbolTable())
    feed = Feed(reader, bound=3, states=states)
    flow: list[int | Status] = []
    marks: list[int] = []
    while (step := feed.next()) is not None:
        for item in step.items:
            if isinstance(item, Batch):
                assert item.progress is not None
                flow += item["sequence"].tolist()
                marks += item.progress.watermarks(item.times).tolist()
            elif isinstance(item, Status):
                flow.append(item)
            else:
                assert isinstance(item, Watermark)
                marks.append(item.time)

    expected: list[int | Status] = []
    left = list(states)
    known: list[int] = []
    highest = None

    def tell(status: Status) -> None:
        nonlocal highest
        expected.append(status)
        if status.key is None and status.state in {"quiet", "closed"}:
            time = status.time
            if status.state == "closed" and status.until is not None:
                time = status.until
            highest = time if highest is None else max(highest, time)
            known.append(highest - 3)

    for at, reached in enumerate(accumulate(times, max)):
        while left and left[0].time < reached:
            tell(left.pop(0))
        expected.append(at)
        highest = times[at] if highest is None else max(highest, times[at])
        known.append(highest - 3)
    for status in left:
        tell(status)
    assert flow == expected
    assert marks == known

"""The rate of a provider against a made-up store, on a clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.dag.pressure import PressureLevel
from market_data_pipeline.orchestration.settings import FeedbackSettings
from market_data_pipeline.orchestration.throttling import (
    Reading,
    Throttle,
    level_of,
    next_throttle,
)
from support.examples import fewer

SETTINGS = FeedbackSettings()
PROVIDER = 10_000.0
STEPS = 10
few = fewer(10)
"""Each example is minutes of a store's life."""

shares = st.floats(0.02, 0.6)
"""What the store can take, as a share of what the provider gives."""
buffers = st.floats(0.2, 5.0)
"""How many seconds of its own work the store holds."""


@dataclass(frozen=True)
class Moment:
    at_s: float
    scale: float
    saturation: float
    written: float


def simulate(
    capacity: Callable[[float], float], room: float, seconds: float, *, tells: bool = True
) -> list[Moment]:
    """Return how a provider fared that gives what it may, into a bounded queue.

    Args:
        capacity: Rows a second that the store takes, by the time.
        room: Rows its queue holds.
        seconds: How long.
        tells: Whether it is known what the store serves.
    """
    queue = came = written = at_s = 0.0
    throttle, level = Throttle(), PressureLevel.OK
    moments = []
    while at_s < seconds:
        came_then, written_then = came, written
        for _ in range(STEPS):
            step_s = SETTINGS.interval_s / STEPS
            can = capacity(at_s) * step_s
            given_rows = min(PROVIDER * throttle.scale * step_s, room - queue + min(queue, can))
            taken = min(queue + given_rows, can)
            queue += given_rows - taken
            came += given_rows
            written += taken
            at_s += step_s
        fresh = came - came_then
        served = (written - written_then) / fresh if tells and fresh else None
        reading = Reading("store", queue / room, served=served)
        level, why = level_of(level, reading, SETTINGS)
        throttle = next_throttle(throttle, level, why, reading, at_s, SETTINGS)
        moments.append(Moment(at_s, throttle.scale, queue / room, written))
    return moments


@few
@given(share=shares, buffer=buffers)
def test_finds_the_capacity_from_above_and_stays_there(share: float, buffer: float) -> None:
    """Within seconds the rate is near what the store takes, and it does not swing about it."""
    capacity = PROVIDER * share
    moments = simulate(lambda _: capacity, capacity * buffer, 80)
    near = next(m.at_s for m in moments if m.at_s > 1 and m.scale <= 1.3 * share)
    # The queue has to fill half before there is anything to see.
    assert near <= 4 + 0.5 * buffer * share / (1 - share)
    later = [m for m in moments if m.at_s >= 40]
    assert all(0.6 * share <= m.scale <= 1.6 * share for m in later)
    assert all(m.saturation < SETTINGS.hard_at for m in later)


@few
@given(share=shares, buffer=buffers, tells=st.booleans())
def test_store_is_kept_busy(share: float, buffer: float, tells: bool) -> None:
    """Being careful does not cost what the store could have taken."""
    capacity = PROVIDER * share
    moments = simulate(lambda _: capacity, capacity * buffer, 120, tells=tells)
    first = next(m for m in moments if m.at_s >= 60)
    last = moments[-1]
    assert last.written - first.written >= 0.9 * capacity * (last.at_s - first.at_s)


@few
@given(share=shares, buffer=buffers, tells=st.booleans())
def test_comes_back_when_the_store_does(share: float, buffer: float, tells: bool) -> None:
    """The whole budget is used again within seconds, from far below."""
    capacity = PROVIDER * share

    def recovering(at_s: float) -> float:
        return capacity if at_s < 60 else PROVIDER * 1.2

    moments = simulate(recovering, capacity * buffer, 90, tells=tells)
    back_s = next(m.at_s for m in moments if m.at_s > 60 and m.scale == 1.0)
    assert back_s <= 60 + 15


@few
@given(share=shares, buffer=buffers, tells=st.booleans())
def test_store_that_stalls_pauses_the_provider_until_it_goes_on(
    share: float, buffer: float, tells: bool
) -> None:
    """As good as nothing is given while nothing is taken; soon after, it flows again."""
    capacity = PROVIDER * share

    def stalling(at_s: float) -> float:
        return 0.0 if 20 <= at_s < 50 else capacity

    moments = simulate(stalling, capacity * buffer, 80, tells=tells)
    stalled = [m for m in moments if 20 + buffer * 2 + 5 <= m.at_s < 50]
    assert all(m.scale <= 2 * SETTINGS.scale_min for m in stalled)
    assert max(m.saturation for m in moments) <= 1.0
    assert moments[-1].scale > 0.0
    at_50 = next(m for m in moments if m.at_s >= 50)
    assert moments[-1].written - at_50.written >= 0.5 * capacity * 30


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3),
            st.none() | st.floats(0, 100),
            st.none() | st.sampled_from(PressureLevel),
            st.none() | st.floats(0, 10),
            st.floats(0, 10),
        ),
        max_size=60,
    )
)
def test_scale_is_a_share_whatever_is_told(
    told: list[tuple[float, float | None, PressureLevel | None, float | None, float]],
) -> None:
    """Any readings at any times: the scale stays in range, and is 0 just while paused."""
    chosen = FeedbackSettings(commit_soft_s=1.0)
    throttle, level, at_s = Throttle(), PressureLevel.OK, 0.0
    for saturation, commit_s, word, served, passed_s in told:
        at_s += passed_s
        reading = Reading("store", saturation, commit_s, word, served)
        level, why = level_of(level, reading, chosen)
        before = throttle
        throttle = next_throttle(throttle, level, why, reading, at_s, chosen)
        assert throttle.scale == 0.0 or chosen.scale_min <= throttle.scale <= 1.0
        assert (throttle.scale == 0.0) == (level is PressureLevel.HARD)
        assert throttle.level is level
        if level is PressureLevel.SOFT and before.scale:
            assert throttle.scale <= before.scale


@given(st.lists(st.floats(0, 1.2), min_size=1, max_size=80))
def test_level_does_not_flap_between_its_thresholds(saturations: list[float]) -> None:
    """A level changes only where a threshold was crossed that is its own."""
    level = PressureLevel.OK
    for saturation in saturations:
        before = level
        level, _ = level_of(before, Reading("store", saturation), SETTINGS)
        if before is not level:
            assert not SETTINGS.soft_below <= saturation < SETTINGS.soft_at or (
                before is PressureLevel.HARD
            )
            assert not SETTINGS.hard_below <= saturation < SETTINGS.hard_at or (
                before is PressureLevel.OK
            )

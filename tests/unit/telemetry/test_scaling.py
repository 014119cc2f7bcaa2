"""The scale hint goes up only on what more replicas can cure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.dag.figures import NodeFigures
from market_data_pipeline.dag.graph import Kind
from market_data_pipeline.dag.pressure import Pressure, PressureLevel
from market_data_pipeline.telemetry.scaling import (
    HINT_MAX,
    STORE_FULL,
    TARGET,
    Load,
    ScalingWindow,
    hint_of,
)

_SHARES = st.floats(0, 1)
_PENDING = st.one_of(st.floats(0, 1e9), st.just(math.inf))
_LOADS = st.builds(Load, _SHARES, _SHARES, _PENDING)


def figures(name: str, kind: Kind, **known: object) -> NodeFigures:
    """Return the figures of a node that has done nothing but what is said."""
    idle = NodeFigures(
        node=name,
        kind=kind,
        inputs=(),
        state="running",
        rows_in=0,
        rows_out=0,
        created=0,
        held=0,
        reasons={},
        marks={},
        bytes_in=0,
        watermark_ns=None,
        newest_ns=None,
        lag_ns=None,
        behind_ns=None,
        busy_s=0.0,
        blocked_s=0.0,
        batches=0,
        buckets=(),
        queue_rows=0,
        queue_bytes=0,
        queue_rows_max=100 if kind != "source" else 0,
        queue_bytes_max=0,
        backlog=None,
        budget_scale=None,
        pacing_waits=None,
        error=None,
    )
    return replace(idle, **known)  # type: ignore[arg-type]


def _graph(**known: Mapping[str, object]) -> dict[str, NodeFigures]:
    kinds: dict[str, Kind] = {"feed": "source", "bars": "operator", "store": "sink"}
    return {name: figures(name, kind, **known.get(name, {})) for name, kind in kinds.items()}


@given(_LOADS)
def test_hint_stays_in_its_range(load: Load) -> None:
    """Whatever the load, an autoscaler gets a number it can use."""
    assert 0 <= hint_of(load) <= HINT_MAX


@given(_LOADS)
def test_never_scales_out_where_the_store_is_the_bottleneck(load: Load) -> None:
    """More replicas would only wait in front of the store."""
    assert hint_of(replace(load, store_saturation=max(load.store_saturation, STORE_FULL))) <= 1


@given(_LOADS)
def test_never_scales_out_where_we_are_not_busy(load: Load) -> None:
    """A provider that gives no more, or a quiet feed, is not cured by replicas."""
    assert hint_of(replace(load, saturation=min(load.saturation, TARGET))) <= 1


@given(_LOADS, _SHARES)
def test_a_busier_store_never_raises_the_hint(load: Load, share: float) -> None:
    """The hint falls, or stays, as the store fills up."""
    low, high = sorted((load.store_saturation, share))
    assert hint_of(replace(load, store_saturation=high)) <= hint_of(
        replace(load, store_saturation=low)
    )


@given(_LOADS, _SHARES, _PENDING)
def test_more_to_do_never_lowers_the_hint(load: Load, share: float, pending_s: float) -> None:
    """The hint rises, or stays, with our own load and with what waits."""
    more = Load(max(load.saturation, share), load.store_saturation, max(load.pending_s, pending_s))
    assert hint_of(more) >= hint_of(load) - 1e-12


def test_busy_with_a_backlog_asks_for_more() -> None:
    """What replicas cure is told: all time used, and minutes of rows waiting."""
    window = ScalingWindow()
    window.look(0.0, _graph(), {})
    seen = window.look(
        10.0,
        _graph(
            feed={"rows_in": 10_000, "backlog": 120_000},
            bars={"busy_s": 9.5, "queue_rows": 90},
        ),
        {},
    )
    assert seen.backlog_rows == 120_090
    assert seen.load.saturation == 0.95
    assert seen.load.pending_s > 60
    assert seen.hint > 2


def test_slow_store_is_told_apart_from_a_busy_engine() -> None:
    """Full queues before a sink that waits for its store, and operators held up: not us."""
    window = ScalingWindow()
    window.look(0.0, _graph(), {})
    seen = window.look(
        10.0,
        _graph(
            feed={"rows_in": 100, "backlog": 1_000_000, "blocked_s": 9.9},
            bars={"busy_s": 0.1, "blocked_s": 9.9, "queue_rows": 100},
            store={"busy_s": 10.0, "queue_rows": 100},
        ),
        {},
    )
    assert seen.load.store_saturation == 1.0
    assert seen.load.saturation < 0.1
    assert seen.hint <= 1


def test_slow_store_is_seen_though_operators_work_meanwhile() -> None:
    """A sink that empties its queue at each write hides how full it was; its feeders tell."""
    window = ScalingWindow()
    window.look(0.0, _graph(), {})
    seen = window.look(
        10.0,
        _graph(
            feed={"rows_in": 100, "backlog": 1_000_000},
            bars={"busy_s": 4.0, "blocked_s": 6.0},
            store={"busy_s": 9.9, "inputs": ("bars",)},
        ),
        {},
    )
    assert seen.load.store_saturation > 0.95
    assert seen.hint <= 1


def test_busy_loop_is_not_taken_for_a_slow_store() -> None:
    """A sink waits for its turn too; where nobody waits for room in front of it, it is us."""
    window = ScalingWindow()
    window.look(0.0, _graph(), {})
    seen = window.look(
        10.0,
        _graph(
            feed={"rows_in": 100, "backlog": 1_000_000, "blocked_s": 9.0},
            bars={"busy_s": 9.5, "blocked_s": 0.0},
            store={"busy_s": 9.0, "inputs": ("bars",)},
        ),
        {},
    )
    assert seen.load.store_saturation == 0.0
    assert seen.hint > 2


def test_what_a_sink_says_of_itself_counts() -> None:
    """A sink that takes rows at once but asks for a pause is a store that is full."""
    window = ScalingWindow()
    window.look(0.0, _graph(), {})
    busy = _graph(feed={"rows_in": 1, "backlog": 10**6}, bars={"busy_s": 10.0})
    hard = Pressure(1, 100, level=PressureLevel.HARD)
    assert window.look(10.0, busy, {"store": hard}).hint <= 1
    assert window.look(20.0, busy, {"store": Pressure(95, 100)}).hint <= 1


def test_first_look_knows_no_rates_and_asks_for_nothing() -> None:
    """One look is no rate."""
    assert ScalingWindow().look(5.0, _graph(bars={"busy_s": 5.0}), {}).hint == 0.0


def test_two_scrapers_at_once_see_the_same() -> None:
    """A second look right after the first does not shorten the window to nothing."""
    window = ScalingWindow()
    window.look(0.0, _graph(), {})
    busy = _graph(bars={"busy_s": 10.0})
    first = window.look(10.0, busy, {})
    assert window.look(10.0, busy, {}) == first


def test_rates_are_those_of_the_last_minute() -> None:
    """What was an hour ago does not weigh."""
    window = ScalingWindow()
    for at in range(0, 600, 10):
        window.look(float(at), _graph(bars={"busy_s": float(at)}), {})
    for at in range(600, 700, 10):
        window.look(float(at), _graph(bars={"busy_s": 600.0}), {})
    seen = window.look(700.0, _graph(bars={"busy_s": 600.0}), {})
    assert seen.load.saturation == 0.0


def test_delayed_feed_is_no_backlog() -> None:
    """A feed that is always 15 minutes behind is not cured by replicas; one that falls back is."""
    window = ScalingWindow()
    delayed = {"behind_ns": 900 * 10**9}
    window.look(0.0, _graph(feed=delayed), {})
    seen = window.look(10.0, _graph(feed=delayed, bars={"busy_s": 10.0}), {})
    assert seen.lag_s == 900.0
    assert seen.load.pending_s == 0.0
    later = window.look(20.0, _graph(feed={"behind_ns": 960 * 10**9}), {})
    assert later.load.pending_s == 60.0


def test_replay_of_old_rows_has_no_lag() -> None:
    """Years behind the wall clock is no live feed."""
    seen = ScalingWindow().look(0.0, _graph(feed={"behind_ns": 10**18}), {})
    assert seen.lag_s == 0.0

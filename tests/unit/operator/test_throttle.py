"""The token bucket: by event time where it drops, by the clock where it delays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError, SnapshotError
from market_data_pipeline.operator.throttle import Throttle
from market_data_pipeline.records import REJECTED
from market_data_pipeline.testing import ManualClock
from support.operator_batches import batches_of

SECOND = 10**9


def _passed(throttle: Throttle, times: list[int]) -> tuple[list[int], dict[str, int]]:
    operator: Any = throttle.build(context := NodeContext("t"))
    columns = {"ts_event": times, "sequence": range(len(times))}
    outputs = dict(operator.process(batches_of(columns)[0]))
    passed = outputs["out"]["sequence"].tolist() if "out" in outputs else []
    return passed, context.account.reasons


def test_burst_passes_then_one_row_each_refill() -> None:
    """Two at once, then one each half second at two a second."""
    times = [0, 0, 0, SECOND // 2 - 1, SECOND // 2, SECOND, SECOND]
    passed, reasons = _passed(Throttle(2, burst=2, mode="drop"), times)
    assert passed == [0, 1, 4, 5]
    assert reasons == {"dropped": 3}


def test_bucket_holds_no_more_than_the_burst_however_long_the_pause() -> None:
    """Also where the gap is longer than nanoseconds can be multiplied by."""
    far = 2**62
    passed, _ = _passed(Throttle(1e6, burst=2, mode="drop"), [-far, far, far, far])
    assert passed == [0, 1, 2]


def test_event_time_that_falls_back_refills_nothing() -> None:
    """Or disorder would raise the rate."""
    passed, _ = _passed(Throttle(1, burst=1, mode="drop"), [SECOND, 0, SECOND, 2 * SECOND])
    assert passed == [0, 3]


def test_rates_below_one_and_with_fractions_are_exact() -> None:
    """One row each ten seconds, to the nanosecond."""
    times = [0, 10 * SECOND - 1, 10 * SECOND]
    assert _passed(Throttle(0.1, mode="drop"), times)[0] == [0, 2]


def test_delay_waits_for_the_tokens_of_a_whole_batch() -> None:
    """The burst at once; what is more, at the rate."""
    clock = ManualClock()
    operator: Any = Throttle(10, burst=5).build(NodeContext("t", clock=clock))
    batch = batches_of({"ts_event": [0] * 5})[0]
    for _ in range(3):
        ((_, out),) = asyncio.run(operator.process(batch))
        assert out is batch
    assert clock.slept_s == pytest.approx([0.5, 0.5])
    clock.advance(100)
    asyncio.run(operator.process(batch))
    assert len(clock.slept_s) == 2


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": float("inf")}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": 1, "burst": 0}, "burst"),
        ({"rate": 1, "burst": 10**12}, "burst"),
    ],
)
def test_bucket_that_cannot_be_is_refused(settings: dict[str, Any], parameter: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError) as caught:
        Throttle(**settings)
    assert caught.value.parameter == parameter


def test_dropping_needs_an_event_time() -> None:
    """Delaying does not."""
    with pytest.raises(SchemaError, match="drops by event time"):
        Throttle(1, mode="drop").output_schemas(REJECTED)
    assert Throttle(1).output_schemas(REJECTED)["out"] is REJECTED


def test_state_of_another_operator_is_refused() -> None:
    """A bucket has a level and a time."""
    with pytest.raises(SnapshotError):
        Throttle(1, mode="drop").build(NodeContext("t")).restore(Snapshot(scalars={"x": 1}))


def test_doors_of_old_lead_to_the_same_operators() -> None:
    """One implementation of anything."""
    from market_data_pipeline.contrib.operators import dedupe, ohlc_resample, router, throttle
    from market_data_pipeline.operator.bars import Bars
    from market_data_pipeline.operator.dedupe import Dedupe
    from market_data_pipeline.operator.router import Router

    assert throttle.Throttle is Throttle
    assert dedupe.Dedupe is Dedupe
    assert router.Router is Router
    assert ohlc_resample.OhlcResample is Bars

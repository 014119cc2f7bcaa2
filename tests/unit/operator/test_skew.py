"""The estimate of two clocks: offset, drift, wrong rows, how rows are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.skew import SkewMeter, estimate_skew
from market_data_pipeline.records import UNDEFINED

SECOND = 1_000_000_000
Int64s = npt.NDArray[np.int64]


def clocks(
    offset: int, drift_ppb: int, *, seconds: int = 600, delay: int = 3_000_000
) -> tuple[Int64s, Int64s]:
    """Return event times and times of reception by a clock that is off and drifts."""
    rng = np.random.default_rng(7)
    event = 1_700_000_000 * SECOND + np.arange(seconds * 50) * (SECOND // 50)
    way = delay + rng.exponential(5e6, len(event)).astype(np.int64)
    elapsed = event - event[0]
    return event, event + way + offset + elapsed // 1_000 * drift_ppb // 1_000_000


@pytest.mark.parametrize("offset", [0, -1_270_000_000, 86_400 * SECOND])
@pytest.mark.parametrize("drift", [0, 100_000, -5_000])
def test_offset_and_drift_are_found_under_the_noise_of_the_network(
    offset: int, drift: int
) -> None:
    """Delays average 8 ms; the line lies within 0.1 ms and 1 ppm of the truth."""
    event, recv = clocks(offset, drift)
    found = estimate_skew(event, recv)
    assert found is not None
    at = (found.reference_ns - offset - int(event[0])) * drift // SECOND
    assert abs(found.difference_ns - (offset + 3_000_000 + at)) < 100_000
    assert abs(found.drift_ppb - drift) < 1_000
    assert found.rows == len(event)
    assert found.future_rows == int((recv < event).sum())
    assert abs(found.difference_at(int(recv[-1])) - int((recv - event)[-200:].min())) < 500_000


def test_only_a_negative_envelope_says_that_a_clock_is_behind() -> None:
    """A positive one may be the way."""
    late, early = estimate_skew(*clocks(0, 0)), estimate_skew(*clocks(-SECOND, 0))
    assert late is not None
    assert early is not None
    assert late.behind_ns == 0
    assert early.behind_ns == -early.difference_ns > SECOND * 9 // 10


def test_rows_with_wrong_times_do_not_bend_the_line() -> None:
    """An hour in the future, a day in the past, and no time at all."""
    event, recv = clocks(-SECOND, 20_000)
    right = estimate_skew(event, recv)
    event[1_000] += 3_600 * SECOND
    event[20_000] += 3_600 * SECOND
    event[7] -= 86_400 * SECOND
    recv[9_000:9_010] = UNDEFINED
    wrong = estimate_skew(event, recv)
    assert right is not None
    assert wrong is not None
    assert wrong.rows == right.rows - 10
    assert abs(wrong.difference_ns - right.difference_ns) < 50_000
    assert abs(wrong.drift_ppb - right.drift_ppb) < 500


def test_estimate_does_not_depend_on_how_rows_are_cut_or_ordered() -> None:
    """Batches of any size, in any order, give the same."""
    event, recv = clocks(-5_000, 300, seconds=1_200)
    whole = SkewMeter(span_ns=1_000_000)
    whole.add(event, recv)
    parts = SkewMeter(span_ns=1_000_000)
    order = np.random.default_rng(3).permutation(len(event))
    for rows in np.array_split(order, 37):
        parts.add(event[rows], recv[rows])
    assert whole.estimate() == parts.estimate()


def test_no_rows_and_few_rows() -> None:
    """Nothing is known of nothing; of one row its own difference."""
    none = np.empty(0, np.int64)
    assert estimate_skew(none, none) is None
    found = estimate_skew(np.array([100, 200]), np.array([90, 195]))
    assert found is not None
    assert (found.difference_ns, found.drift_ppb, found.future_rows) == (-10, 0, 2)


def test_times_that_are_none_are_passed_over() -> None:
    """Farther than 146 years from 1970 differences could leave 64 bits."""
    ends = np.array([-(2**63), 2**63 - 2, 2**62 - 1, 1 - 2**62, 0])
    assert estimate_skew(ends[:2], ends[1::-1]) is None
    found = estimate_skew(ends, np.array([0, 0, 1 - 2**62, 2**62 - 1, 5]))
    assert found is not None
    assert (found.rows, found.future_rows) == (3, 1)


def test_span_must_be_positive() -> None:
    """A stretch of no time holds no row."""
    with pytest.raises(ConfigError, match="span_ns"):
        SkewMeter(span_ns=0)


@pytest.mark.parametrize(("market", "rows"), [("spot", 9_757), ("usdm", 21_313)])
def test_clock_of_the_binance_captures_is_behind(data_dir: Path, market: str, rows: int) -> None:
    """About 1.27 s, and drifting by some 5 ppm; each row comes from the future."""
    dag = mdp.Dag()
    path = data_dir / "binance" / f"{market}_btcusdt_20240808.gz"
    dag.source(mdp.ReplaySource(str(path))).collect(name="rows")
    table = mdp.run(dag).to_arrow("rows")
    event, recv = (table[name].cast("int64").to_numpy() for name in ("ts_event", "ts_recv"))
    found = estimate_skew(event, recv)
    assert found is not None
    assert found.rows == found.future_rows == rows
    assert 1_270_000_000 < found.behind_ns < 1_275_000_000
    assert -8_000 < found.drift_ppb < -3_000

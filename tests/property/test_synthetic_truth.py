"""The truth of synthetic markets of any settings, against a scan of their rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.source.synthetic import SyntheticSource
from support.examples import fewer

_SECOND = 1_000_000_000
_MARKETS = st.builds(
    SyntheticSource,
    rows=st.one_of(st.integers(1, 300), st.integers(65_530, 65_540), st.just(140_000)),
    kind=st.sampled_from(["trades", "quotes"]),
    symbols=st.integers(1, 400),
    seed=st.integers(0, 2**40),
    rate=st.sampled_from([3.0, 50.0, 1_000.0, 300_000.0]),
    zipf=st.sampled_from([0.0, 1.0, 3.0]),
    duplicates=st.sampled_from([0.0, 0.01, 0.25]),
    disorder=st.sampled_from([0.0, 0.01, 0.25]),
    disorder_max=st.sampled_from(["0", "1us", "500ms", "1s"]),
    late=st.sampled_from([0.0, 0.001, 0.25]),
    late_by=st.sampled_from(["0", "1s", "1min"]),
    gap=st.sampled_from([0, 1, 70]),
)


def _columns(source: SyntheticSource) -> dict[str, npt.NDArray[Any]]:
    async def read() -> list[Batch]:
        reader = await source.open(NodeContext("feed"))
        found = []
        while (outputs := await reader.read()) is not None:
            found += [batch for _, batch in outputs if isinstance(batch, Batch)]
        return found

    batches = asyncio.run(read())
    return {
        name: np.concatenate([batch[name] for batch in batches])
        for name in batches[0].schema.names
    }


@fewer(12)
@given(source=_MARKETS)
def test_truth_is_what_a_scan_finds(source: SyntheticSource) -> None:
    """Rows, copies, disorder, late rows and the gap are known exactly for any settings."""
    truth, rows = source.truth(), _columns(source)
    times, code, sequence = rows["ts_event"], rows["symbol"].astype(np.int64), rows["sequence"]
    newest = np.concatenate([times[:1], np.maximum.accumulate(times)[:-1]])
    distinct = np.unique(code << 32 | sequence)
    assert truth.rows == len(times)
    assert truth.duplicates == len(times) - len(distinct)
    assert truth.disordered == np.count_nonzero(times < newest)
    assert truth.late == np.count_nonzero(times < newest - _SECOND)
    ends = times // _SECOND * _SECOND + _SECOND
    assert truth.late_for("1s") == np.count_nonzero(ends <= newest - _SECOND)
    holes = _holes(distinct)
    gap = truth.gap
    # Numbers missing at a symbol's end cannot be seen to be missing.
    if (
        gap is not None
        and (distinct == (source.names.index(gap.symbol) << 32 | gap.last + 1)).any()
    ):
        assert holes == gap.missing
    else:
        assert holes == 0


def _holes(distinct: npt.NDArray[np.int64]) -> int:
    same = distinct[1:] >> 32 == distinct[:-1] >> 32
    firsts = np.concatenate([distinct[:1], distinct[1:][~same]]) & 0xFFFFFFFF
    inner = int((np.diff(distinct)[same] - 1).sum())
    return inner + int((firsts - 1).sum())


@fewer(30)
@given(source=_MARKETS, batch_rows=st.sampled_from([101, 5_000, 65_536, 10**7]))
def test_rows_do_not_depend_on_batches(
    source: SyntheticSource, batch_rows: Literal[101, 5_000, 65_536, 10_000_000]
) -> None:
    """Any batch size gives the same rows in the same order."""
    wanted = _columns(source)
    found = _columns(replace(source, batch_rows=batch_rows))
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)

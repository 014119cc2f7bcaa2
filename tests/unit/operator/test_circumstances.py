from __future__ import annotations

import numpy as np
import pytest

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE, FeedState
from market_data_pipeline.symbols import SymbolTable

SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size"])
SECOND = 1_000_000_000
TIMES_S = (1.0, 1.5, 3.5, 4.5, 6.0, 7.0)


def rows(times_s: tuple[float, ...], symbols: SymbolTable) -> Batch:
    times = np.array([round(time * SECOND) for time in times_s], np.int64)
    ones = np.ones(len(times), np.int64)
    codes = symbols.encode("A" for _ in times_s)
    columns = {"ts_event": times, "symbol": codes, "price": ones, "size": ones}
    return Batch(SCHEMA, columns, symbols, Progress(TIME_MIN, 0, int(times.max())))


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("2s", [(0, 1.0, "live"), (2 * SECOND, 0.0, "disconnected"), (0, 1.0, "halted")]),
        ("2tick", [(0, 1.0, "live"), (SECOND // 2, 0.5, "disconnected"), (0, 1.0, "halted")]),
    ],
)
def test_bars_tell_what_the_feed_was_like_in_their_time(
    every: str, expected: list[tuple[int, float, str]], restarts: bool
) -> None:
    """Whatever closes them, and after a restart too."""
    symbols = SymbolTable()
    operator = Bars(every).build(NodeContext("bars", symbols))
    told = (
        Status(FeedState.DISCONNECTED, 2 * SECOND, "A"),
        Status(FeedState.LIVE, 4 * SECOND, "A"),
        Status(FeedState.HALTED, 6 * SECOND),
        Status(FeedState.LIVE, 7 * SECOND),
    )
    outputs = list(operator.process(rows(TIMES_S[:2], symbols)))
    for status in told:
        outputs += operator.status(status)  # type: ignore[attr-defined]
    if restarts:
        state = operator.snapshot()
        operator = Bars(every).build(NodeContext("bars", symbols))
        operator.restore(state)
    outputs += operator.process(rows(TIMES_S[2:], symbols))
    outputs += operator.finish()
    found = [
        row
        for port, batch in outputs
        if port == "out"
        for row in zip(
            batch["gap_ns"].tolist(),
            batch["coverage"].tolist(),
            batch["feed_state"].to_pylist(),
            strict=True,
        )
    ]
    if every == "2s":
        # Windows of two seconds: [0, 2), [2, 4), [4, 6), [6, 8).
        assert found == [expected[0], expected[1], (0, 1.0, "live"), expected[2]]
    else:
        assert found == expected

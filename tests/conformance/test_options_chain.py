"""The options chain is an operator as the engine needs it."""

from __future__ import annotations

import numpy as np
import pytest

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.operator.options import OptionsChain
from market_data_pipeline.records import QUOTE, TRADE, UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator

NAMES = (
    *("AAA", "BBB", "AAA240119C00100000", "AAA240119P00110000", "BBB240119C00090000"),
    *("CCC240119C00090000", "AAA240119C00120000"),
)


@pytest.mark.parametrize("kind", ["trades", "quotes"])
@pytest.mark.parametrize("seed", [1, 2])
def test_options_chain_does_not_depend_on_how_rows_are_cut(seed: int, kind: str) -> None:
    """Any cut and any restart gives the same rows and watermarks."""
    random = np.random.default_rng(seed)
    symbols = SymbolTable(NAMES)
    before, batches = 0, []
    schema = (TRADE if kind == "trades" else QUOTE).only(
        ("ts_event", "symbol", "price", "bid_price", "ask_price")
    )
    for _ in range(4):
        rows = 12
        codes = random.integers(0, len(NAMES), rows).astype(np.int32)
        level = np.where(codes < 2, 100, 7) * 1_000_000_000
        price = level + random.integers(-1_000_000_000, 1_000_000_000, rows)
        price[random.random(rows) < 0.1] = UNDEFINED
        times = 1_700_000_000_000_000_000 + before + random.integers(0, 50, rows)
        columns = {"ts_event": times, "symbol": codes, "price": price}
        columns |= {"bid_price": price - 1_000, "ask_price": price}
        kept = {name: columns[name] for name in schema.names}
        start = int(times[0]) - 100
        batch = Batch(schema, kept, symbols)
        batches.append(batch.with_progress(Progress(start, 20, int(times.max()) - 20)))
        before += 60
    check_operator(lambda: OptionsChain(rate=0.02, dividend=0.01), batches)

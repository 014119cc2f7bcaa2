from __future__ import annotations

from market_data_pipeline.batch import TIME_MIN, Progress
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.symbols import SymbolTable
from support.nodes import UNIT, trades


def test_a_bar_that_was_given_does_not_change_when_later_bars_close() -> None:
    """What an operator gave belongs to whoever took it, also where it is a single bar."""
    symbols = SymbolTable()
    operator = Bars("1s").build(NodeContext("bars", symbols))
    first = trades([0, 5 * UNIT], symbols)
    second = trades([9 * UNIT], symbols)
    [(_, bar)] = operator.process(first.with_progress(Progress(TIME_MIN, 0, 5 * UNIT)))
    [_] = operator.process(second.with_progress(Progress(5 * UNIT, 0, 9 * UNIT)))
    assert bar["ts_open"].tolist() == [0]

from __future__ import annotations

import numpy as np

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.symbols import SymbolTable
from support.nodes import SCHEMA, UNIT, trades


def test_a_bar_that_was_given_does_not_change_when_later_bars_close() -> None:
    """What an operator gave belongs to whoever took it, also where it is a single bar."""
    symbols = SymbolTable()
    operator = Bars("1s").build(NodeContext("bars", symbols))
    first = trades([0, 5 * UNIT], symbols)
    second = trades([9 * UNIT], symbols)
    [(_, bar)] = operator.process(first.with_progress(Progress(TIME_MIN, 0, 5 * UNIT)))
    [_] = operator.process(second.with_progress(Progress(5 * UNIT, 0, 9 * UNIT)))
    assert bar["ts_open"].tolist() == [0]


def test_windows_taken_over_close_as_progress_comes() -> None:
    """Also where no row comes before it: the bars need not wait for one."""
    symbols = SymbolTable()
    stopped = Bars("10ns").build(NodeContext("bars", symbols))
    stopped.process(trades([1, 2, 13], symbols).with_progress(Progress(TIME_MIN, 20, -7)))
    operator = Bars("10ns").build(NodeContext("bars", SymbolTable()))
    operator.restore(stopped.snapshot())
    [(_, bars)] = operator.advance(11)
    assert bars["ts_open"].tolist() == [0]
    assert operator.advance(19) == ()


def test_columns_need_not_be_contiguous() -> None:
    """Rows that are columns of one matrix are as good as any."""
    wide = np.array([[1, UNIT, UNIT], [2, UNIT, UNIT], [13, UNIT, UNIT]])
    symbols = SymbolTable(["A"])
    codes = np.zeros(6, np.int32)[::2]
    columns = {"ts_event": wide[:, 0], "symbol": codes, "price": wide[:, 1], "size": wide[:, 2]}
    operator = Bars("10ns").build(NodeContext("bars", symbols))
    operator.process(Batch(SCHEMA, columns, symbols, Progress(TIME_MIN, 0, 13)))
    [(_, bars)] = operator.finish()
    assert bars["ts_open"].tolist() == [10]


def test_a_bound_that_changes_between_batches_counts_from_then_on() -> None:
    """The watermark is what each batch says it is."""
    symbols = SymbolTable()
    operator = Bars("10ns").build(NodeContext("bars", symbols))
    patient = trades([1, 2, 13], symbols).with_progress(Progress(TIME_MIN, 20, -7))
    strict = trades([14], symbols).with_progress(Progress(13, 0, 14))
    assert operator.process(patient) == []
    [(_, bars)] = operator.process(strict)
    assert bars["ts_open"].tolist() == [0]
    assert operator.process(trades([9], symbols).with_progress(Progress(14, 20, 14)))[0][0] == (
        "late"
    )


def test_a_worker_that_has_seen_no_row_adds_nothing_to_a_state() -> None:
    """With few symbols some key groups stay empty, which is no reason to refuse a merge."""
    symbols = SymbolTable()
    busy, fresh = (Bars("10ns").build(NodeContext("bars", symbols)) for _ in range(2))
    busy.process(trades([1, 2], symbols, names="AB").with_progress(Progress(TIME_MIN, 20, -18)))
    merged = Snapshot.merge([fresh.snapshot(), busy.snapshot(), fresh.snapshot()])
    assert merged.keyed["symbol"].tolist() == ["A", "B"]
    assert Snapshot.merge([fresh.snapshot(), fresh.snapshot()]).keyed == {}


def test_bars_come_out_when_the_watermark_reaches_their_end() -> None:
    """Not a nanosecond before, and not with the next row after."""
    symbols = SymbolTable()
    operator = Bars("10ns").build(NodeContext("bars", symbols))
    assert operator.process(trades([1], symbols).with_progress(Progress(TIME_MIN, 0, 1))) == []
    assert operator.advance(9) == ()
    [(_, by_progress)] = operator.advance(10)
    assert by_progress["ts_open"].tolist() == [0]
    # Row 10 of the next window and row 20, which ends it, in one batch.
    rows = trades([10, 20, 21], symbols).with_progress(Progress(10, 0, 21))
    [(_, by_row)] = operator.process(rows)
    assert by_row["ts_open"].tolist() == [10]


def test_a_row_is_late_from_the_moment_its_window_has_ended() -> None:
    """A window ends when the watermark reaches its end; the row before that is on time."""
    symbols = SymbolTable()
    operator = Bars("10ns").build(NodeContext("bars", symbols))
    rows = trades([9, 3, 10, 4], symbols).with_progress(Progress(TIME_MIN, 0, 10))
    outputs = dict(operator.process(rows))
    assert outputs["out"]["count"].tolist() == [2]
    assert outputs["late"].times.tolist() == [4]


def test_of_rows_of_one_instant_the_first_opens_and_the_last_closes() -> None:
    """Also where rows of other times come between them."""
    symbols = SymbolTable()
    operator = Bars("10ns").build(NodeContext("bars", symbols))
    times = [5, 5, 7, 7, 5, 6, 7]
    operator.process(trades(times, symbols).with_progress(Progress(TIME_MIN, 9, -2)))
    [(_, bar)] = operator.finish()
    assert (bar["open"].tolist(), bar["close"].tolist()) == ([1 * UNIT], [7 * UNIT])


def test_a_window_that_is_closed_and_opened_anew_has_its_own_rows() -> None:
    """The window most rows fall into is looked up again once it is gone."""
    symbols = SymbolTable()
    operator = Bars("10ns").build(NodeContext("bars", symbols))
    first = trades([1, 2], symbols).with_progress(Progress(TIME_MIN, 0, 2))
    operator.process(first)
    operator.advance(10)
    late = trades([3], symbols).with_progress(Progress(TIME_MIN, 0, 10, np.array([10])))
    [(port, _)] = operator.process(late)
    assert port == "late"
    assert operator.finish() == ()

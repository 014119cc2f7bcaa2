"""What joins hold, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import JoinNode, NodeContext
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError, SnapshotError
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.operator.interval_join import IntervalJoin
from market_data_pipeline.operator.trades_with_quotes import TradesWithQuotes
from market_data_pipeline.records import QUOTE, TRADE
from market_data_pipeline.symbols import SymbolTable
from support.operator_batches import ROW, batches_of


@pytest.mark.parametrize(
    "component",
    [
        AsofJoin(["sequence"], tolerance="50ns", columns=["price"]),
        AsofJoin(["sequence"], "nearest", "50ns", columns=["price"]),
        AsofJoin(["note", "sequence"], "forward", "50ns", columns=["note"]),
        IntervalJoin("-50ns", "50ns", by=["sequence"], columns=["price"]),
    ],
    ids=["backward", "nearest", "forward", "interval"],
)
def test_keys_that_come_and_go_leave_what_is_held_flat(component: JoinNode) -> None:
    """A hundred thousand keys pass; what is held is what the tolerance spans, not the keys."""
    symbols = SymbolTable(["AAA"])
    context = NodeContext("join", symbols, schemas=(ROW, ROW))
    operator = component.build(context)
    held = []
    for step in range(50):
        times = np.arange(step * 2_000, (step + 1) * 2_000)
        for side in (0, 1):
            columns: dict[str, Any] = {"ts_event": times, "sequence": times, "note": ["n"] * 2_000}
            [batch] = batches_of(columns)
            given = Batch(batch.schema, batch.columns, symbols, batch.progress)
            operator.process(side, given)
            operator.advance(side, given.watermark)
        held.append(context.account.held)
        if step == 40:
            saved = operator.snapshot()
            assert len(saved.key_groups) < 300
    assert max(held) < 10_000
    assert max(held[25:]) <= max(held[:25])
    assert sum(context.account.reasons.values()) > 80_000
    operator.finish()
    assert context.account.held == 0


def test_without_a_tolerance_one_right_row_of_each_key_is_kept() -> None:
    """The last quote of a symbol may be asked for at any time, those before it never."""
    symbols = SymbolTable(["AAA", "BBB", "CCC"])
    context = NodeContext("join", symbols, schemas=(ROW, ROW))
    operator = AsofJoin().build(context)
    columns: dict[str, Any] = {"ts_event": np.arange(900), "symbol": np.arange(900) % 3}
    for side in (1, 0):
        [batch] = batches_of(columns)
        given = Batch(batch.schema, batch.columns, symbols, batch.progress)
        operator.process(side, given)
        operator.advance(side, given.watermark)
    # The last left row waits, as a right row of its time may still come; so the last right
    # row is kept too, besides the last before it of each symbol.
    assert len(operator.snapshot().key_groups) == 1 + 1 + 3


def test_looking_ahead_needs_to_know_how_far() -> None:
    """Without a bound a left row could wait for ever."""
    with pytest.raises(ConfigError, match="`direction: forward` of `asof_join` needs a `toleranc"):
        AsofJoin(direction="forward")
    with pytest.raises(ConfigError, match="`look_ahead` of `asof_join` needs `on: ts_recv`"):
        AsofJoin(look_ahead=True)
    with pytest.raises(ConfigError, match="`upper` of `interval_join` must not be before `lower`"):
        IntervalJoin("1s", "-1s")


def test_sides_that_do_not_fit_are_refused() -> None:
    """No quotes, a key of two types, or texts to carry are named."""
    with pytest.raises(SchemaError, match="needs quotes; trade rows have no `bid_price`"):
        TradesWithQuotes().join_schemas(TRADE, TRADE)
    with pytest.raises(SchemaError, match="`carry` of `asof_join` is for numbers, `note` is"):
        AsofJoin(carry=["note"]).join_schemas(ROW, ROW)
    with pytest.raises(SchemaError, match="needs the column `prise`; did you mean `price`"):
        AsofJoin(columns=["prise"]).join_schemas(ROW, ROW)


def test_only_columns_that_are_wanted_are_read() -> None:
    """Names that the right shares with the left are read of both, so that they stay as named."""
    left, right = AsofJoin().required_inputs(frozenset({"price", "flags_right"}))
    wanted = {"symbol", "ts_event", "ts_open", "price", "flags_right", "flags"}
    assert left == right == frozenset(wanted)
    left, right = TradesWithQuotes().required_inputs(None)
    assert left is None
    assert right is not None
    assert set(QUOTE.names[3:7]) < right


def test_the_state_of_another_operator_is_refused() -> None:
    """A state is taken over by a join of the same settings only."""
    context = NodeContext("join", SymbolTable(), schemas=(ROW, ROW))
    with pytest.raises(SnapshotError, match="not one of a join by time"):
        AsofJoin().build(context).restore(Snapshot(scalars={"key.symbol": 0}))
    saved = AsofJoin(columns=["price"]).build(context).snapshot()
    with pytest.raises(SnapshotError, match="other columns; they differ in `size_right`"):
        AsofJoin(columns=["price", "size"]).build(context).restore(saved)


def test_columns_that_are_unknown_before_the_first_row_are_learnt() -> None:
    """Rows wait until both sides have shown what they are, and are joined all the same."""
    symbols = SymbolTable(["AAA"])
    context = NodeContext("join", symbols)
    operator = AsofJoin().build(context)
    [batch] = batches_of({"ts_event": [1, 2, 3], "sequence": [1, 2, 3]})
    given = Batch(batch.schema, batch.columns, symbols, batch.progress)
    assert not operator.process(0, given)
    assert not operator.advance(0, given.watermark)
    assert operator.output_watermark() < 1
    operator.process(1, given)
    found = [*operator.advance(1, given.watermark), *operator.finish()]
    assert [out["sequence_right"].tolist() for _, out in found] == [[1, 2], [3]]
    assert not context.account.held

"""What trades of several conditions update, against the rules said row by row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.conditions import Conditions
from market_data_pipeline.records import Field, Kind
from support.operator_batches import batches_of

PARTS = {"v": "volume", "h": "high_low", "o": "open_close"}
RULES = {"A": "vho", "B": "vh", "C": "v", "D": "", "E": "ho"}
TABLE = {code: [PARTS[letter] for letter in rule] for code, rule in RULES.items()}

conditions = st.none() | st.lists(st.sampled_from("ABCDE?"), max_size=4)


def _expected(row: list[str] | None) -> int:
    """Return the sum of the parts that no condition takes away."""
    left = [part for part in "vho" if all(part in RULES.get(code, "vho") for code in row or [])]
    return sum({"v": 1, "h": 2, "o": 4}[part] for part in left)


@given(st.lists(conditions, min_size=1, max_size=30), st.data())
def test_most_restrictive_condition_wins(rows: list[list[str] | None], data: Any) -> None:
    """As text and as lists, however the rows are cut."""
    cut = data.draw(st.integers(0, len(rows)))
    texts = pa.array([None if row is None else " ".join(row) for row in rows])
    lists = pa.array(rows, pa.list_(pa.string()))
    unknown = sum("?" in (row or []) for row in rows)
    for column in (texts.cast(pa.string()), lists):
        field = Field("condition", Kind.ARROW, arrow=column.type)
        whole = batches_of({"ts_event": range(len(rows))})[0]
        batch = whole.with_columns((field,), {"condition": column})
        context = NodeContext("c")
        operator = Conditions(dict(TABLE)).build(context)
        outputs = [
            *operator.process(batch.slice(0, cut)),
            *operator.process(batch.slice(cut, len(rows))),
        ]
        found = [value for _, out in outputs for value in out["updates"].tolist()]
        assert found == [_expected(row) for row in rows]
        assert context.account.marks.get("unknown_condition", 0) == unknown

"""Joins in pipeline files: inputs by name, there and back, in the schema and in drawings."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.errors import SpecError
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.operator.interval_join import IntervalJoin
from market_data_pipeline.spec.drawing import draw
from market_data_pipeline.spec.json_schema import pipeline_schema
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.writer import to_yaml

_TEXT = """
name: joined
nodes:
  deals: {source: synthetic, rows: 10}
  book: {source: synthetic, kind: quotes, rows: 10}
  join:
    operator: asof_join
    from: {left: deals, right: {node: book, rows: 100}}
    tolerance: 5s
  around: {operator: interval_join, from: {left: join.late, right: book}, lower: -1s, upper: 0s}
  out: {sink: memory, from: join}
  more: {sink: memory, from: around}
"""


def test_inputs_are_read_by_name_and_written_so() -> None:
    """The text gives edges into inputs, and the graph the same text again."""
    dag = load_text(_TEXT, check=False)
    assert dag.nodes["join"].inputs == (
        Edge("deals", into="left"),
        Edge("book", rows=100, into="right"),
    )
    assert dag.nodes["join"].component == AsofJoin(tolerance="5s")
    assert dag.nodes["around"].component == IntervalJoin("-1s", "0s")
    text = to_yaml(dag)
    assert "from: {left: deals, right: {node: book, rows: 100}}" in text
    again = load_text(text, check=False)
    assert to_yaml(again) == text
    assert again.nodes["around"].inputs == dag.nodes["around"].inputs


@pytest.mark.parametrize(
    ("reads", "text"),
    [
        ("deals", "`from` must say which input reads what, `{left: ..., right: ...}`"),
        ("[deals, book]", "`from` must say which input reads what"),
        ("{left: deals}", "`from` does not say what feeds the input `right`"),
        ("{left: deals, rigth: book}", "there is no input `rigth`; did you mean `right`?"),
        ("{left: deals, right: boook}", "there is no node `boook`; did you mean `book`?"),
        ("{left: deals, right: book.rest}", "`book` has no output `rest` (outputs: `out`)"),
    ],
)
def test_what_is_wrong_with_inputs_is_said_with_its_place(reads: str, text: str) -> None:
    """The message names the input, and the line it is on."""
    spec = _TEXT.replace("{left: deals, right: {node: book, rows: 100}}", reads)
    with pytest.raises(SpecError) as caught:
        load_text(spec, check=False)
    assert text in str(caught.value)
    assert caught.value.problems[0].line == 8


def test_a_join_that_is_misspelt_is_told_alone() -> None:
    """Inputs by name are no second problem of a component that is not known."""
    with pytest.raises(SpecError) as caught:
        load_text(_TEXT.replace("asof_join", "asof_jion"), check=False)
    assert len(caught.value.problems) == 1


def test_an_edge_into_an_input_does_not_fit_other_nodes() -> None:
    """Nodes with one input are still read from without a name."""
    spec = _TEXT.replace("from: join}", "from: {left: join}}")
    with pytest.raises(SpecError, match="an edge has no setting `left`"):
        load_text(spec, check=False)


def test_the_schema_wants_both_inputs() -> None:
    """Editors accept what the loader accepts."""
    spec: dict[str, Any] = yaml.safe_load(_TEXT)
    jsonschema.validate(spec, pipeline_schema())
    del spec["nodes"]["join"]["from"]["right"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, pipeline_schema())


@pytest.mark.parametrize("form", ["text", "dot", "mermaid", "svg"])
def test_drawings_name_the_inputs(form: str) -> None:
    """An edge into an input says which one."""
    drawn = draw(load_text(_TEXT, check=False), form)
    assert "as left" in drawn
    assert "late, as left" in drawn
    assert "as right" in drawn

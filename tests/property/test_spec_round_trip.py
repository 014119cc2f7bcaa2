"""YAML -> graph -> YAML is stable, and no text can break the reader."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.dag.graph import Dag, Edge, Policy
from market_data_pipeline.errors import Problem, SpecError
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.drawing import FORMS, draw
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.writer import to_yaml
from support.examples import fewer

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = TEXT.filter(lambda name: bool(name) and name == name.strip() and "." not in name)
DURATIONS = st.sampled_from(["1ns", "1500us", "0.5s", "90s", "1h30min", "7d"])
POLICIES: list[Policy] = ["block", "drop_oldest", "drop_newest", "conflate"]


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    """Install the toy components."""
    folder = str(Path(__file__).parents[1] / "plugin")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


def components() -> st.SearchStrategy[Any]:
    """Components of every shape of setting."""
    feed = st.fixed_dictionaries(
        {"path": TEXT},
        optional={
            "speed": st.just("max") | st.floats(0, 1e300) | st.integers(0, 10**12),
            "out_of_order": DURATIONS,
            "columns": st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
            "strict": st.booleans(),
        },
    )
    window = st.fixed_dictionaries(
        {"every": DURATIONS},
        optional={
            "key": st.lists(TEXT, max_size=3),
            "limit": st.integers(1, 10**15),
        },
    )
    split = st.fixed_dictionaries({"boxes": st.dictionaries(TEXT, TEXT, max_size=4)})
    store = st.fixed_dictionaries({"path": TEXT}, optional={"overwrite": st.booleans()})
    return st.one_of(
        feed.map(lambda s: registry.find("source", "toy_feed")(**s)),
        window.map(lambda s: registry.find("operator", "toy_window")(**s)),
        split.map(lambda s: registry.find("operator", "toy_split")(**s)),
        store.map(lambda s: registry.find("sink", "toy_store")(**s)),
    )


@st.composite
def graphs(draw: st.DrawFn) -> Dag:
    """Graphs of any names, settings and edges, also such as could not run."""
    dag = Dag(draw(TEXT.filter(lambda name: bool(name.strip()))))
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    for name in names:
        edges = st.builds(
            Edge,
            st.sampled_from(names),
            st.just("out"),
            st.sampled_from(POLICIES),
            st.integers(1, 10**9),
            st.integers(1, 10**12),
        ) | st.builds(Edge, st.sampled_from(names))
        inputs = draw(st.lists(edges, max_size=3))
        dag.add(draw(components()), name=name, inputs=inputs)
    return dag


def ports_fit(dag: Dag) -> bool:
    """Tell whether every edge reads an output that is there."""
    return all(
        edge.port in dag.nodes[edge.node].outputs
        for node in dag.nodes.values()
        for edge in node.inputs
    )


@given(graphs())
@fewer(2)
def test_a_graph_reads_back_as_itself_from_its_yaml(dag: Dag) -> None:
    """Equal nodes in equal order, and the same text when written again."""
    text = to_yaml(dag)
    if not ports_fit(dag):
        with pytest.raises(SpecError):
            load_text(text, check=False)
        return
    again = load_text(text, check=False)
    assert again.name == dag.name
    assert list(again.nodes.items()) == list(dag.nodes.items())
    assert to_yaml(again) == text
    assert yaml.safe_load(text)["name"] == dag.name


@given(graphs())
@fewer(7)
def test_any_graph_can_be_drawn(dag: Dag) -> None:
    """In every form, on lines a terminal can show."""
    for form in FORMS:
        for line in draw(dag, form).split("\n"):
            assert line.isprintable()


def only_spec_errors(text: str | bytes, *overrides: str) -> None:
    """Load a text; anything but a graph or a SpecError fails the test."""
    problems: tuple[Problem, ...] = ()
    try:
        load_text(text, overrides=overrides, check=False)
    except SpecError as err:
        problems = err.problems
    assert all(problem.line > 0 and problem.column > 0 for problem in problems)


@given(st.binary(max_size=200) | st.text(max_size=200))
@fewer(2)
def test_any_bytes_give_a_graph_or_a_told_problem(text: str | bytes) -> None:
    """Nothing else comes out of the loader."""
    only_spec_errors(text)


PIECES = st.sampled_from([
    "nodes", "name", "source", "operator", "sink", "from", "toy_feed", "toy_window", "toy_split",
    "toy_store", "toy_call", "path", "every", "boxes", "a", "b", "a.out", "node", "port", "rows",
    "1s", "5", "null", "true", "1.5", "-1", ": ", ": ", ", ", "{", "}", "[", "]", "\n  ", "\n",
    "- ", "&a ", "*a", "!x ", "'", '"', "# ", "? ", "| ", "> ", "---\n", "<<", "\t", "%", "@",
])  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join), st.lists(PIECES, max_size=6).map("".join))
def test_texts_made_of_the_right_words_give_a_graph_or_a_told_problem(
    text: str, override: str
) -> None:
    """Nearly right texts reach further into the loader than noise does."""
    only_spec_errors(text, override)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a", "b", "out", "1s"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["node", "port", "policy", "rows", "bytes", "x"]), inner)
    ),
    max_leaves=8,
)
KEYS = ["source", "operator", "sink", "from", "path", "every", "key", "limit", "columns", "boxes"]
ENTRIES = st.dictionaries(
    st.sampled_from(KEYS),
    VALUES | st.sampled_from(["toy_feed", "toy_window", "toy_split", "toy_where", "toy_store"]),
)


@given(
    st.dictionaries(st.sampled_from(["name", "nodes"]), st.dictionaries(NAMES, ENTRIES) | VALUES)
)
def test_any_values_in_any_place_give_a_graph_or_a_told_problem(spec: dict[str, Any]) -> None:
    """Every setting meets every type."""
    only_spec_errors(yaml.safe_dump(spec, allow_unicode=True))

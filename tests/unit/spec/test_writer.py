"""Graphs become the text of a pipeline file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from market_data_pipeline.dag.graph import Dag, Edge
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.registry import Kind
from market_data_pipeline.spec.writer import to_dict, to_yaml


def make(kind: Kind, name: str, **settings: object) -> Any:
    """Return a component."""
    return registry.find(kind, name)(**settings)


def graph(*nodes: tuple[str, Any, list[Edge]]) -> Dag:
    """Return a graph of nodes."""
    dag = Dag("toys")
    for name, component, inputs in nodes:
        dag.add(component, name=name, inputs=inputs)
    return dag


def test_only_what_differs_from_the_defaults_is_written() -> None:
    """One line a node while it fits."""
    dag = graph(
        ("feed", make("source", "toy_feed", path="data/*.csv", speed="max"), []),
        ("win", make("operator", "toy_window", every=timedelta(seconds=60)), [Edge("feed")]),
        ("out", make("sink", "toy_store", path="o"), [Edge("win"), Edge("win", "late")]),
        ("some", make("sink", "toy_store", path="s"), [Edge("win", policy="drop_newest")]),
    )
    assert to_yaml(dag) == (
        "name: toys\n"
        "nodes:\n"
        "  feed: {source: toy_feed, path: data/*.csv}\n"
        "  win: {operator: toy_window, from: feed, every: 1min}\n"
        "  out: {sink: toy_store, from: [win, win.late], path: o}\n"
        "  some: {sink: toy_store, from: {node: win, policy: drop_newest}, path: s}\n"
    )


def test_a_long_node_is_written_over_lines() -> None:
    """One setting a line."""
    dag = graph(("feed", make("source", "toy_feed", path="x" * 90, strict=True), []))
    text = to_yaml(dag)
    assert text.splitlines()[2:] == [
        "  feed:",
        "    source: toy_feed",
        f"    path: {'x' * 90}",
        "    strict: true",
    ]
    assert to_yaml(load_text(text, check=False)) == text


TRICKY = [
    "007", "1e3", "0o7", "0x1F", "no", "on", "1:30", "2024-01-01", "~", "", " x ", "null", "<<",
    "a: b", "a #b", "*x", "&x", "!x", "- x", "[x", "'", '"', "\\", "a\nb", "a\tb", "\x1b", "é",
    "\u2028", "\u00a0", "🙂", "%x", "@x", "`x`", "=", "1_000", ".5", ".inf", "x" * 300, "9" * 500,
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY)
def test_text_reads_back_as_the_same_text(text: str) -> None:
    """Also by a reader of YAML 1.1, which takes `no` for a boolean."""
    dag = graph(
        (
            text if text.strip() == text and "." not in text and text else "n",
            make("source", "toy_feed", path=text),
            [],
        )
    )
    written = to_yaml(dag)
    assert load_text(written, check=False).nodes == dag.nodes
    (node,) = yaml.safe_load(written)["nodes"].values()
    assert node["path"] == text


def test_a_path_is_written_as_its_text() -> None:
    """A file cannot tell the two apart."""
    dag = Dag("p")
    dag.add(make("sink", "parquet", path=Path("a") / "b.parquet"), name="s")
    assert to_dict(dag)["nodes"] == {"s": {"sink": "parquet", "path": "a/b.parquet"}}


def test_a_python_function_cannot_be_written() -> None:
    """The message names node, setting and function, and the way out."""

    def cheap(row: object) -> bool:
        return True

    dag = graph(("cheap_only", make("operator", "toy_where", where=cheap), [Edge("x")]))
    with pytest.raises(
        ConfigError, match=r"node `cheap_only` .* `where` holds the Python function"
    ):
        to_yaml(dag)
    with pytest.raises(ConfigError, match="cheap`; give an expression in its place"):
        to_yaml(dag)


def test_a_component_without_a_name_cannot_be_written() -> None:
    """The message names the node and the class."""

    class Mine:
        type_name = "mine"
        outputs = ("out",)
        side_outputs = ()
        schema = open = lambda self: None

    with pytest.raises(
        ConfigError, match=r"node `m` cannot be written as YAML: .*Mine` is not reg"
    ):
        to_yaml(graph(("m", Mine(), [])))


def test_an_object_cannot_be_written() -> None:
    """Batches in memory are no text."""
    dag = Dag("p")
    component = make("operator", "toy_split", boxes={"a": "x"})
    object.__setattr__(component, "boxes", {"a": object()})
    dag.add(component, name="s")
    with pytest.raises(ConfigError, match="node `s` cannot be written as YAML: `boxes` holds a"):
        to_yaml(dag)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_file_can_hold_is_refused(text: str) -> None:
    """NUL and half characters, in names and in settings."""
    component = make("source", "toy_feed", path="x")
    with pytest.raises(ConfigError, match="holds a NUL or half a character"):
        to_yaml(graph((text, component, [])))
    object.__setattr__(component, "path", text)
    with pytest.raises(ConfigError, match="holds a NUL or half a character"):
        to_yaml(graph(("n", component, [])))

"""Drawings of graphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.spec.drawing import FORMS, draw
from market_data_pipeline.spec.layers import lay_out
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.node_labels import clip, width_of

DIAMOND = """\
name: toys
nodes:
  feed: {source: toy_feed, path: x, out_of_order: 1s}
  slow: {operator: toy_window, from: feed, every: 1min}
  slower: {operator: toy_window, from: slow, every: 1h}
  fast: {operator: toy_where, from: feed, where: price > 5}
  both: {sink: toy_store, from: [slower, {node: fast, policy: drop_oldest}], path: both}
  late: {sink: toy_store, from: [slow.late, slower.late], path: late}
"""
HOSTILE = [
    '"]; evil', "</svg><script>alert(1)</script>", "a\nb", "\\N \\G", "&lt;", "]] -->", "`x`",
    "%%{init}%%", "#quot;", "\x1b[2J", "\ufffe", "名前" * 40, "x" * 500, "'", "\u202e", "end",
]  # fmt: skip


def diamond() -> Dag:
    """Return a graph that forks and joins."""
    return load_text(DIAMOND)


def hostile() -> Dag:
    """Return a chain of nodes whose names would break a careless drawing."""
    dag = Dag("<b>&\n\"'")
    feed = load_text("nodes: {a: {source: toy_feed, path: '<&>\"'}}", check=False).nodes["a"]
    for name in HOSTILE:
        dag.add(feed.component, name=name)
    return dag


def test_text_follows_the_data_and_names_special_edges() -> None:
    """A node with several inputs is drawn once."""
    assert draw(diamond()) == (
        "toys\n"
        "\n"
        "feed  [source toy_feed]  path=x out_of_order=1s\n"
        "├─ slow  [operator toy_window]  every=1min\n"
        "│  ├─ slower  [operator toy_window]  every=1h\n"
        "│  │  ├─ both  [sink toy_store]  path=both\n"
        "│  │  └─ (late) late  [sink toy_store]  path=late\n"
        "│  └─ (late) late (drawn above)\n"
        "└─ fast  [operator toy_where]  where=price > 5\n"
        "   │\n"
        "   (drop_oldest) both (drawn above)\n"
    )


def test_mermaid_has_every_node_and_edge() -> None:
    """Names stand in labels, never as identifiers."""
    lines = draw(diamond(), "mermaid").splitlines()
    assert lines[0] == "flowchart LR"
    assert '    n0(["feed<br/>source toy_feed"]):::source' in lines
    assert "    n0 --> n1" in lines
    assert '    n3 -- "drop_oldest" --> n4' in lines
    assert sum("--" in line for line in lines) == 7


def test_mermaid_escapes_hostile_names() -> None:
    """Every label is letters and entities between two quotes."""
    for line in draw(hostile(), "mermaid").splitlines()[1 : 1 + len(HOSTILE)]:
        label = re.fullmatch(r'    n\d+\(\["(.*)<br/>source toy_feed"\]\):::source', line)
        assert label, line
        assert re.fullmatch(r"([\w .,:…-]|#\d+;)*", label[1]), line


def test_dot_has_every_node_and_edge() -> None:
    """In one digraph."""
    text = draw(diamond(), "dot")
    assert text.startswith('digraph "toys" {\n')
    assert text.count('[label="') - text.count("->") + text.count("->") >= 6
    assert '    n3 -> n4 [label="drop_oldest"];' in text
    assert text.count(" -> ") == 7
    assert text.endswith("}\n")


def test_dot_escapes_hostile_names() -> None:
    """Every quote and backslash of a name is escaped."""
    lines = draw(hostile(), "dot").splitlines()
    assert len(lines) == 5 + len(HOSTILE)
    for line in lines[4:-1]:
        assert re.fullmatch(
            r'    n\d+ \[label="([^"\\]|\\[\\"])*\\nsource toy_feed", '
            r'fillcolor="#\w+", color="#\w+"\];',
            line,
        ), line


@pytest.mark.parametrize("dag", [diamond, hostile])
def test_svg_is_sound_and_reaches_nothing_outside(dag: Callable[[], Dag]) -> None:
    """Well-formed, no script, style sheet, identifier or link."""
    text = draw(dag(), "svg")
    root = ET.fromstring(text)  # noqa: S314
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "g", "title", "rect", "text", "path"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not attributes & {"id", "class", "href", "onload"}
    assert len(root.findall(".//{*}rect")) == len(dag().nodes)
    assert "url(" not in text


def test_svg_keeps_the_whole_name_in_the_tooltip() -> None:
    """The box shows as much as fits."""
    root = ET.fromstring(draw(hostile(), "svg"))  # noqa: S314
    titles = [title.text or "" for title in root.findall(".//{*}title")]
    assert any(title.startswith("</svg><script>alert(1)</script>") for title in titles)
    assert all(width_of(text.text or "") <= 30 for text in root.findall(".//{*}text"))


@pytest.mark.parametrize("form", FORMS)
def test_graphs_that_cannot_run_are_drawn(form: str) -> None:
    """With a cycle, with an edge from nowhere, with no node at all."""
    cycle = (
        "nodes:\n"
        "  a: {operator: toy_window, every: 1s, from: [a, b]}\n"
        "  b: {operator: toy_window, every: 1s, from: a}\n"
    )
    assert "toy_window" in draw(load_text(cycle, check=False), form)
    assert draw(Dag("empty"), form)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_graph_gives_the_same_drawing(form: str) -> None:
    """Drawings can be committed."""
    assert draw(diamond(), form) == draw(diamond(), form)


def test_an_unknown_form_gets_the_nearest() -> None:
    """All forms are named."""
    with pytest.raises(ConfigError, match="did you mean `mermaid`"):
        draw(diamond(), "mermaidd")


def test_nodes_of_a_layer_do_not_overlap_and_edges_go_right() -> None:
    """A row is the height of a node."""
    lines = ["nodes:", "  s: {source: toy_feed, path: x}"]
    for i in range(20):
        reads = f"[s, w{i // 2}]" if i > 2 else "s"
        lines.append(f"  w{i}: {{operator: toy_window, every: 1s, from: {reads}}}")
    layout = lay_out(load_text("\n".join(lines), check=False))
    for (layer_a, row_a), (layer_b, row_b) in combinations(layout.places.values(), 2):
        assert layer_a != layer_b or abs(row_a - row_b) >= 0.999
    for route in layout.routes:
        layers = [layer for layer, _ in route.points]
        assert layers == list(range(layers[0], layers[-1] + 1))
        assert len(layers) > 1
    assert min(row for _, row in layout.places.values()) >= 0


def test_text_is_clipped_by_columns() -> None:
    """A Chinese character takes two."""
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("名前名前", 6) == "名前…"
    assert clip("a\x1b\nb", 9) == "a\ufffd\ufffdb"

"""Pipeline files become graphs, or say what is wrong where."""

from __future__ import annotations

from pathlib import Path

import pytest

from market_data_pipeline.dag.component import settings_of
from market_data_pipeline.dag.graph import Dag, Edge
from market_data_pipeline.errors import ConfigError, CycleError, SpecError
from market_data_pipeline.spec.loader import MAX_NODES, load_file, load_text

GOOD = """\
name: toys
nodes:
  late: {sink: toy_store, from: win.late, path: late}
  feed: {source: toy_feed, path: "data/*.parquet", out_of_order: 1s}
  win:  {operator: toy_window, from: feed, every: 1s}
  out:
    sink: toy_store
    from: {node: win, policy: drop_oldest, rows: 10}
    path: out
"""


def refused(text: str, *overrides: str) -> SpecError:
    """Return the error a text is refused with."""
    with pytest.raises(SpecError) as caught:
        load_text(text, file="p.yaml", overrides=overrides)
    return caught.value


def places(err: SpecError) -> list[tuple[int, int]]:
    """Return the places of all problems."""
    return [(problem.line, problem.column) for problem in err.problems]


def test_a_file_becomes_a_graph_in_its_own_order() -> None:
    """Nodes may be named before they are described."""
    dag = load_text(GOOD)
    assert dag.name == "toys"
    assert list(dag.nodes) == ["late", "feed", "win", "out"]
    assert dag.nodes["win"].inputs == (Edge("feed"),)
    assert dag.nodes["late"].inputs == (Edge("win", "late"),)
    assert dag.nodes["out"].inputs == (Edge("win", policy="drop_oldest", rows=10),)
    assert settings_of(dag.nodes["feed"].component)["out_of_order"] == "1s"


def test_json_makes_the_same_graph() -> None:
    """One format is as good as the other."""
    text = (
        '{"nodes": {"a": {"source": "toy_feed", "path": "x"},\n'
        '\t"b": {"sink": "toy_store", "from": ["a", "a.rejected"], "path": "y"}}}'
    )
    dag = load_text(text, file="deals.json", check=False)
    assert dag.name == "deals"
    assert dag.nodes["b"].inputs == (Edge("a"), Edge("a", "rejected"))


def test_a_subclass_of_the_graph_can_be_made() -> None:
    """The fluent graph is one."""

    class Fluent(Dag):
        pass

    assert type(load_text(GOOD, dag_type=Fluent)) is Fluent


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    """Each with its own place and way out."""
    err = refused(
        "nmae: x\n"
        "nodes:\n"
        "  a: {source: toy_fed, path: x}\n"
        "  b: {source: toy_feed, path: 5}\n"
        "  c: {operator: toy_window, from: bb, every: 1s, kye: [x]}\n"
        "  d: {sink: toy_store, from: g.rejcted, path: x}\n"
        "  e: {sink: toy_store, from: {node: b, polcy: block}, path: x}\n"
        "  f: 5\n"
        "  g: {source: toy_feed, path: x}\n"
    )
    assert places(err) == [
        (1, 1),
        (3, 15),
        (4, 31),
        (5, 35),
        (5, 50),
        (6, 30),
        (7, 40),
        (8, 6),
    ]
    lines = [problem.message for problem in err.problems]
    for line, word in zip(
        lines,
        ["`name`", "`toy_feed`", "string, was 5", "`b`", "`key`", "`rejected`", "`policy`", "`5`"],
        strict=True,
    ):
        assert word in line
    assert (err.file, err.line, err.column) == ("p.yaml", 1, 1)


def test_a_flood_of_problems_is_cut() -> None:
    """Twenty are told, the others counted."""
    err = refused("nodes: {}\n" + "\n".join(f"k{i}: 1" for i in range(500)))
    assert len(err.problems) == 20
    assert str(err).endswith("\nand 481 more problems")


@pytest.mark.parametrize(
    ("node", "column", "words"),
    [
        ("{path: x}", 3, "needs one of `source`, `operator`, `sink`"),
        ("{soruce: toy_feed, path: x}", 7, "did you mean `source`?"),
        ("{source: toy_feed, sink: toy_store, path: x}", 25, "a node is one of them"),
        ("{source: [toy_feed], path: x}", 15, "must name a component, found a list"),
        ("{sink: toy_feed, path: x}", 13, "write `source: toy_feed`"),
        ("{source: toy_feed}", 3, "needs the setting `path`"),
        ("{source: toy_feed, path: x, speed: fast}", 41, "number or 'max', was 'fast'"),
        ("{source: toy_feed, path: x, out_of_order: 1 week}", 48, "number and a unit"),
        ("{operator: toy_window, from: a, every: 1s, limit: 0}", 56, "positive, was 0"),
        ("{operator: toy_window, from: a, every: 1s, from: a}", 49, "twice"),
        ("{operator: toy_window, from: 5, every: 1s}", 35, "found `5`"),
        ("{operator: toy_window, from: [[a]], every: 1s}", 36, "found a list"),
        ("{operator: toy_window, from: {port: out}, every: 1s}", 35, "needs the key `node`"),
        ("{operator: toy_window, from: {node: a, rows: ten}, every: 1s}", 51, "an integer"),
        ("{operator: toy_window, from: {node: a, rows: true}, every: 1s}", 51, "an integer"),
        ("{operator: toy_window, from: {node: a, rows: 0}, every: 1s}", 51, "positive"),
        ("{operator: toy_window, from: {node: a, policy: drop}, every: 1s}", 53, "`drop_"),
        ("{operator: toy_window, from: {node: a, policy: null}, every: 1s}", 53, "nothing"),
        ("{operator: toy_window, from: {node: 7}, every: 1s}", 42, "must be text"),
    ],
)
def test_a_wrong_node_is_told_at_the_word_at_fault(node: str, column: int, words: str) -> None:
    """Expected, found, and the nearest name where there is one."""
    err = refused(f"nodes:\n  a: {node}\n")
    assert (2, column) in places(err)
    assert words in str(err)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("5", 1, "expected a mapping with `nodes`, found `5`"),
        ("name: x", 1, "`nodes` is missing"),
        ("nodes: []", 1, "must be a mapping from names to nodes, found a list"),
        ("nodes: {}", 1, "`nodes` is empty"),
        ("name: 5\nnodes: {a: {source: toy_feed, path: x}}", 1, "`name` must be text"),
        ("nodes:\n  a.b: {source: toy_feed, path: x}", 2, "must not be empty or hold a dot"),
        ("nodes:\n  '': {source: toy_feed, path: x}", 2, "must not be empty"),
    ],
)
def test_a_wrong_frame_is_told(text: str, line: int, words: str) -> None:
    """What surrounds the nodes."""
    err = refused(text)
    assert err.line == line
    assert words in str(err)


def test_a_cycle_is_told_with_its_path_and_a_line() -> None:
    """The error of the graph is the cause."""
    err = refused(
        "nodes:\n"
        "  s: {source: toy_feed, path: x}\n"
        "  a: {operator: toy_window, every: 1s, from: [s, b]}\n"
        "  b: {operator: toy_window, every: 1s, from: a}\n"
        "  o: {sink: toy_store, path: x, from: b}\n"
    )
    assert isinstance(err.__cause__, CycleError)
    assert "a -> b -> a" in str(err)
    assert err.line in {3, 4}


FEED = "nodes:\n  s: {source: toy_feed, path: x}\n"
READ = "  o: {sink: toy_store, path: x, from: s}\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (FEED, (2, 3), "nobody reads `s.out`"),
        (
            f"{FEED}{READ}  t: {{source: toy_feed, path: x, from: s}}\n",
            (4, 40),
            "is a source and cannot read",
        ),
        (
            f"{FEED}  o: {{sink: toy_store, path: x, from: {{node: s, policy: conflate}}}}\n",
            (3, 39),
            "of which every row counts",
        ),
        ("nodes:\n  o: {sink: toy_store, path: x}\n", (2, 3), "reads from nothing"),
        (f"{FEED}{READ}  p: {{sink: toy_store, path: x, from: o}}\n", (4, 39), "has no output"),
    ],
)
def test_what_the_graph_finds_is_told_at_its_line(
    text: str, place: tuple[int, int], words: str
) -> None:
    """At the edge if it is about an edge, else at the name."""
    err = refused(text)
    assert places(err) == [place]
    assert words in str(err)


def test_a_graph_can_be_read_unchecked_to_be_drawn() -> None:
    """A cycle is seen best in a drawing."""
    text = "nodes:\n  a: {operator: toy_window, every: 1s, from: a}\n"
    assert list(load_text(text, check=False).nodes) == ["a"]


def test_an_override_replaces_or_adds_a_setting() -> None:
    """Its value is YAML: numbers, text and lists."""
    dag = load_text(
        GOOD,
        overrides=["win.every=5s", "win.key=[symbol, venue]", 'out.path="5"', "late.from=win"],
    )
    win, out = dag.nodes["win"].component, dag.nodes["out"].component
    assert settings_of(win) == {"every": "5s", "key": ("symbol", "venue")}
    assert settings_of(out) == {"path": "5"}
    assert dag.nodes["late"].inputs == (Edge("win"),)


def test_an_override_can_mend_the_file() -> None:
    """The value in the file is not looked at."""
    assert load_text(GOOD.replace("every: 1s", "every: soon"), overrides=["win.every=1s"])


@pytest.mark.parametrize(
    ("override", "column", "words"),
    [
        ("win.every", 1, "expected `node.key=value`"),
        ("every=5", 1, "expected `node.key=value`"),
        ("wni.every=5s", 1, "did you mean `win`?"),
        ("win.evry=5s", 5, "did you mean `every`?"),
        ("win.limit=many", 11, "was 'many'"),
        ("win.limit= -1", 12, "must be positive, was -1"),
        ("win.limit=", 11, "was None"),
        ("win.key=[a", 10, "not YAML"),
        ("win.key=&x [a]", 9, "anchor"),
        ("win.from=fed", 10, "did you mean `feed`?"),
    ],
)
def test_a_wrong_override_is_told_at_its_own_text(override: str, column: int, words: str) -> None:
    """The file is not blamed."""
    err = refused(GOOD, override)
    assert err.file == f"--set {override}"
    assert places(err) == [(1, column)]
    assert words in str(err)


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    """Its stem is the name of a pipeline without one."""
    path = tmp_path / "deals.yaml"
    path.write_text(GOOD.removeprefix("name: toys\n"))
    assert load_file(path).name == "deals"
    path.write_bytes(b"nodes: \xff")
    with pytest.raises(SpecError, match=r"deals\.yaml:1:8: the byte 0xff is not UTF-8"):
        load_file(path)


def test_a_file_that_is_not_there_gets_the_nearest(tmp_path: Path) -> None:
    """Among the files beside it."""
    (tmp_path / "pipeline.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"did you mean `pipeline\.yaml`"):
        load_file(tmp_path / "pipline.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_file(tmp_path / "no" / "pipeline.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_file(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_file("a\0b")


def test_a_file_of_too_many_nodes_is_refused() -> None:
    """The bound keeps every walk over a graph short."""
    nodes = "\n".join(f"  n{i}: {{}}" for i in range(MAX_NODES + 1))
    assert f"at most {MAX_NODES}" in str(refused(f"nodes:\n{nodes}\n"))


def test_the_longest_chain_loads_and_validates() -> None:
    """As many nodes in a row as a file may have."""
    lines = ["nodes:", "  n0: {source: toy_feed, path: x}"]
    lines += [
        f"  n{i}: {{operator: toy_window, every: 1s, from: n{i - 1}}}"
        for i in range(MAX_NODES - 2, 0, -1)
    ]
    lines += [f"  o: {{sink: toy_store, path: x, from: n{MAX_NODES - 2}}}"]
    assert len(load_text("\n".join(lines)).nodes) == MAX_NODES


def hostile_names() -> list[str]:
    """Return two hundred names made to break a reader."""
    seeds = ["", " ", ".", "..", "a.b", "~", "null", "true", "no", "<<", "=", "-", "?", ":", "|"]
    seeds += ["__class__", "from", "nodes", "source", "os.system('x')", "$(ls)", "`ls`", "%s%n"]
    seeds += [
        "{0}",
        "{{",
        "]]",
        "<script>",
        "'; drop table x;--",
        '"',
        "\\",
        "/etc/passwd",
        "../x",
    ]
    seeds += ["\u202eabc", "\u0000", "\x1b[2J", "a\nb", "a\rb", "\ud800", "\ufeff", "\ufffe", "é"]
    seeds += ["名前", "🙂" * 50, "x" * 10_000, "1", "-1", "1e5", "0x10", "\t", "a b", "a\u00a0b"]
    return (seeds + [a + b for a in seeds[:20] for b in seeds[20:30]])[:200]


@pytest.mark.parametrize("name", hostile_names())
def test_a_hostile_name_is_taken_as_a_name_or_refused_cleanly(name: str) -> None:
    """As a node, a component, a key and an input; never another error."""
    quoted = "'" + name.replace("'", "''") + "'"
    texts = [
        f"nodes:\n  {quoted}: {{source: toy_feed, path: x}}\n",
        f"nodes:\n  a: {{source: {quoted}, path: x}}\n",
        f"nodes:\n  a: {{source: toy_feed, path: x, {quoted}: 1}}\n",
        f"nodes:\n  a: {{sink: toy_store, path: x, from: {quoted}}}\n",
        f"{quoted}: 1\n",
    ]
    for text in texts:
        with pytest.raises(SpecError) as caught:
            load_text(text, file="p")
        shown = str(caught.value)
        assert all(line.isprintable() for line in shown.split("\n"))
        assert len(shown) < 40_000

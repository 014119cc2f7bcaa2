from __future__ import annotations

from collections.abc import Callable

import pytest

from market_data_pipeline.dag.graph import Dag, Edge
from market_data_pipeline.errors import (
    ConfigError,
    CycleError,
    DuplicateNodeError,
    GraphError,
    PortError,
    SchemaError,
    UnconnectedNodeError,
    UnknownNodeError,
)
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE, Field, Kind
from support.nodes import RecordingSink, ScriptedSource


def graph(*nodes: tuple[str, object, list[Edge]]) -> Dag:
    dag = Dag("test")
    for name, component, inputs in nodes:
        dag.add(component, name=name, inputs=inputs)
    return dag


SOURCE, BARS, SINK = ScriptedSource([]), Bars("1s"), RecordingSink([])


def test_a_sound_graph_is_accepted_and_ordered() -> None:
    """Each node comes after those it reads, whatever the order of adding."""
    dag = graph(
        ("store", SINK, [Edge("bars")]), ("bars", BARS, [Edge("ticks")]), ("ticks", SOURCE, [])
    )
    dag.validate()
    assert [node.name for node in dag.order()] == ["ticks", "bars", "store"]
    assert [node.kind for node in dag.order()] == ["source", "operator", "sink"]


def test_a_cycle_is_told_with_its_path() -> None:
    """The path names every node of the circle."""
    dag = graph(("a", BARS, [Edge("b")]), ("b", BARS, [Edge("c")]), ("c", BARS, [Edge("a")]))
    with pytest.raises(CycleError, match="a -> b -> c -> a"):
        dag.validate()


def test_an_unknown_node_is_told_with_the_nearest_name() -> None:
    """A typo is easy to see."""
    dag = graph(("ticks", SOURCE, []), ("bars", BARS, [Edge("tcks")]))
    with pytest.raises(UnknownNodeError, match="did you mean `ticks`"):
        dag.validate()


def test_two_nodes_of_one_name_are_refused() -> None:
    """A name means one node; without one, a free name is made."""
    dag = graph(("ticks", SOURCE, []))
    with pytest.raises(DuplicateNodeError, match="two nodes named `ticks`"):
        dag.add(SOURCE, name="ticks")
    assert [dag.add(SOURCE).name, dag.add(SOURCE).name] == ["scripted", "scripted_2"]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (graph, GraphError, "has no nodes"),
        (lambda: graph(("ticks", SOURCE, [])), UnconnectedNodeError, "nobody reads `ticks.out`"),
        (
            lambda: graph(("ticks", SOURCE, []), ("s", SINK, [Edge("ticks")]), ("b", BARS, [])),
            UnconnectedNodeError,
            "`b` reads from nothing",
        ),
        (
            lambda: graph(("ticks", SOURCE, []), ("b", BARS, []), ("s", SINK, [Edge("b")])),
            UnconnectedNodeError,
            "`b` reads from nothing",
        ),
        (
            lambda: graph(("ticks", SOURCE, []), ("s", SINK, [Edge("ticks", "lates")])),
            PortError,
            r"`ticks` has no such output \(outputs: `out`\)",
        ),
        (
            lambda: graph(("ticks", SOURCE, []), ("s", SINK, [Edge("ticks"), Edge("ticks")])),
            PortError,
            "reads from `ticks.out` twice",
        ),
        (
            lambda: graph(("x", SOURCE, []), ("ticks", SOURCE, [Edge("x")])),
            PortError,
            "is a source and cannot read",
        ),
        (
            lambda: graph(
                ("ticks", SOURCE, []),
                ("bars", BARS, [Edge("ticks")]),
                ("again", Bars("5tick"), [Edge("bars")]),
                ("s", SINK, [Edge("again")]),
            ),
            SchemaError,
            "node `again`: `bars` needs `price`, which is not there",
        ),
        (
            lambda: graph(
                ("ticks", SOURCE, []),
                ("bars", BARS, [Edge("ticks")]),
                ("s", SINK, [Edge("ticks"), Edge("bars")]),
            ),
            SchemaError,
            "do not have the same columns",
        ),
    ],
)
def test_a_graph_that_cannot_run_is_refused(
    make: Callable[[], Dag], error: type[GraphError], match: str
) -> None:
    """Each defect has its error, which names the node and the way out."""
    with pytest.raises(error, match=match):
        make().validate()


def test_what_is_no_component_is_refused() -> None:
    """Only sources, operators and sinks can be nodes, and names cannot hold a dot."""
    with pytest.raises(ConfigError, match="needs a source, an operator or a sink"):
        Dag().add(object())
    for name in ("a.b", "", " a"):
        with pytest.raises(ConfigError, match="must not be empty or hold a dot"):
            Dag().add(SOURCE, name=name)


def test_a_long_chain_is_ordered() -> None:
    """The length of a graph is not bounded by the depth of Python's stack."""
    nodes = [(f"n{at}", BARS, [Edge(f"n{at - 1}")]) for at in range(1, 5_000)]
    assert len(graph(*reversed(nodes), ("n0", SOURCE, [])).order()) == 5_000


def test_edges_are_checked() -> None:
    """A capacity is positive, a policy is one of four."""
    with pytest.raises(ConfigError, match="`rows` of an edge must be positive"):
        Edge("a", rows=0)
    with pytest.raises(ConfigError, match="did you mean `drop_oldest`"):
        Edge("a", policy="drop_oldst")  # type: ignore[arg-type]


def test_only_columns_that_are_read_are_required() -> None:
    """A source may skip what nobody looks at, unless a sink takes whole rows."""
    nodes = [("ticks", SOURCE, []), ("bars", BARS, [Edge("ticks")]), ("s", SINK, [Edge("bars")])]
    required = graph(*nodes).required_columns()["ticks"]
    assert required is not None
    assert {"symbol", "price", "size"} <= required
    assert "side" not in required
    late = ("late", SINK, [Edge("bars", "late")])
    assert graph(*nodes, late).required_columns()["ticks"] is None


def test_a_column_that_is_read_with_another_is_not_required_without_it() -> None:
    """Bars need the ids of trades only where actions refer to them, or may do so."""
    nodes = [("ticks", SOURCE, []), ("bars", BARS, [Edge("ticks")]), ("s", SINK, [Edge("bars")])]
    dag = graph(*nodes)
    corrected = TRADE.having(Field("action", Kind.CHAR))
    for schema, is_read in ((TRADE, False), (corrected, True), (None, True)):
        required = dag.required_columns({("ticks", "out"): schema})["ticks"]
        assert required is not None
        assert ("trade_id" in required) is is_read

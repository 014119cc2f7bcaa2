"""A pipeline file becomes a graph.

    name: eurusd-bars
    nodes:
      ticks: {source: replay, path: "data/*.parquet", out_of_order: 1s}
      bars:  {operator: bars, from: ticks, every: 1s}
      store: {sink: parquet, from: bars, path: bars.parquet}
      late:  {sink: parquet, from: bars.late, path: late.parquet}

Every entry of `nodes` is `source`, `operator` or `sink` with the name of a component, what
it reads (`from`), and the component's settings. `from` is `node`, `node.port`, a mapping
`{node:, port:, policy:, rows:, bytes:}`, or a list of these; for a join it is a mapping
from its inputs, `{left: trades, right: quotes}`. `checkpoint: {path: state}` beside `nodes`
makes runs go on where they were killed. Paths are taken from the
working directory of the process, wherever the file lies.
"""

from __future__ import annotations

__all__ = ("MAX_NODES", "load_file", "load_text")

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final, TypeVar, overload

from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.errors import (
    ConfigError,
    GraphError,
    Problem,
    SpecError,
    UnconnectedNodeError,
    nearest,
)
from market_data_pipeline.spec.excerpts import shown
from market_data_pipeline.spec.node_entry import NodeEntry, make_component, read_node
from market_data_pipeline.spec.overrides import apply_override
from market_data_pipeline.spec.yaml_text import MAX_BYTES, Value, parse_yaml

D = TypeVar("D", bound=Dag)

MAX_NODES: Final = 400
"""Most nodes in one file."""

_MOST_PROBLEMS: Final = 20
_TOP_KEYS: Final = ("name", "checkpoint", "nodes")
_TOP_LIST: Final = ", ".join(f"`{key}`" for key in _TOP_KEYS)


@overload
def load_file(path: str | Path, *, overrides: Sequence[str] = (), check: bool = True) -> Dag: ...
@overload
def load_file(
    path: str | Path, *, overrides: Sequence[str] = (), dag_type: type[D], check: bool = True
) -> D: ...
def load_file(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    dag_type: type[Dag] = Dag,
    check: bool = True,
) -> Dag:
    """Read a pipeline file, YAML or JSON.

    Args:
        path: The file.
        overrides: Settings that replace those in the file, each `node.key=value`.
        dag_type: The class of the graph to make.
        check: Validate the graph as a whole; this looks at the inputs it names.

    Raises:
        SpecError: If the file is no graph that could run.
        ConfigError: If the file cannot be read.
        InputError: If `check` finds that an input is missing or cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as err:
        msg = f"there is no file `{path}`{_neighbour(path)}"
        raise ConfigError(msg) from err
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        msg = f"the file `{path}` cannot be read: {reason}"
        raise ConfigError(msg) from err
    return load_text(data, file=str(path), overrides=overrides, dag_type=dag_type, check=check)


@overload
def load_text(
    text: str | bytes,
    *,
    file: str = "pipeline",
    overrides: Sequence[str] = (),
    check: bool = True,
) -> Dag: ...
@overload
def load_text(
    text: str | bytes,
    *,
    file: str = "pipeline",
    overrides: Sequence[str] = (),
    dag_type: type[D],
    check: bool = True,
) -> D: ...
def load_text(
    text: str | bytes,
    *,
    file: str = "pipeline",
    overrides: Sequence[str] = (),
    dag_type: type[Dag] = Dag,
    check: bool = True,
) -> Dag:
    """Read the text of a pipeline file; as `load_file`.

    Args:
        text: YAML or JSON; bytes are UTF-8.
        file: Name of the file, for messages; a pipeline without `name` is named by it.
        overrides: Settings that replace those in the text, each `node.key=value`.
        dag_type: The class of the graph to make.
        check: Validate the graph as a whole; this looks at the inputs it names.

    Raises:
        SpecError: If the text is no graph that could run.
        InputError: If `check` finds that an input is missing or cannot be read.
    """
    root = parse_yaml(text, file)
    problems: list[Problem] = []
    nodes = _nodes(root, problems)
    for override in overrides:
        problems.extend(apply_override(nodes, override))
    entries = {name: read_node(name, value, nodes, problems) for name, value in nodes.items()}
    for entry in entries.values():
        problems.extend(_port_problems(entry, entries))
    name = _name(root, file, problems)
    checkpoint = _checkpoint(root, problems)
    if problems:
        raise _error(problems, file)
    dag = dag_type(name, checkpoint=checkpoint)
    for entry in entries.values():
        _add(dag, entry)
    if check:
        try:
            dag.validate()
        except GraphError as err:
            place = _place_of(err, entries, root)
            raise SpecError([place.problem(str(err))]) from err
    return dag


def _nodes(root: Value, problems: list[Problem]) -> dict[str, Value]:
    if not isinstance(root.content, dict):
        problem = root.problem(f"expected a mapping with `nodes`, found {root.kind}")
        raise SpecError([problem])
    for key, value in root.content.items():
        if key not in _TOP_KEYS:
            msg = f"unknown key `{shown(key)}`{nearest(key, _TOP_KEYS)} (keys: {_TOP_LIST})"
            problems.append((value.key or value).problem(msg))
    nodes = root.content.get("nodes")
    if nodes is None:
        problems.append(root.problem("the key `nodes` is missing; it holds the nodes by name"))
        return {}
    if not isinstance(nodes.content, dict):
        msg = f"`nodes` must be a mapping from names to nodes, found {nodes.kind}"
        problems.append(nodes.problem(msg))
        return {}
    if not nodes.content:
        problems.append(nodes.problem("`nodes` is empty; add a source and a sink"))
    if len(nodes.content) > MAX_NODES:
        msg = f"`nodes` has {len(nodes.content)} nodes; a file has at most {MAX_NODES}"
        raise SpecError([nodes.problem(msg)])
    return nodes.content


def _name(root: Value, file: str, problems: list[Problem]) -> str:
    name = root.content.get("name") if isinstance(root.content, dict) else None
    if name is None:
        return PurePath(file).stem or "pipeline"
    if isinstance(name.content, str) and name.content.strip():
        return name.content
    problems.append(name.problem(f"`name` must be text, found {name.kind}"))
    return ""


def _checkpoint(root: Value, problems: list[Problem]) -> Checkpoint | None:
    value = root.content.get("checkpoint") if isinstance(root.content, dict) else None
    if value is None:
        return None
    if not isinstance(value.content, dict):
        msg = f"`checkpoint` must be a mapping such as `{{path: state}}`, found {value.kind}"
        problems.append(value.problem(msg))
        return None
    made: Checkpoint | None = make_component(Checkpoint, value, value.content, problems)
    return made


def _port_problems(entry: NodeEntry, entries: dict[str, NodeEntry]) -> list[Problem]:
    found = []
    for edge, place in entry.inputs:
        giver = entries[edge.node]
        if giver.outputs is None or edge.port in giver.outputs:
            continue
        if not giver.outputs:
            found.append(place.problem(f"`{shown(edge.node)}` is a sink; a sink has no output"))
            continue
        outputs = ", ".join(f"`{port}`" for port in giver.outputs)
        msg = (
            f"`{shown(edge.node)}` has no output `{shown(edge.port)}`"
            f"{nearest(edge.port, giver.outputs)} (outputs: {outputs})"
        )
        found.append(place.problem(msg))
    return found


def _add(dag: Dag, entry: NodeEntry) -> None:
    try:
        dag.add(entry.component, name=entry.name, inputs=[edge for edge, _ in entry.inputs])
    except (ConfigError, GraphError) as err:
        raise SpecError([entry.key.problem(str(err))]) from err


def _place_of(err: GraphError, entries: dict[str, NodeEntry], root: Value) -> Value:
    entry = entries.get(err.node or "")
    if entry is None:
        return root
    reads = not isinstance(err, UnconnectedNodeError)
    return entry.reads if reads and entry.reads is not None else entry.key


def _error(problems: list[Problem], file: str) -> SpecError:
    ordered = sorted(problems, key=lambda p: (p.file != file, p.line, p.column))
    return SpecError(ordered[:_MOST_PROBLEMS], further=len(ordered[_MOST_PROBLEMS:]))


def _neighbour(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix in {".yaml", ".yml", ".json"}]
    except (OSError, ValueError):
        return f"; the folder `{path.parent}` cannot be read"
    return nearest(path.name, names)

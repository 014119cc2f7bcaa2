"""What a component is in a graph: a source, an operator, a join or a sink."""

from __future__ import annotations

__all__ = ("Component", "is_component", "is_join", "is_sink", "is_source", "is_transform")

from typing import Any, Final, TypeAlias, TypeGuard

from market_data_pipeline.dag.nodes import JoinNode, SinkNode, SourceNode, TransformNode

Component: TypeAlias = SourceNode | TransformNode | JoinNode | SinkNode

# Asking whether something fulfils a protocol takes microseconds, and it is asked dozens of
# times before a graph runs.
_KNOWN: Final[dict[tuple[type, Any], bool]] = {}


def is_source(component: object) -> TypeGuard[SourceNode]:
    """Tell whether something can be a source."""
    return _fulfils(component, SourceNode)


def is_transform(component: object) -> TypeGuard[TransformNode]:
    """Tell whether something can be an operator."""
    return _fulfils(component, TransformNode)


def is_join(component: object) -> TypeGuard[JoinNode]:
    """Tell whether something can be an operator with two inputs."""
    return _fulfils(component, JoinNode)


def is_sink(component: object) -> TypeGuard[SinkNode]:
    """Tell whether something can be a sink."""
    return _fulfils(component, SinkNode)


def is_component(thing: object) -> TypeGuard[Component]:
    """Tell whether something can be a node of a graph."""
    return is_source(thing) or is_transform(thing) or is_join(thing) or is_sink(thing)


def _fulfils(component: object, protocol: Any) -> bool:
    key = (type(component), protocol)
    known = _KNOWN.get(key)
    if known is None:
        known = _KNOWN[key] = isinstance(component, protocol)
    return known

"""Look at the outputs of a graph before it runs, or instead of running it."""

from __future__ import annotations

__all__ = ("check_outputs",)

from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.nodes import SinkNode


def check_outputs(dag: Dag) -> None:
    """Do nothing if every sink could write its output.

    Raises:
        OutputExistsError: If an output exists and may not be replaced.
        OutputError: If one cannot be written.
    """
    for node in dag.nodes.values():
        if isinstance(node.component, SinkNode):
            node.component.check()

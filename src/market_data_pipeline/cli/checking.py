"""Look at the outputs of a graph before it runs, or instead of running it."""

from __future__ import annotations

__all__ = ("check_outputs",)

from contextlib import closing

from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.checkpoints.stores import store_at
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.nodes import SinkNode


def check_outputs(dag: Dag) -> None:
    """Do nothing if every sink could write its output.

    Raises:
        OutputExistsError: If an output exists and may not be replaced.
        OutputError: If one cannot be written.
    """
    if dag.checkpoint is not None and _goes_on(dag.checkpoint):
        return  # the outputs exist because they are gone on with
    for node in dag.nodes.values():
        if isinstance(node.component, SinkNode):
            node.component.check()


def _goes_on(checkpoint: Checkpoint) -> bool:
    with closing(store_at(checkpoint.path)) as store:
        return bool(store.decided())

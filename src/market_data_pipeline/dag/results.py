"""What a run did, and the way to what it wrote."""

from __future__ import annotations

__all__ = ("RunResult",)

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pyarrow as pa

from market_data_pipeline.dag.channel_statistics import ChannelStatistics
from market_data_pipeline.dag.checkpoints.figures import CheckpointFigures
from market_data_pipeline.dag.graph import Dag, Node
from market_data_pipeline.dag.metrics import Ledger
from market_data_pipeline.dag.nodes import SinkNode
from market_data_pipeline.errors import GraphError, MissingDependencyError, UnknownNodeError


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did.

    Attributes:
        dag: The graph that ran.
        ledger: Where every row went.
        seconds: From opening the sources to the outputs being published.
        interrupted: True if the run was told to stop before its sources ended; the
            outputs then cover what was read until then.
        edges: Statistics of the channels, by reading node and (node, port) read from.
        checkpoints: How the checkpoints did, None in a run without.
        was_complete: True if an earlier run had come to the end already, and this one did
            nothing.
    """

    dag: Dag
    ledger: Ledger
    seconds: float
    interrupted: bool
    edges: Mapping[tuple[str, tuple[str, str]], ChannelStatistics]
    checkpoints: CheckpointFigures | None = None
    was_complete: bool = False

    @property
    def rows_read(self) -> int:
        """Rows that the sources read."""
        sources = [node.name for node in self.dag.nodes.values() if node.kind == "source"]
        return sum(self.ledger[name].rows_in for name in sources)

    def __str__(self) -> str:
        note = "interrupted after" if self.interrupted else "done in"
        return f"{self.dag.name}: {note} {self.seconds:.2f} s\n{self.ledger}"

    def to_arrow(self, node: str | Node) -> pa.Table:
        """Return the rows of a sink, or those an operator or source gave to a sink.

        They are read back from the output, which may hold rows of earlier runs where the
        sink appends.

        Args:
            node: A sink, or a node one of whose outputs a sink reads: the node itself, or
                its name as `node` or `node.port`.

        Raises:
            UnknownNodeError: If there is no such node.
            GraphError: If no sink reads from it.
        """
        sink = self._sink_of(node.name if isinstance(node, Node) else node)
        if not isinstance(sink.component, SinkNode):
            msg = f"`{sink.name}` is no sink"
            raise GraphError(msg, node=sink.name)
        return sink.component.read()

    def to_polars(self, node: str | Node) -> Any:
        """Return the same as a Polars data frame; see `to_arrow`.

        Raises:
            MissingDependencyError: If Polars is not installed.
        """
        try:
            import polars as pl
        except ImportError:
            raise MissingDependencyError(package="polars", extra="polars") from None
        return pl.from_arrow(self.to_arrow(node))

    def to_pandas(self, node: str | Node) -> Any:
        """Return the same as a pandas data frame; see `to_arrow`.

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: F401
        except ImportError:
            raise MissingDependencyError(package="pandas", extra="pandas") from None
        return self.to_arrow(node).to_pandas()

    def _sink_of(self, name: str) -> Node:
        stem, _, port = name.partition(".")
        if stem not in self.dag.nodes:
            raise UnknownNodeError(stem, self.dag.nodes)
        node = self.dag.nodes[stem]
        if node.kind == "sink":
            return node
        for reader, edge in self.dag.consumers(stem):
            if reader.kind == "sink" and edge.port == (port or "out"):
                return reader
        msg = f"no sink reads from `{name}`; attach one with `.collect()`"
        raise GraphError(msg, node=stem)

    def _repr_html_(self) -> str:
        """Return the ledger as a table, for notebooks."""
        rows = self.ledger.to_dicts()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell(row.get(column))}</td>" for column in columns) + "</tr>"
            for row in rows
        )
        rate = self.rows_read / self.seconds if self.seconds else 0.0
        note = "interrupted after" if self.interrupted else "done in"
        return (
            f"<p><b>{escape(self.dag.name)}</b>: {note} {self.seconds:.2f} s, "
            f"{self.rows_read:,} rows, {rate:,.0f} rows/s</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value or ""))

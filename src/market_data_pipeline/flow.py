"""The Python door: a graph written as a chain of calls."""

from __future__ import annotations

__all__ = ("Dag", "Stream", "load")

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from market_data_pipeline.batcher.batch import BatchRows
from market_data_pipeline.dag import graph
from market_data_pipeline.dag.graph import Edge, Node, Policy
from market_data_pipeline.dag.nodes import JoinNode, SinkNode, SourceNode, TransformNode
from market_data_pipeline.errors import ConfigError, PortError, nearest
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.operator.assign import Assign
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.operator.clock_skew import ClockSkew
from market_data_pipeline.operator.conditions import Conditions
from market_data_pipeline.operator.dedupe import Dedupe
from market_data_pipeline.operator.filter import Filter
from market_data_pipeline.operator.interval_join import IntervalJoin
from market_data_pipeline.operator.map import Map
from market_data_pipeline.operator.quality import Quality
from market_data_pipeline.operator.router import Router
from market_data_pipeline.operator.select import Select
from market_data_pipeline.operator.sequence import SequenceTracker
from market_data_pipeline.operator.sessions import TradingSessions
from market_data_pipeline.operator.throttle import Throttle
from market_data_pipeline.operator.trades_with_quotes import TradesWithQuotes
from market_data_pipeline.operator.union import Union
from market_data_pipeline.operator.windows import Windows
from market_data_pipeline.sink.memory import MemorySink

Unit = Literal["rows", "batches", "frames"]


class Dag(graph.Dag):
    """A directed acyclic graph of sources, operators and sinks.

    Start with `source`, go on with the methods of the `Stream` it returns, run it with
    `run`. The YAML door makes the same graphs.

    Attributes:
        name: What the pipeline is called.
        checkpoint: Where its runs keep checkpoints; None for none.
    """

    def source(self, component: SourceNode, *, name: str | None = None) -> Stream:
        """Add a source and return what it gives.

        Args:
            component: The source's settings, such as `ReplaySource("ticks.parquet")`.
            name: The node's name; the component's type by default.

        Raises:
            DuplicateNodeError: If the name is taken.
        """
        return Stream(self, self.add(component, name=name), "out")

    def to_yaml(self) -> str:
        """Return the graph as a pipeline file.

        Raises:
            ConfigError: If a node holds what no file can, such as a Python function.
        """
        from market_data_pipeline.spec.writer import to_yaml

        return to_yaml(self)

    def to_svg(self) -> str:
        """Return a drawing of the graph as SVG text."""
        from market_data_pipeline.spec.drawing import draw

        return draw(self, "svg")

    def __repr__(self) -> str:
        return f"<Dag {self.name}: {', '.join(self.nodes) or 'no nodes'}>"

    def __str__(self) -> str:
        from market_data_pipeline.spec.drawing import draw

        return draw(self, "text")

    def _repr_html_(self) -> str:
        return self.to_svg()


class Stream:
    """The rows of one output of a node; every method adds a node that reads them.

    Attributes:
        dag: The graph.
        node: The node.
        port: The output.
        reads: The edge by which the next node reads it.
    """

    def __init__(self, dag: Dag, node: Node, port: str, edge: Edge | None = None) -> None:
        self.dag = dag
        self.node = node
        self.port = port
        self.reads = edge or Edge(node.name, port)

    def __repr__(self) -> str:
        return f"<Stream {self.node.name}.{self.port} of {self.dag.name}>"

    def __getattr__(self, port: str) -> Stream:
        # A port reads like an attribute: `bars.late`.
        if not port.startswith("_") and port in self.node.outputs:
            return self.output(port)
        msg = f"`{self.node.name}` has no output and a stream no method `{port}`"
        raise AttributeError(msg + nearest(port, [*self.node.outputs, *dir(Stream)]))

    def output(self, port: str) -> Stream:
        """Return another output of the same node, such as `late`.

        Raises:
            PortError: If the node has no such output.
        """
        if port not in self.node.outputs:
            names = ", ".join(f"`{name}`" for name in self.node.outputs)
            hint = nearest(port, self.node.outputs)
            msg = f"`{self.node.name}` has no output `{port}`{hint} (outputs: {names})"
            raise PortError(msg, node=self.node.name)
        return Stream(self.dag, self.node, port)

    def edge(
        self,
        *,
        policy: Policy = "block",
        rows: int | None = None,
        bytes: int | None = None,  # noqa: A002
    ) -> Stream:
        """Return the same rows, with the next node's channel set up otherwise.

        Args:
            policy: What a full channel does; see `Edge`.
            rows: Capacity in rows.
            bytes: Capacity in bytes.
        """
        edge = replace(
            self.reads,
            policy=policy,
            rows=self.reads.rows if rows is None else rows,
            bytes=self.reads.bytes if bytes is None else bytes,
        )
        return Stream(self.dag, self.node, self.port, edge)

    def to(self, component: TransformNode, *others: Stream, name: str | None = None) -> Stream:
        """Add any operator, reading this stream and, merged by event time, others."""
        inputs = [self.reads, *(other.reads for other in others)]
        node = self.dag.add(component, name=name, inputs=inputs)
        return Stream(self.dag, node, "out" if "out" in node.outputs else node.outputs[0])

    def join(self, component: JoinNode, other: Stream, *, name: str | None = None) -> Stream:
        """Add any join: this stream feeds its first input, the other one its second."""
        first, second = component.inputs
        inputs = [replace(self.reads, into=first), replace(other.reads, into=second)]
        node = self.dag.add(component, name=name, inputs=inputs)
        return Stream(self.dag, node, "out")

    def join_asof(
        self,
        other: Stream,
        *,
        by: str | Sequence[str] = "symbol",
        direction: Literal["backward", "forward", "nearest"] = "backward",
        tolerance: str | timedelta | None = None,
        name: str | None = None,
        **settings: Any,
    ) -> Stream:
        """Give each row the other stream's row as of its time; see `AsofJoin`."""
        component = AsofJoin(_listed(by), direction, tolerance, **settings)
        return self.join(component, other, name=name)

    def join_interval(
        self,
        other: Stream,
        *,
        lower: str | timedelta,
        upper: str | timedelta,
        by: str | Sequence[str] = "symbol",
        name: str | None = None,
        **settings: Any,
    ) -> Stream:
        """Pair each row with the other stream's rows around its time; see `IntervalJoin`."""
        component = IntervalJoin(lower, upper, _listed(by), **settings)
        return self.join(component, other, name=name)

    def with_quotes(self, quotes: Stream, *, name: str | None = None, **settings: Any) -> Stream:
        """Give each trade the quote that prevailed; see `TradesWithQuotes`."""
        return self.join(TradesWithQuotes(**settings), quotes, name=name)

    def sink(self, component: SinkNode, *others: Stream, name: str | None = None) -> Node:
        """Add a sink; return its node."""
        inputs = [self.reads, *(other.reads for other in others)]
        return self.dag.add(component, name=name, inputs=inputs)

    def collect(self, *, name: str | None = None) -> Node:
        """Keep the rows in memory, for `RunResult.to_arrow` and its like."""
        return self.sink(MemorySink(), name=name)

    def bars(self, every: str | timedelta, *, name: str | None = None, **settings: Any) -> Stream:
        """Make bars; see `Bars`, also for the settings."""
        return self.to(Bars(every, **settings), name=name)

    def conditions(
        self,
        table: str | Mapping[str, Any] = "us_equity",
        *,
        column: str = "condition",
        suspicious: str | None = None,
        unknown: Literal["keep", "reject"] = "keep",
        bits: bool = False,
        name: str | None = None,
    ) -> Stream:
        """Say which figures of a bar each trade may update; see `Conditions`."""
        settings: Any = {
            "column": column,
            "suspicious": suspicious,
            "unknown": unknown,
            "bits": bits,
        }
        rules: Any = table if isinstance(table, str) else dict(table)
        return self.to(Conditions(rules, **settings), name=name)

    def windows(
        self, aggregates: Mapping[str, Any], *, name: str | None = None, **settings: Any
    ) -> Stream:
        """Work out aggregates of windows; the settings are those of `Windows`."""
        return self.to(Windows(dict(aggregates), **settings), name=name)

    def dedupe(
        self, key: str | Sequence[str], *, ttl: str | timedelta = "1min", name: str | None = None
    ) -> Stream:
        """Let each key pass once; see `Dedupe`."""
        return self.to(Dedupe(_listed(key), ttl=ttl), name=name)

    def sequence(
        self,
        *backfill: Stream,
        by: str | Sequence[str] = "symbol",
        column: str = "sequence",
        reset: int | Literal["lower", "never"] = 1,
        first: int | None = None,
        wrap: int | str | None = None,
        calendar: str | Mapping[str, Any] | None = None,
        ttl: str | timedelta = "1h",
        name: str | None = None,
    ) -> Stream:
        """Follow sequence numbers; see `SequenceTracker`.

        Args:
            backfill: Other sources of the same rows, to be spliced in where rows are
                missing.
            by: Columns whose values have a sequence each; none for the whole feed.
            column: The column with the numbers.
            reset: Which numbers may be a restart.
            first: The number of the first row of a sequence.
            wrap: How many numbers there are.
            calendar: When the venue begins to number anew.
            ttl: How long a gap can be filled.
            name: The node's name.
        """
        tracker = SequenceTracker(
            _listed(by),
            column=column,
            reset=reset,
            first=first,
            wrap=wrap,
            calendar=dict(calendar) if isinstance(calendar, Mapping) else calendar,
            ttl=ttl,
        )
        return self.to(tracker, *backfill, name=name)

    def clock_skew(
        self,
        *,
        by: str | Sequence[str] = (),
        bound: str | timedelta = "10ms",
        correct: bool = False,
        way: str | timedelta | None = None,
        name: str | None = None,
    ) -> Stream:
        """Measure, and correct, the clock that received rows; see `ClockSkew`."""
        component = ClockSkew(_listed(by), bound=bound, correct=correct, way=way)
        return self.to(component, name=name)

    def map(self, fn: Callable[..., Any], *, on: Unit = "rows", name: str | None = None) -> Stream:
        """Apply a function to rows, batches or Polars frames; see `Map`."""
        return self.to(Map(fn, on=on), name=name)

    def filter(
        self, where: Callable[..., Any] | str, *, on: Unit = "rows", name: str | None = None
    ) -> Stream:
        """Let rows pass that a function or an expression accepts; see `Filter`."""
        return self.to(Filter(where, on=on), name=name)

    def select(self, columns: str | Sequence[str], *, name: str | None = None) -> Stream:
        """Keep some columns; see `Select`."""
        return self.to(Select(_listed(columns)), name=name)

    def assign(self, columns: Mapping[str, str], *, name: str | None = None) -> Stream:
        """Add columns computed by expressions; see `Assign`."""
        return self.to(Assign(dict(columns)), name=name)

    def union(self, *others: Stream, name: str | None = None) -> Stream:
        """Merge with other streams of the same columns by event time; see `Union`.

        Raises:
            ConfigError: If no other stream is given.
        """
        if not others:
            msg = "`union` needs at least one other stream"
            raise ConfigError(msg)
        return self.to(Union(), *others, name=name)

    def quality(self, *, name: str | None = None, **checks: Any) -> Stream:
        """Reject or flag rows, as in `quality(crossed="reject", locked="flag")`; see `Quality`."""
        return self.to(Quality(**checks), name=name)

    def route(
        self,
        routes: Mapping[str, Any],
        *,
        by: str | None = None,
        default: str | None = None,
        name: str | None = None,
    ) -> Stream:
        """Send rows to outputs by name, `stream.output("crypto")`; see `Router`."""
        return self.to(Router(dict(routes), by=by, default=default), name=name)

    def sessions(
        self,
        calendar: str | Mapping[str, Any],
        *,
        outside: Literal["keep", "drop"] = "keep",
        name: str | None = None,
    ) -> Stream:
        """Add the date of each row's trading session; see `TradingSessions`."""
        setting = calendar if isinstance(calendar, str) else dict(calendar)
        return self.to(TradingSessions(setting, outside=outside), name=name)

    def throttle(
        self,
        rate: float,
        *,
        burst: int | None = None,
        mode: Literal["delay", "drop"] = "delay",
        name: str | None = None,
    ) -> Stream:
        """Let at most so many rows pass in a second; see `Throttle`."""
        return self.to(Throttle(rate, burst=burst, mode=mode), name=name)

    def batch(
        self,
        *,
        rows: int | None = None,
        bytes: int | None = None,  # noqa: A002
        interval: str | timedelta | None = None,
        name: str | None = None,
    ) -> Stream:
        """Gather rows into larger batches, in front of a sink; see `BatchRows`."""
        settings = {"rows": rows, "bytes": bytes, "interval": interval}
        given = {key: value for key, value in settings.items() if value is not None}
        return self.to(BatchRows(**given), name=name)  # type: ignore[arg-type]


def _listed(names: str | Sequence[str]) -> list[str]:
    # A text is a sequence of letters, and one name is what was meant.
    return [names] if isinstance(names, str) else list(names)


def load(path: str | Path, *, overrides: Sequence[str] = ()) -> Dag:
    """Read a graph from a pipeline file.

    Args:
        path: A YAML or JSON file.
        overrides: Settings that replace those in the file, each `node.key=value`.

    Raises:
        ConfigError: If the file is no graph that could run; with file, line and column.
        InputError: If an input it names is missing or cannot be read.
    """
    from market_data_pipeline.spec.loader import load_file

    return load_file(path, overrides=overrides, dag_type=Dag)

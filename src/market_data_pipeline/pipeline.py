"""A pipeline of version 0.8: a graph with one path."""

from __future__ import annotations

__all__ = ("StreamingPipeline",)

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn

from market_data_pipeline.batcher.added import Added
from market_data_pipeline.batcher.hybrid import HybridBatcher
from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.dag.nodes import SinkNode, SourceNode, TransformNode
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import ConfigError, PipelineError
from market_data_pipeline.flow import Dag
from market_data_pipeline.objects import OBJECTS, awaited
from market_data_pipeline.operator.handled import Handled
from market_data_pipeline.operator.options_door import OptionsChainOperator
from market_data_pipeline.operator.second_bars import SecondBarAggregator
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.queue_node import BarSink, sink_node
from market_data_pipeline.source.quote_stream import QuoteStream
from market_data_pipeline.source.streamed import StreamedSource

_ANY_ROWS: Final = 100_000
_OBJECT_ROWS: Final = 10_000
"""Objects that may wait between two parts; each is some hundred bytes."""


class StreamingPipeline:
    """Moves quotes from a source through an operator and a batcher into a sink.

    Parts of this package become the nodes of the engine that do the same. A part of your
    own becomes a node that calls it: a source has `stream()`, an operator `handle(quote)`,
    a batcher `add(row)`, a sink `write(rows)` and `close(drain=True)`. So either kind waits
    for the next one, is named when it fails, and is drained when the pipeline stops: open
    bars and what a batcher holds are written.

    Attributes:
        source: What gives quotes.
        operator: What makes something of them; None to pass them on.
        batcher: What gathers that; None to write it as it comes.
        sink: What writes it.
        ctx: Whose pipeline it is, None if nobody said.
        duration_sec: Seconds that `run` takes where it is not told; None to run to the end.
    """

    def __init__(
        self,
        *,
        source: Any,
        operator: Any,
        batcher: Any,
        sink: Any,
        ctx: Any = None,
    ) -> None:
        self.source = source
        self.operator = operator
        self.batcher = batcher
        self.sink = sink
        self.ctx = ctx
        self.duration_sec: float | None = None
        self._run: Run | None = None
        self._over: asyncio.Event | None = None
        self._parts_are_closed = False
        self._is_closed = False

    @property
    def name(self) -> str:
        """Tenant and pipeline, or `pipeline` if nobody said."""
        if self.ctx is None:
            return "pipeline"
        return f"{self.ctx.tenant_id}:{self.ctx.pipeline_id}"

    def dag(self) -> Dag:
        """Return the graph, whose nodes are named `source`, `operator`, `batcher`, `sink`.

        Raises:
            ConfigError: If a part is none of what its place can take.
            InputError: If an input is missing or cannot be read.
            MissingDependencyError: If a part needs a package that is not installed.
        """
        dag = Dag(self.name)
        operator = self.operator
        if operator is None and self._writes_objects():
            operator = _PassOn()
        takes_columns = operator is not None and not _is_brought(operator, "handle")
        source = _source_node(self.source, as_ticks=takes_columns)
        last = dag.add(source, name="source").name
        gives_options = isinstance(operator, OptionsChainOperator)
        for name, component in (
            ("operator", _operator_node(operator, source.schema())),
            ("options", Handled(_PassOn()) if gives_options and self._writes_objects() else None),
            ("batcher", _batcher_node(self.batcher)),
        ):
            if component is not None:
                last = dag.add(component, name=name, inputs=(_edge(dag, last, component),)).name
        sink = self._sink_node()
        dag.add(sink, name="sink", inputs=(_edge(dag, last, sink),))
        return dag

    async def run(
        self,
        duration_sec: float | None = None,
        *,
        progress: Callable[[Run], None] | None = None,
    ) -> RunResult:
        """Run until the source ends, or for some seconds; then write what is held.

        Args:
            duration_sec: Seconds after which the source is stopped, >= 0; None for
                `self.duration_sec`.
            progress: Called about ten times a second with the run.

        Raises:
            PipelineError: If the pipeline is closed, or runs already.
            NodeError: If a part failed; it is the cause.
        """
        if self._is_closed or self._run is not None:
            what = "is closed" if self._is_closed else "runs already"
            msg = f"the pipeline `{self.name}` {what}; make another one"
            raise PipelineError(msg)
        duration = self.duration_sec if duration_sec is None else duration_sec
        if duration is not None and not duration >= 0:
            msg = f"`duration_sec` must be 0 or more, was {duration}"
            raise ConfigError(msg, parameter="duration_sec")
        run = Run(self.dag())
        self._run, self._over = run, asyncio.Event()
        timer = None
        if duration == 0:
            run.stop()
        elif duration is not None:
            timer = asyncio.get_running_loop().call_later(duration, run.stop)
        try:
            return await run.run(progress)
        finally:
            if timer is not None:
                timer.cancel()
            self._run = None
            self._parts_are_closed = True
            self._over.set()

    async def close(self) -> None:
        """Stop, write what is held, and free everything. Called again it does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._run is not None and self._over is not None:
            self._run.stop()
            await self._over.wait()
        if self._parts_are_closed:
            return
        self._parts_are_closed = True
        try:
            await _close(self.source)
        finally:
            await _close(self.sink, drain=True)

    def _writes_objects(self) -> bool:
        return callable(getattr(self.sink, "write", None))

    def _sink_node(self) -> SinkNode:
        if self._writes_objects():
            rows = getattr(self.batcher, "max_rows", None)
            return sink_node(self.sink, batch_rows=rows if isinstance(rows, int) else _ANY_ROWS)
        if not isinstance(self.sink, SinkNode):
            _refuse("sink", self.sink, "`write(rows)` and `close(drain=True)`")
        return self.sink


class _PassOn:
    """Gives each row as the object that a sink of version 0.8 takes."""

    async def handle(self, quote: Any) -> Any:
        return quote


def _source_node(source: Any, *, as_ticks: bool) -> SourceNode:
    if not _is_brought(source, "stream"):
        node = source.as_streamed() if isinstance(source, QuoteStream) else source
        if isinstance(node, SourceNode):
            return node
    if not callable(getattr(source, "stream", None)):
        _refuse("source", source, "`stream()`")
    return StreamedSource(source, as_ticks=as_ticks)


def _operator_node(operator: Any, schema: Schema | None) -> TransformNode | None:
    if operator is None:
        return None
    if isinstance(operator, SecondBarAggregator | OptionsChainOperator) and not _is_brought(
        operator, "handle"
    ):
        if schema != OBJECTS:
            return operator.component(schema)
    elif not _is_brought(operator, "handle") and isinstance(operator, TransformNode):
        return operator
    if not callable(getattr(operator, "handle", None)):
        _refuse("operator", operator, "`handle(quote)`")
    return Handled(operator)


def _batcher_node(batcher: Any) -> TransformNode | None:
    if batcher is None:
        return None
    if not _is_brought(batcher, "add"):
        return batcher.component() if isinstance(batcher, HybridBatcher) else batcher
    if not callable(getattr(batcher, "add", None)):
        _refuse("batcher", batcher, "`add(row)`")
    return Added(batcher)


_OWN: Final = (QuoteStream, SecondBarAggregator, OptionsChainOperator, HybridBatcher)


def _is_brought(part: Any, method: str) -> bool:
    """Tell whether a part has to be called: its `method` is none of ours."""
    found = getattr(type(part), method, None)
    if found is not None:
        return all(getattr(own, method, None) is not found for own in _OWN)
    return not isinstance(part, SourceNode | TransformNode) or hasattr(part, method)


_OF_OBJECTS: Final = (StreamedSource, Handled, Added, BarSink)


def _edge(dag: Dag, giver: str, reader: object) -> Edge:
    """Return the edge to the next node; one on which objects may wait is shorter."""
    if isinstance(dag.nodes[giver].component, _OF_OBJECTS) or isinstance(reader, _OF_OBJECTS):
        return Edge(giver, rows=_OBJECT_ROWS)
    return Edge(giver)


def _refuse(place: str, part: object, needs: str) -> NoReturn:
    msg = f"the {place} of a pipeline needs {needs}, and `{type(part).__name__}` has no such thing"
    raise ConfigError(msg, parameter=place)


async def _close(part: Any, **how: bool) -> None:
    close = getattr(part, "close", None)
    if callable(close):
        await awaited(close(**how))

"""From what the engine counts to what a run shows: figures of each node, made on the spot."""

from __future__ import annotations

__all__ = ("Reading", "figures_of", "ledger_of", "readings_of")

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.dag.assembly import Assembly
from market_data_pipeline.dag.channel_statistics import ChannelStatistics
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.figures import (
    PLACES,
    BacklogReader,
    Meter,
    NodeFigures,
    NodeState,
    PacedReader,
    Phase,
    TokenReader,
)
from market_data_pipeline.dag.graph import Dag, Node
from market_data_pipeline.dag.metrics import Account, Ledger
from market_data_pipeline.errors import NodeError
from market_data_pipeline.redaction import redacted

_Edges: TypeAlias = Mapping[tuple[str, tuple[str, str]], ChannelStatistics]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the engine holds of a node that runs.

    Attributes:
        meter: What it counts.
        watermark: How far it has come.
        given: How far its readers have been told it has come, or will be.
        backlog: For a source that knows: rows that wait upstream.
        budget_scale: For a source that can be slowed down: how much it may do.
        pacing_waits: For a source with a token bucket: how often it had to wait.
    """

    meter: Meter
    watermark: int
    given: int = TIME_MIN
    backlog: int | None = None
    budget_scale: float | None = None
    pacing_waits: int | None = None


def ledger_of(parts: Assembly) -> Ledger:
    """Return the accounts as they are now, rows waiting in front of a node included."""
    dropped: dict[str, int] = {}
    # A list is made in one go; threads may ask while the nodes are being opened.
    for (reader, _), channel in list(parts.channels.items()):
        dropped[reader] = dropped.get(reader, 0) + channel.statistics().rows_dropped
    return Ledger(
        tuple(
            _shown(account, dropped.get(name, 0), parts.fan_ins.get(name))
            for name, account in parts.accounts.items()
        )
    )


def _shown(account: Account, dropped: int, fan_in: FanIn | None) -> Account:
    """Return an account with what happened in front of the node.

    A copy, as threads that look on may ask at the same time.
    """
    shown = replace(
        account,
        rows_in=account.rows_in + dropped,
        queued=0 if fan_in is None else fan_in.held,
        reasons=dict(account.reasons),
        marks=dict(account.marks),
    )
    shown.add("dropped", dropped)
    return shown


def readings_of(parts: Assembly) -> dict[str, Reading]:
    """Return what the engine holds of the nodes that are open."""
    readings: dict[str, Reading] = {}
    for source in parts.sources:
        reader, mark = source.reader, source.watermark
        readings[source.node.name] = Reading(
            source.meter,
            mark,
            mark,
            reader.backlog() if isinstance(reader, BacklogReader) else None,
            reader.budget_scale if isinstance(reader, PacedReader) else None,
            reader.pacing_waits if isinstance(reader, TokenReader) else None,
        )
    for chain in parts.chains:
        mark = chain.watermark
        for step in chain.steps:
            readings[step.node.name] = Reading(step.meter, mark, step.watermark)
            mark = step.watermark
    for sink in parts.sinks:
        readings[sink.node.name] = Reading(sink.meter, sink.meter.watermark)
    return readings


def figures_of(
    dag: Dag,
    readings: Mapping[str, Reading],
    ledger: Ledger,
    edges: _Edges,
    *,
    phase: Phase,
    failure: NodeError | None,
    now_ns: int,
) -> dict[str, NodeFigures]:
    """Return what is known of the nodes of a run, in the order of the graph.

    Args:
        dag: The graph.
        readings: What the engine holds of those that are open.
        ledger: The accounts of all.
        edges: Statistics of the channels, by reading node and port read from.
        phase: Where the run is.
        failure: What it failed of, None if it did not.
        now_ns: The wall time.
    """
    figures: dict[str, NodeFigures] = {}
    newest: dict[str, int] = {}
    for node in dag.order():
        reading = readings.get(node.name, Reading(Meter(), TIME_MIN))
        before = [newest[edge.node] for edge in node.inputs]
        newest[node.name] = max([_newest_given(node, reading), *before])
        queues = [found for (reader, _), found in edges.items() if reader == node.name]
        figures[node.name] = _figures(
            node,
            ledger[node.name],
            queues,
            state=_state(node, reading.meter, phase, failure),
            watermark=_watermark(node, reading, queues, readings),
            newest=newest[node.name],
            now_ns=now_ns,
            reading=reading,
            error=_error(node, failure),
        )
    return figures


def _newest_given(node: Node, reading: Reading) -> int:
    return reading.meter.newest if node.kind == "source" else TIME_MIN


def _watermark(
    node: Node,
    reading: Reading,
    queues: Iterable[ChannelStatistics],
    readings: Mapping[str, Reading],
) -> int:
    # A sink is not told of progress without rows; with nothing in front of it, it has
    # come as far as those that feed it.
    if node.kind != "sink" or any(queue.rows_queued for queue in queues):
        return reading.watermark
    given = [readings[edge.node].given for edge in node.inputs if edge.node in readings]
    return max(reading.watermark, min(given, default=TIME_MIN))


def _error(node: Node, failure: NodeError | None) -> str | None:
    if failure is None or failure.node != node.name:
        return None
    return redacted(str(failure.__cause__ or failure))


def _state(node: Node, meter: Meter, phase: Phase, failure: NodeError | None) -> NodeState:
    if failure is not None and failure.node == node.name:
        return "failed"
    if meter.ended or phase in {"ended", "failed"}:
        return "ended"
    if phase == "starting":
        return "starting"
    return "idle" if meter.idle else "running"


def _figures(
    node: Node,
    account: Account,
    queues: Iterable[ChannelStatistics],
    *,
    reading: Reading,
    state: NodeState,
    watermark: int,
    newest: int,
    now_ns: int,
    error: str | None,
) -> NodeFigures:
    mark = watermark if TIME_MIN < watermark < TIME_MAX else None
    newest_ns = newest if TIME_MIN < newest < TIME_MAX else None
    meter = reading.meter
    counts = tuple(meter.buckets)
    queues = tuple(queues)
    return NodeFigures(
        node=node.name,
        kind=node.kind,
        inputs=tuple(dict.fromkeys(edge.node for edge in node.inputs)),
        state=state,
        rows_in=account.rows_in,
        rows_out=account.rows_out,
        created=account.created,
        held=account.held,
        reasons=account.reasons,
        marks=account.marks,
        bytes_in=sum(queue.bytes_received for queue in queues),
        watermark_ns=mark,
        newest_ns=newest_ns,
        lag_ns=None if mark is None or newest_ns is None else max(0, newest_ns - mark),
        behind_ns=None if newest_ns is None else now_ns - newest_ns,
        busy_s=meter.busy_s(),
        blocked_s=meter.blocked_s(),
        batches=sum(counts),
        buckets=tuple(sum(counts[: place + 1]) for place in PLACES),
        queue_rows=sum(queue.rows_queued for queue in queues) + account.queued,
        queue_bytes=sum(queue.bytes_queued for queue in queues),
        queue_rows_max=sum(queue.rows_max for queue in queues),
        queue_bytes_max=sum(queue.bytes_max for queue in queues),
        backlog=reading.backlog,
        budget_scale=reading.budget_scale,
        pacing_waits=reading.pacing_waits,
        error=error,
    )

"""The metrics of pipelines, their nodes and their edges. The docs' table is made of this."""

from __future__ import annotations

__all__ = ("METRICS", "STATES")

from collections.abc import Callable, Iterator
from typing import Final

from market_data_pipeline.dag.figures import NodeFigures
from market_data_pipeline.dag.pressure import Pressure, PressureLevel
from market_data_pipeline.telemetry.metric import (
    Histogram,
    Kind,
    Metric,
    Point,
    per_edge,
    per_job,
    per_node,
)
from market_data_pipeline.telemetry.readings import JobReading

STATES: Final = ("starting", "running", "stopping", "finished", "stopped", "failed")
"""A pipeline's state as a number is its place here."""
_NODE_STATES: Final = ("starting", "running", "idle", "ended", "failed")
_PRESSURES: Final = ("ok", "soft", "hard")
# A series that is there from the start lets the first row be seen as an increase.
_EXPECTED_REASONS: Final = dict.fromkeys(("late", "rejected", "dropped", "duplicate"), 0)
_SOFT: Final = 0.5
_HARD: Final = 0.9


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _timed(node: NodeFigures) -> Histogram | None:
    if node.kind == "source":
        return None
    return Histogram(node.buckets, node.batches, node.busy_s)


def _level(pressure: Pressure) -> float:
    if pressure.level is not None:
        return list(PressureLevel).index(pressure.level)
    return (pressure.saturation >= _SOFT) + (pressure.saturation >= _HARD)


def _of_sinks(
    name: str, kind: Kind, text: str, value: Callable[[Pressure], float | None], unit: str = "1"
) -> Metric:
    def read(reading: JobReading) -> Iterator[Point]:
        for node, pressure in reading.pressures.items():
            found = value(pressure)
            if found is not None:
                yield (reading.key, node), found

    return Metric(name, kind, text, ("pipeline", "node"), read, unit)


_JOBS: Final = (
    per_job(
        "mdp_pipeline_up",
        "gauge",
        "1 while the pipeline runs, 0 once it is over.",
        lambda job: 0.0 if job.is_over else 1.0,
    ),
    per_job(
        "mdp_pipeline_state",
        "gauge",
        "What the pipeline does: " + ", ".join(f"{i} {s}" for i, s in enumerate(STATES)) + ".",
        lambda job: float(STATES.index(job.state)) if job.state in STATES else None,
    ),
    per_job(
        "mdp_pipeline_uptime_seconds",
        "gauge",
        "How long the pipeline has run.",
        lambda job: job.seconds,
        "s",
    ),
)

_NODES: Final = (
    per_node(
        "mdp_node_state",
        "gauge",
        "What the node does: " + ", ".join(f"{i} {s}" for i, s in enumerate(_NODE_STATES)) + ".",
        lambda node: float(_NODE_STATES.index(node.state)),
    ),
    per_node(
        "mdp_node_rows_in",
        "counter",
        "Rows the node received; a source receives what it reads.",
        lambda node: node.rows_in,
        "{row}",
    ),
    per_node(
        "mdp_node_rows_out",
        "counter",
        "Rows the node sent on its main outputs; a sink sends what it writes.",
        lambda node: node.rows_out,
        "{row}",
    ),
    per_node(
        "mdp_node_rows_created",
        "counter",
        "Rows the node sent that are none of those it received, such as bars.",
        lambda node: node.created,
        "{row}",
    ),
    per_node(
        "mdp_node_rows_ended",
        "counter",
        "Rows that ended in the node, by reason: filtered, duplicate, late, rejected, dropped, "
        "aggregated.",
        lambda node: {**_EXPECTED_REASONS, **node.reasons},
        "{row}",
        by_reason=True,
    ),
    per_node(
        "mdp_node_rows_marked",
        "counter",
        "Rows that went on although something was found, by what it was.",
        lambda node: node.marks,
        "{row}",
        by_reason=True,
    ),
    per_node(
        "mdp_node_rows_held",
        "gauge",
        "Rows inside the node: in open windows, in a buffer.",
        lambda node: node.held,
        "{row}",
    ),
    per_node(
        "mdp_node_bytes_in",
        "counter",
        "Bytes of columns the node took from its channels.",
        lambda node: node.bytes_in,
        "By",
    ),
    per_node(
        "mdp_node_watermark_timestamp_seconds",
        "gauge",
        "How far event time has come in the node, seconds since 1970.",
        lambda node: _seconds(node.watermark_ns),
        "s",
    ),
    per_node(
        "mdp_node_watermark_lag_seconds",
        "gauge",
        "Event time that was read and is not complete in the node.",
        lambda node: _seconds(node.lag_ns),
        "s",
    ),
    per_node(
        "mdp_node_event_age_seconds",
        "gauge",
        "From the newest event time of the sources before the node to the wall clock; of use "
        "for live feeds only.",
        lambda node: _seconds(node.behind_ns),
        "s",
    ),
    per_node(
        "mdp_node_busy_seconds",
        "counter",
        "Time in which the node worked, or waited for what it calls.",
        lambda node: None if node.kind == "source" else node.busy_s,
        "s",
    ),
    per_node(
        "mdp_node_blocked_seconds",
        "counter",
        "Time in which the node waited for room downstream.",
        lambda node: node.blocked_s,
        "s",
    ),
    per_node(
        "mdp_node_processing_seconds",
        "histogram",
        "How long the node took for a batch.",
        _timed,
        "s",
    ),
    per_node(
        "mdp_node_queue_fill",
        "gauge",
        "How full the channels in front of the node are, 0 to 1.",
        lambda node: node.fill if node.queue_rows_max else None,
    ),
    per_node(
        "mdp_node_backlog_rows",
        "gauge",
        "Rows that wait upstream to be read, of sources that know.",
        lambda node: node.backlog,
        "{row}",
        of="source",
    ),
    per_node(
        "mdp_node_budget_scale",
        "gauge",
        "Share of its provider's budget that a paced source may draw on, 0 to 1.",
        lambda node: node.budget_scale,
        of="source",
    ),
)

_EDGES: Final = (
    per_edge(
        "mdp_edge_rows",
        "counter",
        "Rows that were put into the channel.",
        lambda edge: edge.rows_sent,
        "{row}",
    ),
    per_edge(
        "mdp_edge_bytes",
        "counter",
        "Bytes of columns that were taken from the channel.",
        lambda edge: edge.bytes_received,
        "By",
    ),
    per_edge(
        "mdp_edge_rows_dropped",
        "counter",
        "Rows that were shed by the channel's policy.",
        lambda edge: edge.rows_dropped,
        "{row}",
    ),
    per_edge(
        "mdp_edge_waits",
        "counter",
        "How often the sender had to wait for room.",
        lambda edge: edge.waits,
    ),
    per_edge(
        "mdp_edge_queue_rows",
        "gauge",
        "Rows in the channel.",
        lambda edge: edge.rows_queued,
        "{row}",
    ),
    per_edge(
        "mdp_edge_queue_bytes",
        "gauge",
        "Bytes in the channel.",
        lambda edge: edge.bytes_queued,
        "By",
    ),
    per_edge(
        "mdp_edge_capacity_rows",
        "gauge",
        "Rows the channel holds at most.",
        lambda edge: edge.rows_max,
        "{row}",
    ),
    per_edge(
        "mdp_edge_capacity_bytes",
        "gauge",
        "Bytes the channel holds at most.",
        lambda edge: edge.bytes_max,
        "By",
    ),
    per_edge(
        "mdp_edge_pressure",
        "gauge",
        "How full the channel is, with hysteresis: 0 ok, 1 soft, 2 hard.",
        lambda edge: _PRESSURES.index(edge.pressure.value),
    ),
)

_SINKS: Final = (
    _of_sinks(
        "mdp_node_pressure",
        "gauge",
        "What the sink asks of those who feed it: 0 go on, 1 slow down, 2 stop.",
        _level,
    ),
    _of_sinks(
        "mdp_node_pending",
        "gauge",
        "What the sink has taken and not yet made durable, in units of its capacity.",
        lambda pressure: pressure.queue_depth,
    ),
    _of_sinks(
        "mdp_node_pending_capacity",
        "gauge",
        "How much of it the sink may have.",
        lambda pressure: pressure.capacity,
    ),
    _of_sinks(
        "mdp_node_commit_seconds",
        "gauge",
        "How long the sink's last commit took.",
        lambda pressure: pressure.commit_s,
        "s",
    ),
)

_CHECKPOINTS: Final = (
    per_job(
        "mdp_checkpoint_epoch",
        "gauge",
        "Number of the last checkpoint.",
        lambda job: None if job.checkpoint is None else job.checkpoint.last_epoch,
    ),
    per_job(
        "mdp_checkpoint_duration_seconds",
        "gauge",
        "How long the last checkpoint took.",
        lambda job: None if job.checkpoint is None else job.checkpoint.last_seconds,
        "s",
    ),
    per_job(
        "mdp_checkpoint_age_seconds",
        "gauge",
        "How long ago the last checkpoint was taken.",
        lambda job: None if job.checkpoint is None else job.checkpoint.age_s,
        "s",
    ),
    per_job(
        "mdp_checkpoint_failures",
        "counter",
        "Checkpoints that did not come about.",
        lambda job: None if job.checkpoint is None else job.checkpoint.failures,
    ),
)

_SCALING: Final = (
    per_job(
        "mdp_scale_backlog_rows",
        "gauge",
        "Rows that wait: upstream, as far as sources know, and in the graph.",
        lambda job: job.scaling.backlog_rows,
        "{row}",
    ),
    per_job(
        "mdp_scale_lag_seconds",
        "gauge",
        "How far a live feed is behind the wall clock; 0 for one that is not live.",
        lambda job: job.scaling.lag_s,
        "s",
    ),
    per_job(
        "mdp_scale_saturation",
        "gauge",
        "Share of our own capacity that was used in the last minute, 0 to 1.",
        lambda job: job.scaling.load.saturation,
    ),
    per_job(
        "mdp_scale_store_saturation",
        "gauge",
        "Share of the store's capacity that was used in the last minute, 0 to 1.",
        lambda job: job.scaling.load.store_saturation,
    ),
    per_job(
        "mdp_scale_hint",
        "gauge",
        "How many replicas the work of this one is worth; never above 1 where the store is the "
        "bottleneck.",
        lambda job: 0.0 if job.is_over else job.scaling.hint,
    ),
)

METRICS: Final[tuple[Metric, ...]] = (
    *_JOBS,
    *_NODES,
    *_EDGES,
    *_SINKS,
    *_CHECKPOINTS,
    *_SCALING,
)

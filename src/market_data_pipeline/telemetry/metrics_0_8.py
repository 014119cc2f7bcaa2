"""The metrics of sources, operators, batchers and pipelines by the names of version 0.8.

They are made of the same figures as the others, for dashboards that query them. Those of
version 0.8 counted what its own classes did; what is said of a row here is said by the
ledger.
"""

from __future__ import annotations

__all__ = ("METRICS_0_8",)

from collections.abc import Callable, Iterator
from typing import Final

from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.figures import NodeFigures
from market_data_pipeline.telemetry.metric import Histogram, Metric, Point, per_job, per_node
from market_data_pipeline.telemetry.readings import JobReading

_WORKING: Final = frozenset({"running", "idle"})


def _up(node: NodeFigures) -> float:
    return 1.0 if node.state in _WORKING else 0.0


def _timed(node: NodeFigures) -> Histogram:
    return Histogram(node.buckets, node.batches, node.busy_s)


def _of_batchers(name: str, kind: str, text: str, value: Callable[[NodeFigures], float]) -> Metric:
    def read(reading: JobReading) -> Iterator[Point]:
        for node in reading.nodes.values():
            if type_name_of(reading.dag.nodes[node.node].component) == "batch":
                yield (reading.key, node.node), value(node)

    labels = ("pipeline", "node")
    return Metric(name, "counter" if kind == "counter" else "gauge", text, labels, read)


METRICS_0_8: Final[tuple[Metric, ...]] = (
    per_job("pipeline_info", "gauge", "1 for each pipeline.", lambda _: 1.0),
    per_job(
        "pipeline_health",
        "gauge",
        "1 while the pipeline runs or has come to a good end, 0 once it has failed.",
        lambda job: 0.0 if job.state == "failed" else 1.0,
    ),
    per_job(
        "pipeline_uptime_seconds",
        "gauge",
        "How long the pipeline has run.",
        lambda job: job.seconds,
    ),
    per_node(
        "source_ticks",
        "counter",
        "Rows the source gave.",
        lambda node: node.rows_out,
        of="source",
    ),
    per_node("source_status", "gauge", "1 while the source reads.", _up, of="source"),
    per_node(
        "operator_ticks_processed",
        "counter",
        "Rows the operator received.",
        lambda node: node.rows_in,
        of="operator",
    ),
    per_node(
        "operator_bars_generated",
        "counter",
        "Rows the operator created.",
        lambda node: node.created,
        of="operator",
    ),
    per_node(
        "operator_processing_duration_seconds",
        "histogram",
        "How long the operator took for a batch.",
        _timed,
        of="operator",
    ),
    _of_batchers(
        "batcher_items_added", "counter", "Rows the batcher received.", lambda n: n.rows_in
    ),
    _of_batchers(
        "batcher_queue_depth",
        "gauge",
        "Rows in the batcher and in front of it.",
        lambda n: n.held + n.queue_rows,
    ),
    _of_batchers(
        "batcher_items_dropped",
        "counter",
        "Rows that were shed in front of the batcher.",
        lambda n: n.reasons.get("dropped", 0),
    ),
    per_node(
        "sink_batches_written",
        "counter",
        "Batches the sink took.",
        lambda node: node.batches,
        of="sink",
    ),
    per_node(
        "sink_items_written",
        "counter",
        "Rows the sink wrote.",
        lambda node: node.rows_out,
        of="sink",
    ),
    per_node(
        "sink_write_duration_seconds",
        "histogram",
        "How long the sink took for a batch.",
        _timed,
        of="sink",
    ),
    per_node(
        "sink_write_errors",
        "counter",
        "1 once the sink has failed.",
        lambda node: float(node.state == "failed"),
        of="sink",
    ),
    per_node(
        "pacing_blocked",
        "counter",
        "How often a paced source had to wait for a token.",
        lambda node: node.pacing_waits,
        of="source",
    ),
    per_node(
        "pacing_tokens_consumed",
        "counter",
        "Tokens that a paced source drew, one for each row.",
        lambda node: None if node.pacing_waits is None else node.rows_out,
        of="source",
    ),
    per_node(
        "mdp_source_pacing_blocked",
        "counter",
        "How often a paced source had to wait for a token.",
        lambda node: node.pacing_waits,
        of="source",
    ),
    per_node(
        "mdp_source_items",
        "counter",
        "Rows the source gave.",
        lambda node: node.rows_out,
        of="source",
    ),
    per_node(
        "mdp_source_lag_seconds",
        "gauge",
        "From the newest event time the source gave to the wall clock.",
        lambda node: None if node.behind_ns is None else node.behind_ns / 1e9,
        of="source",
    ),
    per_node("mdp_source_status", "gauge", "1 while the source reads.", _up, of="source"),
)

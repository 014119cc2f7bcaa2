"""Prometheus: the metrics of running pipelines, made when they are asked for."""

from __future__ import annotations

__all__ = ("PipelineCollector", "exposition", "observe")

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from market_data_pipeline.clock import Clock
from market_data_pipeline.sink.telemetry import get_sink_telemetry
from market_data_pipeline.telemetry import metric as own
from market_data_pipeline.telemetry.metrics import METRICS
from market_data_pipeline.telemetry.metrics_0_8 import METRICS_0_8
from market_data_pipeline.telemetry.readings import Observable, Observer

_collectors: Final[dict[CollectorRegistry, PipelineCollector]] = {}
_one_at_a_time: Final = threading.Lock()


class PipelineCollector(Collector):
    """Reads the figures of pipelines each time Prometheus asks.

    Nothing is counted twice: what is exposed is what the engine counts for its ledger.
    Labels are the key of the pipeline, the names of its nodes and edges, and reasons.

    Args:
        with_0_8: Whether to expose the metrics by the names of version 0.8 as well.
    """

    def __init__(self, *, with_0_8: bool = True) -> None:
        self._observers: list[Observer] = []
        self._metrics = (*METRICS, *METRICS_0_8) if with_0_8 else METRICS
        self._one_at_a_time = threading.Lock()

    def add(self, observer: Observer) -> None:
        """Expose what an observer sees, too. Of two pipelines of a key the later is shown."""
        with self._one_at_a_time:
            self._observers.append(observer)

    def remove(self, observer: Observer) -> bool:
        """Expose it no more; tell whether nothing is left to expose."""
        with self._one_at_a_time:
            self._observers.remove(observer)
            return not self._observers

    def collect(self) -> Iterator[Metric]:
        """Look at the pipelines, and return what was seen."""
        with self._one_at_a_time:
            seen = {reading.key: reading for o in self._observers for reading in o.look()}
        for metric in self._metrics:
            yield _family(metric, metric.points(seen.values()))

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that no other collector of a registry may take them."""
        return [_family(metric, ()) for metric in self._metrics]


def _family(metric: own.Metric, points: Iterable[own.Point]) -> Metric:
    name, text, labels = metric.name, metric.text, metric.labels
    if metric.kind == "histogram":
        durations = HistogramMetricFamily(name, text, labels=labels)
        for values, point in points:
            if isinstance(point, own.Histogram):
                durations.add_metric(values, point.buckets(), point.sum_s)
        return durations
    made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = made(name, text, labels=labels)
    for values, point in points:
        if not isinstance(point, own.Histogram):
            family.add_metric(values, point)
    return family


@contextmanager
def observe(
    jobs: Observable,
    *,
    registry: CollectorRegistry = REGISTRY,
    clock: Clock | None = None,
) -> Iterator[None]:
    """Have pipelines exposed by a registry while the context lasts.

    Args:
        jobs: A run, a `PipelineRuntime`, or a function that returns some.
        registry: Which; by default the one of the process, which everybody serves.
        clock: Time outside the data; the machine's by default.
    """
    observer = Observer(jobs, clock=clock)
    with _one_at_a_time:
        collector = _collectors.get(registry)
        if collector is None:
            collector = PipelineCollector()
            registry.register(collector)
            _collectors[registry] = collector
        collector.add(observer)
    try:
        yield
    finally:
        with _one_at_a_time:
            if collector.remove(observer):
                registry.unregister(collector)
                del _collectors[registry]


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Return what `/metrics` answers, in Prometheus' text format.

    The names of the sinks for bars are there from the beginning, as in version 0.8.
    """
    if registry is REGISTRY:
        get_sink_telemetry()
    return generate_latest(registry)

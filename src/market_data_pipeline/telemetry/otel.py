"""OpenTelemetry: the same figures as for Prometheus, as observable instruments."""

from __future__ import annotations

__all__ = ("observe_otel",)

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.errors import MissingDependencyError
from market_data_pipeline.telemetry.metric import Histogram, Metric
from market_data_pipeline.telemetry.metrics import METRICS
from market_data_pipeline.telemetry.readings import JobReading, Observable, Observer

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

_SCOPE: Final = "market_data_pipeline"
_SAME_LOOK_S: Final = 0.5
"""Instruments are asked one after the other; they are to tell of the same moment."""


@contextmanager
def observe_otel(
    jobs: Observable,
    *,
    readers: Sequence[MetricReader] | None = None,
    clock: Clock | None = None,
) -> Iterator[MeterProvider]:
    """Export the figures of pipelines while the context lasts, and once more at its end.

    Without readers they go out by OTLP over HTTP, to where the standard environment
    variables say: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`,
    `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`.

    Names have dots in place of Prometheus' underscores, as in `mdp.node.rows_in`; labels
    are attributes. Of durations there are count and sum.

    Args:
        jobs: A run, a `PipelineRuntime`, or a function that returns some.
        readers: Where the figures go; None for OTLP.
        clock: Time outside the data; the machine's by default.

    Raises:
        MissingDependencyError: If OpenTelemetry is not installed.
    """
    provider = _provider(readers)
    look = _Look(Observer(jobs, clock=clock), clock or SystemClock())
    meter = provider.get_meter(_SCOPE)
    for metric in METRICS:
        name, text, unit = _name(metric), metric.text, metric.unit
        if metric.kind == "histogram":
            meter.create_observable_counter(
                f"{name}.count", [_observing(look, metric, "count")], "{batch}", text
            )
            meter.create_observable_counter(
                f"{name}.sum", [_observing(look, metric, "sum")], "s", text
            )
        elif metric.kind == "counter":
            meter.create_observable_counter(name, [_observing(look, metric)], unit, text)
        else:
            meter.create_observable_gauge(name, [_observing(look, metric)], unit, text)
    try:
        yield provider
    finally:
        provider.shutdown()


def _name(metric: Metric) -> str:
    prefix, group, rest = metric.name.split("_", 2)
    return f"{prefix}.{group}.{rest}"


class _Look:
    """What was seen a moment ago, for all instruments of one export."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._seen: list[JobReading] = []
        self._at_s = float("-inf")

    def __call__(self) -> list[JobReading]:
        with self._one_at_a_time:
            now_s = self._clock.monotonic()
            if now_s - self._at_s > _SAME_LOOK_S:
                self._seen, self._at_s = self._observer.look(), now_s
            return self._seen


def _observing(look: _Look, metric: Metric, part: str = "") -> Callable[[Any], Iterable[Any]]:
    from opentelemetry.metrics import Observation

    def observe(_: Any) -> Iterator[Any]:
        for labels, point in metric.points(look()):
            value: float
            if isinstance(point, Histogram):
                value = point.count if part == "count" else point.sum_s
            else:
                value = point
            yield Observation(value, dict(zip(metric.labels, labels, strict=True)))

    return observe


def _provider(readers: Sequence[MetricReader] | None) -> MeterProvider:
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        if readers is None:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
                OTLPMetricExporter,
            )

            readers = [PeriodicExportingMetricReader(OTLPMetricExporter())]
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition(".")[0] != "opentelemetry":
            raise
        raise MissingDependencyError(package="opentelemetry-sdk", extra="otel") from err
    return MeterProvider(metric_readers=readers, shutdown_on_exit=False)

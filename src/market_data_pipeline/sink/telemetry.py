"""The metrics of sinks for bars, for Prometheus."""

from __future__ import annotations

__all__ = ("SinkMeter", "SinkTelemetry", "get_sink_telemetry", "set_sink_telemetry")

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OWNER: Final = ("tenant", "pipeline")
_LABELS: Final = ("sink", *_OWNER)


class SinkMeter:
    """Is told what a sink does, and tells nobody."""

    def taken(self) -> None:
        """Take note of a batch that came in."""

    def committed(self, items: int, seconds: float) -> None:
        """Take note of a batch that was written."""

    def failed(self, reason: str) -> None:
        """Take note of a batch that could not be written."""

    def dropped(self, reason: str) -> None:
        """Take note of a batch that was given up without being tried."""

    def retried(self) -> None:
        """Take note of one more attempt."""

    def depth(self, batches: int) -> None:
        """Take note of how many batches wait."""


@final
class SinkTelemetry:
    """The metrics of all sinks of one registry.

    Metrics that the registry has already are used on, so that this can be made twice.

    Attributes:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register the metrics.

        Args:
            registry: Where to; None for the one that `/metrics` serves.
        """
        from prometheus_client import REGISTRY

        self.registry = REGISTRY if registry is None else registry
        make = _Maker(self.registry)
        at, why = "mdp_sink_", (*_LABELS, "reason")
        self.batches_in = make.counter(f"{at}batches_in", "Batches taken", _LABELS)
        self.batches_committed = make.counter(f"{at}batches_committed", "Batches written", _LABELS)
        self.batches_failed = make.counter(f"{at}batches_failed", "Batches that failed", why)
        self.items_committed = make.counter(f"{at}items_committed", "Items written", _LABELS)
        self.retries = make.counter(f"{at}retries", "Attempts after the first", _LABELS)
        self.dropped_batches = make.counter(f"{at}dropped_batches", "Batches given up", why)
        self.queue_depth = make.gauge(f"{at}queue_depth", "Batches that wait", _LABELS)
        self.commit_seconds = make.histogram(f"{at}commit_seconds", "Time of a write", _LABELS)
        at = "mdp_sink_db_"
        self.db_batches_in = make.counter(f"{at}batches_in", "Batches taken", _OWNER)
        self.db_batches_written = make.counter(f"{at}batches_written", "Batches written", _OWNER)
        self.db_batches_failed = make.counter(f"{at}batches_failed", "Batches that failed", _OWNER)
        self.db_items_written = make.counter(f"{at}items_written", "Records written", _OWNER)
        self.db_retries = make.counter(f"{at}retries", "Attempts after the first", _OWNER)
        self.db_queue_depth = make.gauge(f"{at}queue_depth", "Batches that wait", _OWNER)
        self.db_commit_seconds = make.histogram(f"{at}commit_seconds", "Time of a write", _OWNER)

    def meter(
        self, sink: str, tenant: str = "", pipeline: str = "", *, database: bool = False
    ) -> SinkMeter:
        """Return what one sink tells of itself to.

        Args:
            sink: Kind of the sink: `store`, `database`, `kafka`.
            tenant: Who owns the pipeline.
            pipeline: Its name.
            database: Whether to count under the names of the database sink as well.
        """
        return _Meter(self, (sink, tenant, pipeline), database=database)


@final
class _Meter(SinkMeter):
    def __init__(
        self, telemetry: SinkTelemetry, labels: tuple[str, str, str], *, database: bool
    ) -> None:
        both, owner = telemetry, labels[1:]
        self._labels = labels
        self._failed = both.batches_failed
        self._dropped = both.dropped_batches
        self._in = [both.batches_in.labels(*labels)]
        self._batches = [both.batches_committed.labels(*labels)]
        self._items = [both.items_committed.labels(*labels)]
        self._retries = [both.retries.labels(*labels)]
        self._depth = [both.queue_depth.labels(*labels)]
        self._seconds = [both.commit_seconds.labels(*labels)]
        self._db_failed = both.db_batches_failed.labels(*owner) if database else None
        if database:
            self._in.append(both.db_batches_in.labels(*owner))
            self._batches.append(both.db_batches_written.labels(*owner))
            self._items.append(both.db_items_written.labels(*owner))
            self._retries.append(both.db_retries.labels(*owner))
            self._depth.append(both.db_queue_depth.labels(*owner))
            self._seconds.append(both.db_commit_seconds.labels(*owner))

    def taken(self) -> None:
        for counter in self._in:
            counter.inc()

    def committed(self, items: int, seconds: float) -> None:
        for counter in self._batches:
            counter.inc()
        for counter in self._items:
            counter.inc(items)
        for histogram in self._seconds:
            histogram.observe(seconds)

    def failed(self, reason: str) -> None:
        self._failed.labels(*self._labels, reason).inc()
        if self._db_failed is not None:
            self._db_failed.inc()

    def dropped(self, reason: str) -> None:
        self._dropped.labels(*self._labels, reason).inc()

    def retried(self) -> None:
        for counter in self._retries:
            counter.inc()

    def depth(self, batches: int) -> None:
        for gauge in self._depth:
            gauge.set(batches)


@final
class _Maker:
    """Makes metrics, or finds those of an earlier import of this module."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, labels: Sequence[str]) -> Any:
        from prometheus_client import Counter

        return self._made(Counter, name, text, labels)

    def gauge(self, name: str, text: str, labels: Sequence[str]) -> Any:
        from prometheus_client import Gauge

        return self._made(Gauge, name, text, labels)

    def histogram(self, name: str, text: str, labels: Sequence[str]) -> Any:
        from prometheus_client import Histogram

        return self._made(Histogram, name, text, labels, buckets=_BUCKETS)

    def _made(self, kind: Any, name: str, text: str, labels: Sequence[str], **options: Any) -> Any:
        try:
            return kind(name, text, labels, registry=self._registry, **options)
        except ValueError:
            # The library has no public way to ask for a metric by name.
            known = getattr(self._registry, "_names_to_collectors", {}).get(name)
            if type(known) is not kind:
                raise
            return known


_telemetry: list[SinkTelemetry] = []


def get_sink_telemetry() -> SinkTelemetry:
    """Return the metrics that sinks report to, made on first use."""
    if not _telemetry:
        _telemetry.append(SinkTelemetry())
    return _telemetry[0]


def set_sink_telemetry(telemetry: SinkTelemetry | None) -> None:
    """Let sinks that start from now on report elsewhere.

    Args:
        telemetry: Where to; None for the registry that `/metrics` serves.
    """
    _telemetry[:] = [] if telemetry is None else [telemetry]

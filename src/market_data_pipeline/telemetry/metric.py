"""What a metric is: a name, what it means, and where in a reading its values are."""

from __future__ import annotations

__all__ = ("Histogram", "Kind", "Metric", "Point", "Value", "per_edge", "per_job", "per_node")

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from market_data_pipeline.dag.channel_statistics import ChannelStatistics
from market_data_pipeline.dag.figures import BUCKET_BOUNDS_S, NodeFigures
from market_data_pipeline.telemetry.readings import JobReading

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_NAME_MAX: Final = 200
_REASONS_MAX: Final = 64
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long things took.

    Attributes:
        counts: How many took no longer than each of `BUCKET_BOUNDS_S`, cumulative.
        count: How many there were.
        sum_s: How long all took together, seconds.
    """

    counts: tuple[int, ...]
    count: int
    sum_s: float

    def buckets(self) -> list[tuple[str, float]]:
        """Return pairs of upper bound and cumulative count, as Prometheus wants them."""
        bounds = [repr(bound) for bound in BUCKET_BOUNDS_S]
        return [*zip(bounds, map(float, self.counts), strict=True), ("+Inf", float(self.count))]


Value: TypeAlias = float | Histogram
Point: TypeAlias = tuple[tuple[str, ...], Value]
"""The values of the labels, and what was measured."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name in Prometheus, without `_total`.
        kind: Whether it only grows, goes up and down, or counts durations.
        text: What it means, one sentence.
        labels: The names of its labels.
        read: Finds its values in what one look at a pipeline gave.
        unit: The unit in OpenTelemetry's spelling.
    """

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...]
    read: Callable[[JobReading], Iterable[Point]]
    unit: str = "1"

    @property
    def exposed(self) -> str:
        """Its name as it is queried: that of a counter ends in `_total`."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def points(self, readings: Iterable[JobReading]) -> Iterator[Point]:
        """Return its values in some readings, with labels that are fit to be shown."""
        for reading in readings:
            for labels, value in self.read(reading):
                if isinstance(value, Histogram) or math.isfinite(value):
                    yield tuple(_label(text) for text in labels), value


def per_job(
    name: str,
    kind: Kind,
    text: str,
    value: Callable[[JobReading], Value | None],
    unit: str = "1",
) -> Metric:
    """Return a metric with one value for each pipeline, left out where it is None."""

    def read(reading: JobReading) -> Iterator[Point]:
        found = value(reading)
        if found is not None:
            yield (reading.key,), found

    return Metric(name, kind, text, ("pipeline",), read, unit)


def per_node(
    name: str,
    kind: Kind,
    text: str,
    value: Callable[[NodeFigures], Value | Mapping[str, int] | None],
    unit: str = "1",
    *,
    of: str | None = None,
    by_reason: bool = False,
) -> Metric:
    """Return a metric with one value for each node, left out where it is None.

    Args:
        name: Its name.
        kind: What it is.
        text: What it means.
        value: Returns the value of a node, or its values by reason.
        unit: The unit.
        of: Kind of the nodes that have it; None for all.
        by_reason: Whether the value is a mapping by reason.
    """

    def read(reading: JobReading) -> Iterator[Point]:
        for node in reading.nodes.values():
            if of is not None and node.kind != of:
                continue
            found = value(node)
            if isinstance(found, Mapping):
                for reason, rows in _few(found):
                    yield (reading.key, node.node, reason), rows
            elif found is not None:
                yield (reading.key, node.node), found

    labels = ("pipeline", "node", "reason") if by_reason else ("pipeline", "node")
    return Metric(name, kind, text, labels, read, unit)


def per_edge(
    name: str,
    kind: Kind,
    text: str,
    value: Callable[[ChannelStatistics], Value],
    unit: str = "1",
) -> Metric:
    """Return a metric with one value for each channel between two nodes."""

    def read(reading: JobReading) -> Iterator[Point]:
        for (reader, (giver, port)), channel in reading.edges.items():
            yield (reading.key, reader, f"{giver}.{port}"), value(channel)

    return Metric(name, kind, text, ("pipeline", "node", "edge"), read, unit)


def _few(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return rows by reason; where an operator makes up ever more reasons, the rest as one."""
    listed = list(reasons.items())
    if len(listed) <= _REASONS_MAX:
        return listed
    kept = listed[: _REASONS_MAX - 1]
    rest = sum(rows for _, rows in listed[_REASONS_MAX - 1 :])
    return [*kept, (_OTHER, rest)]


def _label(text: str) -> str:
    # Half of a surrogate pair cannot be sent; all else is escaped by who sends it.
    return text[:_NAME_MAX].encode("utf-8", "replace").decode("utf-8")

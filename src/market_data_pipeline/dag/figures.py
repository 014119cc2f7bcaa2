"""What a run shows of its nodes while it goes on: rows, time, lag, queues, states.

The engine counts in a `Meter` of each node, a few integers for each batch. Whoever wants to
know, from whatever thread, asks the run for `NodeFigures`, made of the meters on the spot.
"""

from __future__ import annotations

__all__ = (
    "BUCKETS",
    "BUCKET_BOUNDS_S",
    "BacklogReader",
    "Meter",
    "NodeFigures",
    "NodeState",
    "PacedReader",
    "Phase",
    "TokenReader",
    "PLACES",
)

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

from market_data_pipeline.batch import TIME_MIN, Progress
from market_data_pipeline.dag.graph import Kind

NodeState: TypeAlias = Literal["starting", "running", "idle", "ended", "failed"]
Phase: TypeAlias = Literal["starting", "running", "ended", "failed"]
"""Where a run as a whole is."""

BUCKETS: Final = 64
"""A time of n nanoseconds is counted in bucket `n.bit_length()`; int64 has no more."""

_LOWEST_BOUND: Final = 10
_HIGHEST_BOUND: Final = 34
PLACES: Final = tuple(range(_LOWEST_BOUND, _HIGHEST_BOUND + 1, 2))
"""The buckets at whose upper ends processing times are shown."""
BUCKET_BOUNDS_S: Final = tuple((1 << place) / 1e9 for place in PLACES)
"""Upper bounds of the processing times that are shown, seconds: 1 us to 17 s, times four."""


@runtime_checkable
class BacklogReader(Protocol):
    """What the running half of a source has besides if it knows what waits upstream."""

    def backlog(self) -> int | None:
        """Return the rows that wait to be read, None if unknown now. Never waits."""
        ...


@runtime_checkable
class PacedReader(Protocol):
    """What a source that can be slowed down has besides to tell how much it may do."""

    @property
    def budget_scale(self) -> float:
        """The share of its provider's budget that it may draw on, 0 to 1."""
        ...


@runtime_checkable
class TokenReader(Protocol):
    """What the running half of a source has besides if a token bucket paces it."""

    @property
    def pacing_waits(self) -> int:
        """How often it had to wait for a token."""
        ...


@dataclass(slots=True)
class Meter:
    """What the engine counts of one node; written by the event loop only.

    Attributes:
        busy_ns: Nanoseconds in which it worked, or waited for what it calls.
        blocked_ns: Nanoseconds in which it waited for room downstream.
        busy_since: When the call began that it waits for now, by `perf_counter_ns`; 0 if
            it waits for none. For nodes that await.
        blocked_since: When it began to wait for room, 0 if it does not wait.
        progress: For a source or sink: that of the last batch.
        idle: True while its input has nothing to say.
        ended: True once it has come to its end.
        buckets: How many batches took less than `2 ** place` nanoseconds and not less
            than half of that.
        shown_busy_ns: The most that was shown of `busy_ns`.
        shown_blocked_ns: The most that was shown of `blocked_ns`.
    """

    busy_ns: int = 0
    blocked_ns: int = 0
    busy_since: int = 0
    blocked_since: int = 0
    progress: Progress | None = None
    idle: bool = False
    ended: bool = False
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    shown_busy_ns: int = 0
    shown_blocked_ns: int = 0

    @property
    def watermark(self) -> int:
        """The watermark after the last batch, `TIME_MIN` before the first."""
        return TIME_MIN if self.progress is None else self.progress.end

    @property
    def newest(self) -> int:
        """The highest event time there has been, as far as the watermarks tell it."""
        progress = self.progress
        return TIME_MIN if progress is None else progress.end + progress.bound

    def took(self, spent_ns: int) -> None:
        """Count a batch that took so many nanoseconds."""
        self.busy_ns += spent_ns
        self.buckets[spent_ns.bit_length()] += 1

    def block(self) -> None:
        """Begin to wait for room downstream."""
        self.blocked_since = perf_counter_ns()

    def unblock(self) -> None:
        """Count the wait for room that is over."""
        self.blocked_ns += perf_counter_ns() - self.blocked_since
        self.blocked_since = 0

    def busy_s(self) -> float:
        """Return the seconds in which it worked, those of a call that goes on included."""
        since = self.busy_since
        spent = self.busy_ns + (perf_counter_ns() - since if since else 0)
        # The loop's thread may be between two steps of counting; what is shown never falls.
        self.shown_busy_ns = max(self.shown_busy_ns, spent)
        return self.shown_busy_ns / 1e9

    def blocked_s(self) -> float:
        """Return the seconds in which it waited for room, a wait that goes on included."""
        since = self.blocked_since
        spent = self.blocked_ns + (perf_counter_ns() - since if since else 0)
        self.shown_blocked_ns = max(self.shown_blocked_ns, spent)
        return self.shown_blocked_ns / 1e9


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What is known of a node at one time.

    Attributes:
        node: Its name.
        kind: "source", "operator" or "sink".
        inputs: The nodes it reads.
        state: What it is doing. One that was stopped by the failure of another has ended.
        rows_in: Rows it received; see `Account`.
        rows_out: Rows it sent on its main outputs.
        created: Rows it sent that are none of those it received.
        held: Rows inside it.
        reasons: Rows that ended in it, by reason.
        marks: Rows that went on although something was found, by what.
        bytes_in: Bytes it took from its channels; 0 for one that is called by the operator
            before it.
        watermark_ns: How far its event time has come; None if nowhere yet, or at its end.
        newest_ns: Highest event time that the sources before it have given, None if none.
        lag_ns: From `watermark_ns` to `newest_ns`: event time that was read and is not
            complete here. None where one of the two is.
        behind_ns: From `newest_ns` to the wall clock. Says something of live feeds only.
        busy_s: Seconds in which it worked, or waited for what it calls. Of a source that
            is not measured: it waits for its feed.
        blocked_s: Seconds in which it waited for room downstream.
        batches: Batches whose processing was timed.
        buckets: How many of them took less than each of `BUCKET_BOUNDS_S`, cumulative.
        queue_rows: Rows that wait in front of it, those read ahead included.
        queue_bytes: Bytes in its channels.
        queue_rows_max: Capacity of its channels in rows; 0 if it has none.
        queue_bytes_max: Capacity of its channels in bytes; 0 if it has none.
        backlog: For a source that knows: rows that wait upstream to be read.
        budget_scale: For a source that is paced: share of its budget it may draw on.
        pacing_waits: For a source that is paced: how often it had to wait for a token.
        error: What it failed of, None if it did not.
    """

    node: str
    kind: Kind
    inputs: tuple[str, ...]
    state: NodeState
    rows_in: int
    rows_out: int
    created: int
    held: int
    reasons: Mapping[str, int]
    marks: Mapping[str, int]
    bytes_in: int
    watermark_ns: int | None
    newest_ns: int | None
    lag_ns: int | None
    behind_ns: int | None
    busy_s: float
    blocked_s: float
    batches: int
    buckets: tuple[int, ...]
    queue_rows: int
    queue_bytes: int
    queue_rows_max: int
    queue_bytes_max: int
    backlog: int | None
    budget_scale: float | None
    pacing_waits: int | None
    error: str | None

    @property
    def fill(self) -> float:
        """How full the channels in front of it are, 0 to 1: of rows or bytes, the fuller."""
        rows = self.queue_rows / self.queue_rows_max if self.queue_rows_max else 0.0
        size = self.queue_bytes / self.queue_bytes_max if self.queue_bytes_max else 0.0
        return min(1.0, max(rows, size))

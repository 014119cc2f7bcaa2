"""Batches on their way to a store: the one queue, workers and retries of the sinks for bars.

Batches wait in a bounded queue for workers that write them, each as often as the retry
policy says. Every batch that was taken ends under one of three counts: written, failed or
dropped. One that failed is given to the dead-letter hook; where there is none, `flush` and
`close` raise, unless the owner chose to count only.
"""

from __future__ import annotations

__all__ = (
    "Counters",
    "DeadBatch",
    "DeadLetterHook",
    "OnFailure",
    "QueuePolicy",
    "WriteQueue",
    "queue_policy",
)

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, final

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.boundary import is_cancelled
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.errors import ConfigError, SinkError, nearest
from market_data_pipeline.sink.retry import RetryPolicy
from market_data_pipeline.sink.telemetry import SinkMeter
from market_data_pipeline.sink.turns import Turns

QueuePolicy: TypeAlias = Literal["block", "drop_oldest", "drop_newest"]
"""What to do with a batch for which there is no room: wait, or drop one."""
OnFailure: TypeAlias = Literal["raise", "count"]
"""What `flush` and `close` do about batches that nobody took: raise, or nothing."""
Items: TypeAlias = Sequence[Any]

_POLICIES: Final[dict[str, QueuePolicy]] = {
    "block": "block",
    "drop_oldest": "drop_oldest",
    "drop_newest": "drop_newest",
    "oldest": "drop_oldest",
    "newest": "drop_newest",
}


def queue_policy(name: object) -> QueuePolicy:
    """Return the policy of a name: `block`, `drop_oldest` or `oldest`, `drop_newest` or `newest`.

    Raises:
        ConfigError: If there is none of this name.
    """
    word = name.value if isinstance(name, Enum) else name
    if word is None or word == "":
        return "block"
    found = _POLICIES.get(word.lower()) if isinstance(word, str) else None
    if found is None:
        known = ", ".join(f"`{policy}`" for policy in _POLICIES)
        hint = nearest(word, _POLICIES) if isinstance(word, str) else ""
        msg = f"`backpressure_policy` must be one of {known}, was {word!r}{hint}"
        raise ConfigError(msg, parameter="backpressure_policy")
    return found


@dataclass(slots=True)
class Counters:
    """What has become of the batches, and of the items in them.

    `batches_in = batches_written + batches_failed + batches_dropped` once nothing waits.

    Attributes:
        batches_in: Batches taken, those dropped at once included.
        batches_written: Batches that are in the store.
        batches_failed: Batches that are not, after their last attempt.
        batches_dropped: Batches given up for want of room, or at a `close` without `drain`.
        dead_lettered: Batches among those failed that the dead-letter hook has.
        retries: Attempts after the first.
        items_in: Items in the batches taken.
        items_written: Items sent to the store.
        items_failed: Items of batches that failed.
        items_dropped: Items of batches that were dropped.
        items_dead_lettered: Items among those failed that the dead-letter hook has.
    """

    batches_in: int = 0
    batches_written: int = 0
    batches_failed: int = 0
    batches_dropped: int = 0
    dead_lettered: int = 0
    retries: int = 0
    items_in: int = 0
    items_written: int = 0
    items_failed: int = 0
    items_dropped: int = 0
    items_dead_lettered: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DeadBatch:
    """A batch that could not be written.

    Attributes:
        sink: Name of the sink.
        items: The batch, as it was given to the sink.
        error: What the last attempt raised.
        attempts: How often it was tried.
    """

    sink: str
    items: Items
    error: BaseException
    attempts: int


DeadLetterHook: TypeAlias = Callable[[DeadBatch], Awaitable[None] | None]
"""Takes a batch that failed; where it raises, the batch counts as told to nobody."""


@final
class WriteQueue:
    """A bounded queue of batches, and the workers that write them.

    Rows that have a key in common are written in the order in which their batches were
    given, with any number of workers. With no workers, batches are written by those who
    call `flush`, `close`, or `put` where there is no room.

    Attributes:
        queue: The batches that wait.
        workers: The tasks; they are over once `close` has returned.
        counters: What has become of the batches.
        last_commit_ns: When a batch was written last, nanoseconds since the UNIX epoch.
        last_error_ns: When an attempt failed last.
        last_error: Its error as text.
        in_flight: Batches that are being written.
    """

    def __init__(
        self,
        deliver: Callable[[Items], Awaitable[int]],
        *,
        name: str,
        capacity: int,
        workers: int,
        policy: QueuePolicy = "block",
        retry: RetryPolicy | None = None,
        keys: Callable[[Items], Collection[Hashable]] | None = None,
        dead_letters: DeadLetterHook | None = None,
        on_failure: OnFailure = "raise",
        meter: SinkMeter | None = None,
        clock: Clock | None = None,
        counters: Counters | None = None,
    ) -> None:
        if capacity <= 0:
            msg = f"`queue_max` must be positive, was {capacity}"
            raise ConfigError(msg, parameter="queue_max")
        if workers < 0:
            msg = f"`workers` must not be negative, was {workers}"
            raise ConfigError(msg, parameter="workers")
        self.queue: asyncio.Queue[Items] = asyncio.Queue(capacity)
        self.workers: list[asyncio.Task[None]] = []
        self.counters = counters if counters is not None else Counters()
        self.last_commit_ns: int | None = None
        self.last_error_ns: int | None = None
        self.last_error = ""
        self.in_flight = 0
        self._deliver = deliver
        self._name = name
        self._worker_count = workers
        self._policy = policy
        self._retry = retry or RetryPolicy()
        self._turns = Turns(keys if workers > 1 else None)
        self._dead_letters = dead_letters
        self._on_failure = on_failure
        self._meter = meter or SinkMeter()
        self._clock = clock or SystemClock()
        self._commit_s: float | None = None
        self._waiting = 0
        self._abandoned = False
        self._untold: BaseException | None = None
        self._untold_batches = 0

    def start(self) -> None:
        """Start the workers; called with a running loop."""
        loop = asyncio.get_running_loop()
        self.workers = [
            loop.create_task(self._work(worker), name=f"{self._name}-{worker}")
            for worker in range(self._worker_count)
        ]

    def pressure(self) -> Pressure:
        """Return how full the queue is; those who wait for room count as well."""
        return Pressure(self.queue.qsize() + self._waiting, self.queue.maxsize, self._commit_s)

    async def put(self, items: Items) -> None:
        """Take a batch. Does not suspend while there is room.

        Raises:
            SinkError: If the queue was closed without `drain` while this waited for room.
        """
        if not self.queue.full():
            self._take(items)
            self.queue.put_nowait(items)
        elif self._policy == "drop_newest":
            self._take(items)
            self._drop(items)
        elif self._policy == "drop_oldest":
            self._take(items)
            self._drop(self._next())
            self.queue.put_nowait(items)
        else:
            await self._put_in_turn(items)
        self._meter.depth(self.queue.qsize())

    def _take(self, items: Items) -> None:
        self.counters.batches_in += 1
        self.counters.items_in += len(items)
        self._meter.taken()

    async def _put_in_turn(self, items: Items) -> None:
        self._waiting += 1
        try:
            if not self.workers:
                await self._handle(self._get(), 0)
            await self.queue.put(items)
        finally:
            self._waiting -= 1
        self._take(items)
        if self._abandoned:
            msg = f"{self._name} was closed while a batch of {len(items)} waited for room"
            raise SinkError(msg)

    def _get(self) -> Items:
        return self.queue.get_nowait()

    def _next(self) -> Items:
        """Return the batch that waits longest, for which nobody will have to wait."""
        items = self.queue.get_nowait()
        self.queue.task_done()
        return items

    def _drop(self, items: Items, reason: str = "queue_full") -> None:
        self.counters.batches_dropped += 1
        self.counters.items_dropped += len(items)
        self._meter.dropped(reason)

    # Writing

    async def _work(self, worker: int) -> None:
        while True:
            await self._handle(await self.queue.get(), worker)

    async def _handle(self, items: Items, worker: int) -> None:
        self._meter.depth(self.queue.qsize())
        self.in_flight += 1
        turn = self._turns.enter(items)
        counted = False
        try:
            await turn.come()
            error = await self.process(items, worker)
            counted = True
            if error is not None:
                self._remember(error)
        finally:
            if not counted:
                self._drop(items, "closed")
            turn.leave()
            self.in_flight -= 1
            self.queue.task_done()

    async def process(self, items: Items, worker: int = 0) -> BaseException | None:
        """Write a batch, as often as it takes, past the queue.

        Returns:
            None if it is written, or if the dead-letter hook has it; else the error.
        """
        attempt = 0
        while True:
            attempt += 1
            began = self._clock.monotonic()
            error: BaseException
            try:
                written = await self._deliver(items)
            except asyncio.CancelledError as err:
                if is_cancelled():
                    raise
                error = err  # somebody else's, leaked by the store's client
            except Exception as err:  # noqa: BLE001 - a store may raise anything; it is told
                error = err
            else:
                self._written(written, self._clock.monotonic() - began)
                return None
            self.last_error_ns = self._clock.now_ns()
            self.last_error = f"{type(error).__name__}: {error}"
            if self._abandoned or not self._retry.again(error, attempt):
                return await self._failed(items, error, attempt)
            self.counters.retries += 1
            self._meter.retried()
            await self._clock.sleep(self._retry.delay_s(attempt, worker))

    def _written(self, items: int, seconds: float) -> None:
        self.counters.batches_written += 1
        self.counters.items_written += items
        self._commit_s = seconds
        self.last_commit_ns = self._clock.now_ns()
        self._meter.committed(items, seconds)

    async def _failed(
        self, items: Items, error: BaseException, attempts: int
    ) -> BaseException | None:
        kept = await self._lay_aside(DeadBatch(self._name, items, error, attempts))
        self.counters.batches_failed += 1
        self.counters.items_failed += len(items)
        self._meter.failed(type(error).__name__)
        if not kept:
            return error
        self.counters.dead_lettered += 1
        self.counters.items_dead_lettered += len(items)
        return None

    async def _lay_aside(self, dead: DeadBatch) -> bool:
        if self._dead_letters is None:
            return False
        try:
            told = self._dead_letters(dead)
            if inspect.isawaitable(told):
                await told
        except Exception as err:  # noqa: BLE001 - a hook may raise anything; it is told
            note = f"the dead-letter hook failed too: {type(err).__name__}: {err}"
            dead.error.add_note(note)
            return False
        return True

    def _remember(self, error: BaseException) -> None:
        self._untold_batches += 1
        self._untold = self._untold or error

    # The end

    async def flush(self) -> None:
        """Return once nothing waits and nothing is being written.

        Raises:
            SinkError: If batches could not be written, and nobody has been told.
        """
        await self._drain()
        self._tell()

    async def _drain(self) -> None:
        while True:
            if not self.workers:
                while not self.queue.empty():
                    await self._handle(self._get(), 0)
            await self.queue.join()
            if not self._waiting:
                return
            await asyncio.sleep(0)  # those who waited for room find it now

    def _tell(self) -> None:
        error, batches = self._untold, self._untold_batches
        self._untold, self._untold_batches = None, 0
        if self._on_failure == "count" or error is None:
            return
        msg = (
            f"{self._name}: {batches:,} batch{'es' if batches > 1 else ''} could not be written; "
            f"{'the first' if batches > 1 else 'it'} failed with {type(error).__name__}: {error}"
        )
        raise SinkError(msg) from error

    async def close(self, *, drain: bool, timeout_s: float | None = None) -> None:
        """End the workers, once everything is written or given up.

        Args:
            drain: Whether to write what waits; what is being written is awaited anyway.
            timeout_s: Seconds after which what is not written is given up; None waits.

        Raises:
            SinkError: If batches could not be written, and nobody has been told.
        """
        self._abandoned = not drain
        try:
            async with asyncio.timeout(timeout_s):
                if not drain:
                    await self._give_up()
                await self._drain()
        except TimeoutError as err:
            self._abandoned = True
            lost = self.queue.qsize() + self.in_flight
            await self._give_up()
            late = SinkError(f"{lost:,} batches were given up after {timeout_s} s")
            late.__cause__ = err
            self._remember(late)
        finally:
            await self._end_workers()
        self._tell()

    async def _give_up(self) -> None:
        while True:
            while not self.queue.empty():
                self._drop(self._next(), "closed")
            if not self._waiting:
                return
            await asyncio.sleep(0)  # those who waited for room learn that there will be none

    async def _end_workers(self) -> None:
        for worker in self.workers:
            worker.cancel()
        if self.workers:
            await asyncio.wait(self.workers)
        while not self.queue.empty():
            self._drop(self._next(), "closed")
        self._meter.depth(self.queue.qsize())

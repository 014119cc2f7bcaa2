"""Which of several sources is read: one at a time, another one when it fails."""

from __future__ import annotations

__all__ = ("STRATEGIES", "Lost", "Routing", "Strategy", "strategy_of")

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.errors import ConfigError, SourceError, nearest

Strategy: TypeAlias = Literal["first", "failover", "round_robin", "fastest"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)

_BACKOFF_S: Final = 0.05
_BACKOFF_MAX_S: Final = 5.0

T = TypeVar("T")


def strategy_of(name: str) -> Strategy:
    """Return the strategy of a name.

    Raises:
        ConfigError: If there is none.
    """
    found: Strategy | None = next((known for known in STRATEGIES if known == name), None)
    if found is None:
        names = ", ".join(f"`{known}`" for known in STRATEGIES)
        msg = f"`strategy` must be one of {names}, was `{name}`{nearest(str(name), STRATEGIES)}"
        raise ConfigError(msg, parameter="strategy")
    return found


@dataclass(frozen=True, slots=True)
class Lost:
    """A member that was read has failed.

    Attributes:
        member: Its number.
        error: What it failed of.
    """

    member: int
    error: BaseException


class Routing(Generic[T]):
    """Reads one of several members, and another one when it fails.

    `first` takes them in order and stays with the one that works. `failover` does too, and
    goes back to an earlier one as soon as that gives something again; it is tried after
    `fail_back_s`, beside the one that is read. `round_robin` begins with the next one each
    time. `fastest` asks all at once and takes the one that answers first. A member that
    gave nothing since its last failure is tried `retries` times more, after a pause that
    doubles with each round.

    Args:
        members: Each gives a fresh stream of a member.
        strategy: Which member is next.
        retries: How often a member that keeps failing is tried again, >= 0.
        fail_back_s: Seconds until an earlier member is tried again.
        retryable: The errors that make another member take over; others are raised.
        clock: The time that passes; the machine's by default.

    Attributes:
        active: Number of the member that is or was read last; None before the first.
    """

    def __init__(
        self,
        members: Sequence[Callable[[], AsyncIterator[T]]],
        strategy: Strategy,
        retries: int,
        *,
        fail_back_s: float,
        retryable: tuple[type[Exception], ...],
        clock: Clock | None = None,
    ) -> None:
        strategy_of(strategy)
        if not members:
            msg = "there must be at least one source, were none"
            raise ConfigError(msg, parameter="sources")
        if retries < 0:
            msg = f"`max_retries` must not be negative, was {retries}"
            raise ConfigError(msg, parameter="max_retries")
        self._members = members
        self._strategy = strategy
        self._retries = retries
        self._fail_back_s = fail_back_s
        self._retryable = retryable
        self._clock = clock or SystemClock()
        self._failures = [0] * len(members)
        self._errors: dict[int, BaseException] = {}
        self._next = 0
        self.active: int | None = None

    async def stream(self) -> AsyncGenerator[T | Lost, None]:
        """Give what the members give, and `Lost` when the one that is read fails.

        Raises:
            SourceError: If all have failed as often as they may.
        """
        rounds = 0
        while True:
            left = [n for n, count in enumerate(self._failures) if count <= self._retries]
            if not left:
                raise self._all_failed()
            if min(self._failures[n] for n in left) > rounds:
                await self._clock.sleep(min(_BACKOFF_MAX_S, _BACKOFF_S * 2.0**rounds))
                rounds += 1
            fewest = min(self._failures[n] for n in left)
            candidates = [n for n in left if self._failures[n] == fewest]
            try:
                async with aclosing(self._read(candidates)) as items:
                    async for item in items:
                        rounds = 0
                        yield item
            except _MemberError as failed:
                self._failures[failed.member] += 1
                self._errors[failed.member] = failed.error
                yield Lost(failed.member, failed.error)
            else:
                return

    async def _read(self, candidates: list[int]) -> AsyncGenerator[T, None]:
        if self._strategy == "fastest" and len(candidates) > 1:
            number, stream, item = await self._race(candidates)
            given: list[T] = [item]
        else:
            number = self._chosen(candidates)
            stream, given = self._members[number](), []
        probe: _Probe[T] | None = None
        try:
            while True:
                self.active = number
                for item in given:
                    self._failures[number] = 0
                    yield item
                try:
                    given = [await anext(stream)]
                except StopAsyncIteration:
                    return
                except self._retryable as err:
                    raise _MemberError(number, err) from err
                if self._strategy == "failover" and number > 0:
                    probe = probe or _Probe(self, number)
                    found = await probe.result()
                    if found is not None:
                        await _close(stream)
                        number, stream, first = found
                        given = [*given, first]
                        probe = None
        finally:
            if probe is not None:
                await probe.close()
            await _close(stream)

    def _chosen(self, candidates: list[int]) -> int:
        if self._strategy != "round_robin":
            return candidates[0]
        chosen = next((n for n in candidates if n >= self._next), candidates[0])
        self._next = (chosen + 1) % len(self._members)
        return chosen

    async def _race(self, candidates: list[int]) -> tuple[int, AsyncIterator[T], T]:
        """Return the member that gives something first, and what it gave."""
        streams = {number: self._members[number]() for number in candidates}
        loop = asyncio.get_running_loop()
        asked = {loop.create_task(_first(stream)): n for n, stream in streams.items()}
        won: int | None = None
        try:
            waiting = set(asked)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=asked.__getitem__):
                    error = task.exception()
                    if error is None:
                        won = asked[task]
                        return won, streams[won], task.result()
                    if not isinstance(error, (*self._retryable, StopAsyncIteration, _Ended)):
                        raise error
                    self._failures[asked[task]] += 1
                    self._errors[asked[task]] = error
            last = candidates[-1]
            self._failures[last] -= 1  # it is counted by who catches this
            raise _MemberError(last, self._errors[last])
        finally:
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
            for number, stream in streams.items():
                if number != won:
                    await _close(stream)

    def _all_failed(self) -> SourceError:
        said = "; ".join(f"{n + 1}: {err}" for n, err in sorted(self._errors.items()))
        error = SourceError(f"All sources failed ({said})")
        error.__cause__ = next(iter(self._errors.values()), None)
        return error


class _MemberError(Exception):
    def __init__(self, member: int, error: BaseException) -> None:
        super().__init__(str(error))
        self.member = member
        self.error = error


class _Ended(Exception):  # noqa: N818
    """A stream that ended before it gave anything; a task cannot raise the usual error."""


class _Probe(Generic[T]):
    """Tries members before the one that is read, beside it."""

    def __init__(self, routing: Routing[T], number: int) -> None:
        self._routing = routing
        self._number = number
        self._since_s = routing._clock.monotonic()  # noqa: SLF001 - its own helper
        self._at = 0
        self._stream: AsyncIterator[T] | None = None
        self._task: asyncio.Task[T] | None = None

    async def result(self) -> tuple[int, AsyncIterator[T], T] | None:
        """Return an earlier member that works again, if one has shown by now; never waits."""
        routing = self._routing
        if self._task is None:
            passed_s = routing._clock.monotonic() - self._since_s  # noqa: SLF001
            if passed_s >= routing._fail_back_s:  # noqa: SLF001
                self._stream = routing._members[self._at]()  # noqa: SLF001
                self._task = asyncio.get_running_loop().create_task(_first(self._stream))
            return None
        if not self._task.done() or self._stream is None:
            return None
        task, stream, at = self._task, self._stream, self._at
        self._task = self._stream = None
        error = task.exception()
        if error is None:
            return at, stream, task.result()
        await _close(stream)
        if not isinstance(error, (*routing._retryable, _Ended)):  # noqa: SLF001
            raise error
        self._at = (at + 1) % self._number
        if not self._at:
            self._since_s = routing._clock.monotonic()  # noqa: SLF001
        return None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()
        if self._stream is not None:
            await _close(self._stream)


async def _first(stream: AsyncIterator[T]) -> T:
    try:
        return await anext(stream)
    except StopAsyncIteration:
        raise _Ended from None


async def _close(stream: Any) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()

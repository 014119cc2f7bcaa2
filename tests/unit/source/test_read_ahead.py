from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from market_data_pipeline.source.read_ahead import ReadAhead


class Counted:
    """Makes numbers up to some, and knows how many it made and in which threads."""

    def __init__(self, stop: int) -> None:
        self.numbers: Iterator[int] = iter(range(stop))
        self.made = 0
        self.threads: set[int] = set()

    def __call__(self) -> int | None:
        self.threads.add(threading.get_ident())
        self.made += 1
        return next(self.numbers, None)


def test_everything_comes_in_order_and_then_the_end() -> None:
    """And the end again, for whoever asks again."""

    async def run() -> list[int | None]:
        make = Counted(1000)
        ahead = ReadAhead(make, 3)
        found = [await ahead.get() for _ in range(1002)]
        await ahead.close()
        assert make.made == 1001, "it is not called after the end"
        assert make.threads.isdisjoint({threading.get_ident()})
        assert len(make.threads) == 1
        return found

    assert asyncio.run(run()) == [*range(1000), None, None]


def test_it_is_never_further_ahead_than_its_depth() -> None:
    """Two wait to be taken, and no more are made."""

    async def run() -> None:
        make = Counted(1000)
        ahead = ReadAhead(make, 2)
        for taken in range(1, 200):
            assert await ahead.get() == taken - 1
            assert make.made <= taken + 2
        await ahead.close()
        assert make.made <= 202

    asyncio.run(run())


def test_an_error_comes_after_what_was_made_before_it() -> None:
    """Each time it is asked for more."""

    def broken() -> int:
        numbers.append(len(numbers))
        if len(numbers) == 3:
            msg = "disk on fire"
            raise OSError(msg)
        return len(numbers)

    numbers: list[int] = []

    async def run() -> None:
        ahead = ReadAhead(broken, 2)
        assert [await ahead.get(), await ahead.get()] == [1, 2]
        for _ in range(2):
            with pytest.raises(OSError, match="on fire"):
                await ahead.get()
        await ahead.close()

    asyncio.run(run())


def test_nothing_is_lost_when_waiting_is_cancelled() -> None:
    """What was on its way comes with the next call."""
    gate = threading.Event()

    def gated() -> int:
        gate.wait()
        return 7

    async def run() -> None:
        ahead = ReadAhead(gated, 1)
        waiting = asyncio.ensure_future(ahead.get())  # noqa: TID251 - it is to be cancelled
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        assert await ahead.get() == 7
        await ahead.close()

    asyncio.run(run())


def test_closing_ends_the_thread_whatever_it_waits_for() -> None:
    """Before anything was taken, after the end, and twice."""

    async def run() -> None:
        before = threading.active_count()
        full = ReadAhead(Counted(1000), 1)
        ended = ReadAhead(Counted(0), 1)
        assert await ended.get() is None
        for ahead in (full, ended, full):
            await ahead.close()
        names = [thread.name for thread in threading.enumerate()]
        assert "read-ahead" not in names
        assert threading.active_count() <= before + 1

    asyncio.run(run())

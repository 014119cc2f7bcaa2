"""Await a function for many things at once, and keep their order."""

from __future__ import annotations

__all__ = ("ordered_results",)

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from market_data_pipeline.operator.rows import explain


async def ordered_results(
    fn: Callable[..., Awaitable[Any]],
    things: Iterable[Any],
    concurrency: int,
    place: Callable[[int], str],
) -> list[Any]:
    """Return the results of a coroutine function in the order of its arguments.

    Args:
        fn: The function; its first error in that order of time is raised, the calls under
            way are cancelled.
        things: Its arguments.
        concurrency: Most calls under way at a time.
        place: Says where the n-th argument is, for a note on the error.
    """
    results: dict[int, Any] = {}
    waiting = enumerate(things)

    async def work() -> None:
        for position, thing in waiting:
            try:
                results[position] = await fn(thing)
            except Exception as err:
                explain(err)
                err.add_note(f"raised for {place(position)}")
                raise

    if concurrency == 1:
        await work()
    else:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return [results[position] for position in range(len(results))]

"""Where a node's code meets the engine: whatever it raises gets the node's name."""

from __future__ import annotations

__all__ = ("boundary", "first_cause", "is_cancelled")

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from market_data_pipeline.dag.graph import Node
from market_data_pipeline.errors import NodeError


@contextmanager
def boundary(node: Node) -> Iterator[None]:
    """Give a node's name to whatever it raises: the one place that catches everything."""
    try:
        yield
    except NodeError:
        raise
    except asyncio.CancelledError as err:
        if is_cancelled():
            raise
        raise NodeError(node.name, err) from err
    except Exception as err:
        raise NodeError(node.name, err) from err


def is_cancelled() -> bool:
    """Tell whether the task was told to end; if not, a node leaks what cancelled another.

    A task group takes a task that ends with `CancelledError` for one that was told to, and
    the nodes that wait for its rows would wait for ever.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def first_cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that the others of a group are consequences of, if there is one."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [errors]
    while waiting:
        err = waiting.pop(0)
        if isinstance(err, BaseExceptionGroup):
            waiting.extend(err.exceptions)
        else:
            flat.append(err)
    first, *others = flat
    for other in others:
        first.add_note(f"then: {other}")
    return first

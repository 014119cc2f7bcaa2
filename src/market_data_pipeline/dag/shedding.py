"""What a full channel keeps: which rows go, by the policy of its edge."""

from __future__ import annotations

__all__ = (
    "Shed",
    "check_conflatable",
    "drop_oldest",
    "head_that_fits",
    "latest_of_each",
    "take_tail",
)

from collections import deque
from dataclasses import dataclass
from itertools import islice

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.messages import Barrier, Message, Status, Watermark
from market_data_pipeline.errors import GraphError


@dataclass(slots=True)
class Shed:
    """What was taken out of a queue.

    Attributes:
        rows: How many rows.
        bytes: Their size.
        behind: Those of them that came behind every barrier of the queue.
    """

    rows: int = 0
    bytes: int = 0
    behind: int = 0


def head_that_fits(batch: Batch, rows: int, size: int) -> Batch:
    """Return the first rows of a batch, as many as fit into a room; it may be none.

    Args:
        batch: The rows.
        rows: Room, in rows.
        size: Room, in bytes.
    """
    count = len(batch)
    width = max(1, batch.nbytes // max(count, 1))
    room = max(min(rows, size // width, count), 0)
    head = batch.slice(0, room)
    # Rows of text differ in size.
    while room and head.nbytes > size:
        room //= 2
        head = batch.slice(0, room)
    return head


def drop_oldest(queue: deque[Message], held: int, rows: int, size: int) -> Shed:
    """Take the oldest rows out of a queue until there is room for others.

    Args:
        queue: The queue; what is not rows stays in it.
        held: Rows in it. Once there are none, anything fits.
        rows: Rows there are too many, with those that are to come; below 1 for none.
        size: Bytes there are too many, likewise.
    """
    shed = Shed()
    position = 0
    while position < len(queue) and held > shed.rows and (rows > shed.rows or size > shed.bytes):
        head = queue[position]
        if not isinstance(head, Batch):
            position += 1
            continue
        count, taken = len(head), head.nbytes
        width = max(1, taken // max(count, 1))
        excess_bytes = -(-(size - shed.bytes) // width)
        cut = min(count, max(rows - shed.rows, excess_bytes, 1))
        shed.rows += cut
        if not _has_barrier(queue, position):
            shed.behind += cut
        if cut < count:
            queue[position] = rest = head.slice(cut, count)
            taken -= rest.nbytes
        else:
            del queue[position]
        shed.bytes += taken
    return shed


def take_tail(queue: deque[Message]) -> list[Batch]:
    """Take the rows after the last barrier or state out of a queue, in their order.

    The watermarks between them go with them; what else there is stays.
    """
    tail: list[Batch] = []
    kept: list[Message] = []
    while queue and not isinstance(queue[-1], Barrier | Status):
        message = queue.pop()
        if isinstance(message, Batch):
            tail.insert(0, message)
        elif not isinstance(message, Watermark):
            kept.insert(0, message)
    queue.extend(kept)
    return tail


def latest_of_each(rows: Batch) -> Batch:
    """Return the last row of each symbol, in order."""
    codes = rows.columns["symbol"]
    _, from_end = np.unique(codes[::-1], return_index=True)
    return rows.take(np.sort(len(codes) - 1 - from_end))


def check_conflatable(batch: Batch) -> None:
    """Refuse rows that may not be conflated.

    Where the columns are known before the run, the graph has refused them already.

    Raises:
        GraphError: If every row of such columns counts.
    """
    if not batch.schema.conflatable:
        msg = (
            f"the edge conflates {batch.schema.name} rows, of which every row counts; "
            "use `block`, `drop_oldest` or `drop_newest`"
        )
        raise GraphError(msg)


def _has_barrier(queue: deque[Message], position: int) -> bool:
    """Tell whether a barrier is queued behind a position."""
    return any(isinstance(message, Barrier) for message in islice(queue, position, None))

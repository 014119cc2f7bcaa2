"""Channels: bounded first-in-first-out edges between two nodes of one event loop."""

from __future__ import annotations

__all__ = ("Channel", "ChannelStatistics", "Pressure")

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.channel_statistics import ChannelStatistics, Pressure
from market_data_pipeline.dag.graph import DEFAULT_EDGE_BYTES, DEFAULT_EDGE_ROWS, Policy
from market_data_pipeline.dag.messages import (
    NOTHING_NEW,
    Barrier,
    End,
    Idle,
    Message,
    Watermark,
)
from market_data_pipeline.dag.shedding import (
    check_conflatable,
    drop_oldest,
    head_that_fits,
    latest_of_each,
    take_tail,
)
from market_data_pipeline.errors import BrokenChannelError, ChannelClosedError, ConfigError

COALESCE_BELOW_ROWS: Final = 4_096
"""Batches smaller than this are joined with what follows them in the channel."""
COALESCE_ROWS: Final = 65_536
"""A joined batch has at most this many rows."""

_OK: Final = Pressure.OK


class Channel:
    """A bounded channel from one sender to one receiver.

    Messages come out in the order they went in. Rows are bounded in number and in bytes;
    watermarks, states, barriers and the end take no room, and none but a watermark that a
    later one follows is ever shed. A batch larger than the channel is cut
    into pieces that fit, at most one row being larger than `bytes_max`. Small batches
    that have queued up come out as one, so a receiver that falls behind gets larger
    batches.

    Attributes:
        dropped_before: Rows shed before the barrier or end that was received last.
    """

    __slots__ = (
        "_broken",
        "_bytes",
        "_bytes_max",
        "_calm_bytes",
        "_calm_rows",
        "_closed",
        "_dropped",
        "_dropped_behind",
        "_nudged",
        "_peak_bytes",
        "_peak_rows",
        "_policy",
        "_pressure",
        "_queue",
        "_received",
        "_received_bytes",
        "_receiver",
        "_rows",
        "_rows_max",
        "_sender",
        "_sent",
        "_waits",
        "dropped_before",
        "on_ready",
        "pause_at",
        "resume_at",
        "wants_progress",
    )

    def __init__(
        self,
        *,
        rows_max: int = DEFAULT_EDGE_ROWS,
        bytes_max: int = DEFAULT_EDGE_BYTES,
        policy: Policy = "block",
        pause_at: float = 0.8,
        resume_at: float = 0.5,
    ) -> None:
        """Make an open, empty channel.

        Args:
            rows_max: Capacity in rows, > 0.
            bytes_max: Capacity in bytes, > 0.
            policy: What happens to rows that find it full; see `Edge`.
            pause_at: Fraction of the capacity from which pressure is SOFT.
            resume_at: Fraction down to which it must fall to be OK again.

        Raises:
            ConfigError: If a capacity is not positive, or the marks are out of order.
        """
        if rows_max <= 0 or bytes_max <= 0:
            msg = f"a channel's capacity must be positive, was {rows_max} rows, {bytes_max} bytes"
            raise ConfigError(msg)
        if not 0 <= resume_at <= pause_at <= 1:
            msg = f"needs 0 <= `resume_at` <= `pause_at` <= 1, was {resume_at} and {pause_at}"
            raise ConfigError(msg)
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._policy = policy
        self.pause_at = pause_at
        self.resume_at = resume_at
        # Below both of these the pressure is OK, which saves the divisions.
        self._calm_rows = resume_at * rows_max
        self._calm_bytes = resume_at * bytes_max
        self.wants_progress = True
        self.on_ready: Callable[[], None] | None = None
        self._queue: deque[Message] = deque()
        self._receiver: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None
        self._closed = False
        self._broken = False
        self._nudged = False
        self._rows = self._bytes = self._peak_rows = self._peak_bytes = 0
        self._sent = self._received = self._dropped = self._waits = self._received_bytes = 0
        self._dropped_behind = 0
        self.dropped_before = 0
        self._pressure = Pressure.OK

    def __len__(self) -> int:
        """Return the number of queued messages."""
        return len(self._queue)

    def statistics(self) -> ChannelStatistics:
        """Return what went through so far."""
        return ChannelStatistics(
            rows_sent=self._sent,
            rows_received=self._received,
            rows_dropped=self._dropped,
            rows_queued=self._rows,
            bytes_queued=self._bytes,
            rows_queued_max=self._peak_rows,
            bytes_queued_max=self._peak_bytes,
            waits=self._waits,
            pressure=self._pressure,
            bytes_received=self._received_bytes,
            rows_max=self._rows_max,
            bytes_max=self._bytes_max,
        )

    # Sending

    async def send(self, message: Message) -> None:
        """Put a message in, waiting or shedding rows where there is no room.

        Raises:
            ChannelClosedError: If the sender has closed the channel.
            BrokenChannelError: If the receiver is gone, now or while waiting.
        """
        if self.send_nowait(message) or not isinstance(message, Batch):
            return
        for piece in self._pieces(message):
            await self._send_piece(piece)

    def send_nowait(self, message: Message) -> bool:
        """Put a message in if there is room for all of it, and tell whether there was.

        Raises:
            ChannelClosedError: If the sender has closed the channel.
            BrokenChannelError: If the receiver is gone.
        """
        if self._closed or self._broken:
            self._check_open()
        if not isinstance(message, Batch):
            self._put_control(message)
            return True
        if self._policy == "conflate":
            check_conflatable(message)
        rows, size = len(message), message.nbytes
        if self._rows + rows > self._rows_max or self._bytes + size > self._bytes_max:
            return False
        self._sent += rows
        self._enqueue(message, rows, size)
        return True

    def _check_open(self) -> None:
        if self._closed:
            msg = "the channel was closed by its sender"
            raise ChannelClosedError(msg)
        if self._broken:
            msg = "the receiver of the channel is gone"
            raise BrokenChannelError(msg)

    def _put_control(self, message: Message) -> None:
        # Of watermarks in a row, or of idleness told twice, only the last says anything.
        if (
            isinstance(message, Watermark | Idle)
            and self._queue
            and type(self._queue[-1]) is type(message)
        ):
            self._queue[-1] = message
        else:
            self._queue.append(message)
            if isinstance(message, Barrier):
                self._dropped_behind = 0
        self._wake_receiver()

    def _pieces(self, batch: Batch) -> list[Batch]:
        count = len(batch)
        size = batch.nbytes
        if count <= 1 or (count <= self._rows_max and size <= self._bytes_max):
            return [batch]
        step = max(1, min(self._rows_max, count * self._bytes_max // max(size, 1)))
        parts = [batch.slice(at, min(at + step, count)) for at in range(0, count, step)]
        # Rows of text differ in size: a part that should fit on the average may not.
        return [piece for part in parts for piece in self._pieces(part)]

    async def _send_piece(self, batch: Batch) -> None:
        size = batch.nbytes
        if not self._fits(len(batch), size) and self._policy != "block":
            self._sent += len(batch)
            self._shed(batch)
            return
        while not self._fits(len(batch), size):
            self._waits += 1
            self._set_pressure()
            self._sender = asyncio.get_running_loop().create_future()
            try:
                await self._sender
            finally:
                self._sender = None
            self._check_open()
        self._sent += len(batch)
        self._enqueue(batch, len(batch), size)

    def _fits(self, rows: int, size: int) -> bool:
        if not self._rows:
            return True
        return self._rows + rows <= self._rows_max and self._bytes + size <= self._bytes_max

    def _enqueue(self, batch: Batch, rows: int, size: int) -> None:
        # Once for each batch, and a batch may be one row: no calls that can be spared.
        self._queue.append(batch)
        self._rows = queued_rows = self._rows + rows
        self._bytes = queued_bytes = self._bytes + size
        if queued_rows > self._peak_rows:  # noqa: PLR1730  `max` is a call
            self._peak_rows = queued_rows
        if queued_bytes > self._peak_bytes:  # noqa: PLR1730
            self._peak_bytes = queued_bytes
        if (
            queued_rows >= self._calm_rows
            or queued_bytes >= self._calm_bytes
            or self._pressure is not _OK
        ):
            self._set_pressure()
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)
        if self.on_ready is not None:
            self.on_ready()

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)
        if self.on_ready is not None:
            self.on_ready()

    # Shedding

    def _shed(self, batch: Batch) -> None:
        """Put in what the policy keeps, and count what it drops."""
        if self._policy == "drop_newest":
            self._drop_newest(batch)
        elif self._policy == "drop_oldest":
            self._drop_oldest(batch)
        else:
            self._conflate(batch)

    def _drop_newest(self, batch: Batch) -> None:
        kept = head_that_fits(batch, self._rows_max - self._rows, self._bytes_max - self._bytes)
        room = len(kept)
        self._count_dropped(len(batch) - room)
        if room:
            self._enqueue(kept, room, kept.nbytes)
        # The rows go, the progress they made does not.
        self._put_control(Watermark(batch.watermark))

    def _drop_oldest(self, batch: Batch) -> None:
        rows, size = len(batch), batch.nbytes
        shed = drop_oldest(
            self._queue,
            self._rows,
            self._rows + rows - self._rows_max,
            self._bytes + size - self._bytes_max,
        )
        self._rows -= shed.rows
        self._bytes -= shed.bytes
        self._count_dropped(shed.rows, behind=shed.behind)
        self._enqueue(batch, rows, size)

    def _conflate(self, batch: Batch) -> None:
        """Keep, of the rows after the last barrier or state, the latest of each symbol.

        Where there are more symbols than room, the oldest rows of the channel go.
        """
        tail = take_tail(self._queue)
        for part in tail:
            self._rows -= len(part)
            self._bytes -= part.nbytes
        joined = Batch.concat([*tail, batch])
        latest = latest_of_each(joined)
        self._count_dropped(len(joined) - len(latest))
        # The rows of all symbols may be more than the channel holds.
        for piece in self._pieces(latest):
            self._drop_oldest(piece)

    def _count_dropped(self, rows: int, *, behind: int | None = None) -> None:
        """Count rows that were shed.

        Args:
            rows: How many.
            behind: Those of them that came behind the last barrier; None for all.
        """
        self._dropped += rows
        self._dropped_behind += rows if behind is None else behind

    def _set_pressure(self) -> None:
        if self._rows < self._calm_rows and self._bytes < self._calm_bytes:
            self._pressure = Pressure.OK if self._sender is None else Pressure.HARD
            return
        fill = max(self._rows / self._rows_max, self._bytes / self._bytes_max)
        if fill >= 1 or self._sender is not None:
            self._pressure = Pressure.HARD
        elif fill >= self.pause_at:
            self._pressure = Pressure.SOFT
        elif fill <= self.resume_at:
            self._pressure = Pressure.OK
        elif self._pressure is Pressure.HARD:
            self._pressure = Pressure.SOFT

    # Receiving

    async def receive(self) -> Message:
        """Take the next message, waiting for one; small batches in a row come as one.

        Raises:
            BrokenChannelError: If the sender went away without sending the end.
        """
        while not self._queue:
            if self._nudged:
                self._nudged = False
                return NOTHING_NEW
            if self._closed or self._broken:
                msg = "the sender of the channel went away before the end of data"
                raise BrokenChannelError(msg)
            self._receiver = asyncio.get_running_loop().create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        return self._take()

    def nudge(self) -> None:
        """Make `receive` return `NOTHING_NEW` once, if it has nothing else to return."""
        self._nudged = True
        self._wake_receiver()

    def receive_nowait(self) -> Message | None:
        """Take the next message, or return None if there is none.

        Raises:
            BrokenChannelError: If there is none and the sender went away.
        """
        if self._queue:
            return self._take()
        if self._closed or self._broken:
            msg = "the sender of the channel went away before the end of data"
            raise BrokenChannelError(msg)
        return None

    def receive_batch_nowait(self) -> Batch | None:
        """Take the next message if it is a batch; leave it and return None if not."""
        if not self._queue or not isinstance(self._queue[0], Batch):
            return None
        batch = self._take()
        return batch if isinstance(batch, Batch) else None

    def _take(self) -> Message:
        message = self._queue.popleft()
        if not isinstance(message, Batch):
            if isinstance(message, Barrier):
                self.dropped_before = self._dropped - self._dropped_behind
            elif isinstance(message, End):
                self.dropped_before = self._dropped
            return message
        rows = len(message)
        if not self._queue or rows >= COALESCE_BELOW_ROWS:
            self._took(rows, message.nbytes)
            return message
        parts = [message]
        while rows < COALESCE_BELOW_ROWS and self._queue:
            following = self._queue[0]
            if not isinstance(following, Batch) or rows + len(following) > COALESCE_ROWS:
                break
            if following.schema is not message.schema and following.schema != message.schema:
                break
            parts.append(following)
            rows += len(following)
            self._queue.popleft()
        self._took(rows, sum([part.nbytes for part in parts]))
        return message if len(parts) == 1 else Batch.concat(parts)

    def _took(self, rows: int, size: int) -> None:
        self._rows -= rows
        self._bytes -= size
        self._received += rows
        self._received_bytes += size
        if self._pressure is not _OK or self._sender is not None:
            self._set_pressure()
            if self._sender is not None and not self._sender.done():
                self._sender.set_result(None)

    # Closing

    def close(self) -> None:
        """Close the sending end: what is queued can be received, then it is broken."""
        self._closed = True
        self._wake_both()

    def abandon(self) -> None:
        """Close the receiving end: what is queued is given up and senders are told."""
        self._broken = True
        self._wake_both()

    def _wake_both(self) -> None:
        self._wake_receiver()
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

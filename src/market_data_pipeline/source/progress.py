"""How far a feed has come in event time: by its rows, and by what it knows of itself."""

from __future__ import annotations

__all__ = ("FeedProgress", "OnOutage")

from typing import Literal, TypeAlias

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.messages import Idle, Status, Watermark
from market_data_pipeline.dag.nodes import SourceItem
from market_data_pipeline.records import FeedState

OnOutage: TypeAlias = Literal["hold", "close"]


class FeedProgress:
    """The watermark of one partition: how far it has come, minus the bound of disorder.

    Rows carry it on, and so do signs of life without rows. No clock is read, so a wall
    clock that is set moves nothing.

    Args:
        bound: How far rows may be out of order, nanoseconds.
        on_outage: What an outage does to others: `hold` lets them wait, `close` lets them
            go on as if the feed were idle.
    """

    def __init__(self, bound: int, *, on_outage: OnOutage = "hold") -> None:
        self._bound = bound
        self._on_outage = on_outage
        self._reached = TIME_MIN
        self._is_left_out = False

    @property
    def watermark(self) -> int:
        """No more rows below this event time are expected."""
        return max(self._reached, TIME_MIN + self._bound) - self._bound

    def stamped(self, batch: Batch) -> Batch:
        """Return the next rows with the watermark after each of them."""
        before = self._reached
        if len(batch):
            self._reached = max(before, int(batch.times.max()))
            self._is_left_out = False
        return batch.with_progress(Progress(before, self._bound, self.watermark))

    def raise_to(self, watermark: int) -> Watermark:
        """Take a watermark that the feed itself gives; return the one that holds now."""
        self._reached = max(self._reached, min(watermark, TIME_MAX - self._bound) + self._bound)
        return Watermark(self.watermark)

    def told(self, status: Status) -> list[SourceItem]:
        """Return what to send for a state: the state itself, then what follows from it.

        A feed that is `quiet`, `closed` or `halted` at a time is heard of at that time, so
        its rows before it have come, but for those that are out of order; if it is known
        until when it is `closed`, up to then. A `disconnected` feed is not heard of. The
        state of one symbol says nothing of the feed.

        Raises:
            ValueError: If there is no such state.
        """
        state = FeedState(status.state)
        items: list[SourceItem] = [status]
        if status.key is not None:
            return items
        if state is FeedState.DISCONNECTED:
            if self._on_outage == "close":
                self._is_left_out = True
                items.append(Idle())
        elif state is not FeedState.LIVE:
            time = status.time
            if state is FeedState.CLOSED and status.until is not None:
                time = status.until
            self._reached = max(self._reached, time)
            items.append(Watermark(self.watermark))
        elif self._is_left_out:
            # Others wait for it again.
            items.append(Watermark(self.watermark))
        if state is not FeedState.DISCONNECTED:
            self._is_left_out = False
        return items

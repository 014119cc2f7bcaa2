"""Fan-in: several channels as one stream whose order does not depend on timing.

Rows of several inputs are merged by `(watermark after the row, input, order of arrival)`.
Watermarks never fall within an input, so this is a merge of sorted streams, and what
comes out is the same whichever input happens to be faster. The merged row keeps the
watermark of its own input: every input has come at least that far when the row goes out.
A state of an input goes by the watermark of that input, between the rows it stood between.

A barrier goes on once every input has come to it, and changes nothing: rows that the order
above still holds stay held, and are part of the checkpoint.
"""

from __future__ import annotations

__all__ = ("FanIn",)

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.inlet import Inlet
from market_data_pipeline.dag.messages import (
    END,
    Barrier,
    End,
    Idle,
    Message,
    Status,
    Watermark,
)

_HELD_ROWS_MAX: Final = 262_144
_NO_MARKS: Final = np.empty(0, np.int64)


_Place: TypeAlias = tuple[int, int]
"""A place in the merged order: a watermark, and the input among those that share it."""


class _Input:
    """One channel and what was read from it ahead of the others."""

    __slots__ = (
        "barrier",
        "channel",
        "ended",
        "frontier",
        "held",
        "held_rows",
        "idle",
        "state",
        "states",
    )

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.held: deque[tuple[Batch | Status, npt.NDArray[np.int64]]] = deque()
        self.held_rows = 0
        self.states: deque[int] = deque()
        self.state: Status | None = None
        self.frontier = TIME_MIN
        self.idle = False
        self.ended = False
        self.barrier: Barrier | None = None

    def take(self, message: Message) -> None:
        """Take what the channel gave."""
        if isinstance(message, Status):
            # This makes no progress, and nor does a barrier, so an idle input stays idle.
            self.held.append((message, _NO_MARKS))
            self.states.append(self.frontier)
            return
        if isinstance(message, Barrier):
            self.barrier = message
            return
        self.idle = isinstance(message, Idle)
        if isinstance(message, Batch):
            if len(message):
                progress = message.progress
                clocks = (
                    np.full(len(message), TIME_MIN, np.int64)
                    if progress is None
                    else progress.watermarks(message.times)
                )
                self.held.append((message, clocks))
                self.held_rows += len(message)
            self.frontier = max(self.frontier, message.watermark)
        elif isinstance(message, Watermark):
            self.frontier = max(self.frontier, message.time)
        elif isinstance(message, End):
            self.ended = True
            self.frontier = TIME_MAX


class FanIn(Inlet[Message]):
    """Reads several channels as one.

    Args:
        channels: The channels, in the order of the node's inputs.
        bounded: True to stop reading an input that is far ahead of the others. False
            where the inputs are linked before or beside this node, as those of one source
            are: what is not read here could then be what the other input waits for.
        names: What each channel reads, by which a checkpoint knows it; its number by default.
    """

    def __init__(
        self, channels: Sequence[Channel], *, bounded: bool, names: Sequence[str] = ()
    ) -> None:
        super().__init__(channels)
        self._names = tuple(names) or tuple(map(str, range(len(channels))))
        self._inputs = [_Input(channel) for channel in channels]
        self._rows_max = _HELD_ROWS_MAX if bounded else None
        self._sent = TIME_MIN
        self._idle = False

    @property
    def held(self) -> int:
        """Rows read ahead and not yet passed on."""
        return sum(source.held_rows for source in self._inputs)

    @property
    def states(self) -> tuple[Status | None, ...]:
        """What each input said last of itself as a whole, as far as it was passed on."""
        return tuple(source.state for source in self._inputs)

    def _poll(self) -> Message | None:
        self._read()
        return self._next()

    def _read(self) -> None:
        # An input that is at its barrier waits for the others: all they have before theirs
        # must come in, however much is held.
        rows_max = None if any(s.barrier is not None for s in self._inputs) else self._rows_max
        for source in self._inputs:
            while not source.ended and source.barrier is None:
                if rows_max is not None and source.held_rows >= rows_max:
                    break
                message = source.channel.receive_nowait()
                if message is None:
                    break
                source.take(message)

    def _next(self) -> Message | None:
        live = [
            (source.frontier, place)
            for place, source in enumerate(self._inputs)
            if not source.ended and not source.idle
        ]
        limit = (TIME_MAX, len(self._inputs))
        if live:
            safe, _ = limit = min(live)
        else:
            safe = max((s.frontier for s in self._inputs if not s.ended), default=TIME_MAX)
        state = self._next_state(limit)
        rows = self._merge(limit if state is None else state, safe)
        if rows is not None:
            self._idle = False
            return rows
        if state is not None:
            return self._pass_state(state, safe)
        if all(source.ended for source in self._inputs):
            return END
        idle = not live
        if safe > self._sent:
            self._sent = safe
            self._idle = False
            return Watermark(safe)
        if self._idle and not idle:
            # Whoever merges this with others must wait for it again.
            self._idle = False
            return Watermark(self._sent)
        if idle and not self._idle:
            # Whoever merges this with others need not wait for it either.
            self._idle = True
            return Idle()
        return self._aligned_barrier()

    def _aligned_barrier(self) -> Barrier | None:
        """Return the barrier if every input that goes on has come to it, and go on."""
        waiting = [source.barrier for source in self._inputs if not source.ended]
        if not waiting or any(barrier is None for barrier in waiting):
            return None
        for source in self._inputs:
            source.barrier = None
        return waiting[0]

    def _next_state(self, limit: _Place) -> _Place | None:
        """Return the place of the first state that is held, None if that is not settled yet."""
        places = [
            (source.states[0], place) for place, source in enumerate(self._inputs) if source.states
        ]
        return min(places) if places and min(places) <= limit else None

    def _pass_state(self, state: _Place, safe: int) -> Watermark | Status:
        """Return the state at a place, or first the watermark that belongs before it.

        How far the others are known to be depends on timing, and must not be told.
        """
        mark, place = state
        if min(mark, safe) > self._sent:
            self._sent = min(mark, safe)
            self._idle = False
            return Watermark(self._sent)
        source = self._inputs[place]
        status, _ = source.held.popleft()
        source.states.popleft()
        assert isinstance(status, Status)  # noqa: S101 - the rows before it went first
        if status.key is None:
            source.state = status
        return status

    def _merge(self, limit: _Place, reached: int) -> Batch | None:
        """Return the rows before a place in the merged order, None if there are none.

        Args:
            limit: The place.
            reached: What all inputs have reached; no row goes out with more.
        """
        safe, safest = limit
        parts: list[Batch] = []
        clocks: list[npt.NDArray[np.int64]] = []
        for place, source in enumerate(self._inputs):
            side: Literal["left", "right"] = "right" if place <= safest else "left"
            while source.held:
                batch, marks = source.held[0]
                if isinstance(batch, Status):
                    break
                count = int(np.searchsorted(marks, safe, side=side))
                if not count:
                    break
                parts.append(batch if count == len(batch) else batch.slice(0, count))
                clocks.append(marks[:count])
                source.held_rows -= count
                if count < len(batch):
                    source.held[0] = (batch.slice(count, len(batch)), marks[count:])
                    break
                source.held.popleft()
        if not parts:
            return None
        keys = np.concatenate(clocks)
        joined = Batch.concat(parts)
        order = np.argsort(keys, kind="stable")
        merged = joined.reorder(order)
        # An input that was idle may come back behind the others.
        marks = np.maximum(np.minimum(keys[order], reached), self._sent)
        progress = Progress(self._sent, 0, int(marks[-1]), marks)
        self._sent = max(self._sent, progress.end)
        return merged.with_progress(progress)

    # Checkpoints

    def progress(self) -> dict[str, Any]:
        """Return what is known of each input, and what is held between its rows."""
        inputs = {
            name: {
                "frontier": source.frontier,
                "idle": source.idle,
                "ended": source.ended,
                "state": None if source.state is None else source.state.to_list(),
                "held": [
                    item.to_list() if isinstance(item, Status) else None for item, _ in source.held
                ],
                "states": list(source.states),
            }
            for name, source in zip(self._names, self._inputs, strict=True)
        }
        return {"inputs": inputs, "sent": self._sent, "idle": self._idle}

    def held_rows(self) -> dict[str, list[tuple[Batch, npt.NDArray[np.int64]]]]:
        """Return the rows that are held, by input, and the watermark after each."""
        return {
            name: [(item, marks) for item, marks in source.held if isinstance(item, Batch)]
            for name, source in zip(self._names, self._inputs, strict=True)
        }

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Take over what was known of those inputs that are still there."""
        self._sent = progress["sent"]
        self._idle = progress["idle"]
        for name, source in zip(self._names, self._inputs, strict=True):
            told = progress["inputs"].get(name)
            if told is not None:
                source.frontier, source.idle = told["frontier"], told["idle"]
                source.ended = told["ended"]
                source.state = None if told["state"] is None else Status(*told["state"])

    def restore_held(
        self,
        progress: Mapping[str, Any],
        held: Mapping[str, Sequence[tuple[Batch, npt.NDArray[np.int64]]]],
    ) -> None:
        """Take over what was held."""
        for name, source in zip(self._names, self._inputs, strict=True):
            told = progress["inputs"].get(name)
            if told is None:
                continue
            rows = iter(held.get(name, ()))
            source.states.extend(told["states"])
            for status in told["held"]:
                item = next(rows) if status is None else (Status(*status), _NO_MARKS)
                source.held.append(item)
            source.held_rows = sum([len(i) for i, _ in source.held if isinstance(i, Batch)])

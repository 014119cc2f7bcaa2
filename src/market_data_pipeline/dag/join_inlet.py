"""The inlet of a join: two channels read side by side, each batch with its side."""

from __future__ import annotations

__all__ = ("JoinInlet", "Sided")

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
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


@final
@dataclass(frozen=True, slots=True)
class Sided:
    """Rows, a state or progress of one side of a join.

    Attributes:
        side: 0 for the first input, 1 for the second.
        item: The rows, or the state; None for progress alone.
        watermark: How far the side has come; `TIME_MAX` at its end.
    """

    side: int
    item: Batch | Status | None
    watermark: int


_KEPT: Final = ("frontier", "told", "idle", "ended")

_Given: TypeAlias = Sided | Barrier | Idle | End


class _Side:
    """One channel, and how far it has come."""

    __slots__ = ("barrier", "channel", "ended", "frontier", "idle", "told")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.frontier = TIME_MIN
        self.told = TIME_MIN
        self.idle = False
        self.ended = False
        self.barrier: Barrier | None = None

    @property
    def is_readable(self) -> bool:
        return not self.ended and self.barrier is None


class JoinInlet(Inlet[_Given]):
    """Reads the two inputs of a join.

    It reads the input whose watermark is behind, so that the join holds few rows: what
    the other one has to say is left in its channel, whose sender waits. Rows are not
    merged; a join takes the sides in any order.

    Args:
        channels: The two channels, in the order of the join's inputs.
        bounded: True to leave an input that is ahead alone until the other one has come
            as far. False where the inputs are linked before or beside the join, as those
            of one source are: what is not read here could then be what the other waits for.
    """

    def __init__(self, channels: Sequence[Channel], *, bounded: bool) -> None:
        super().__init__(channels)
        self._sides = tuple(_Side(channel) for channel in channels)
        self._bounded = bounded
        self._idle = False

    def _poll(self) -> _Given | None:
        while True:
            given = self._progress_of_idle() or self._aligned_barrier()
            if given is not None:
                return given
            if all(side.ended for side in self._sides):
                return END
            place, message = self._read()
            if message is None:
                return self._idleness()
            given = self._take(place, message)
            if given is not None:
                self._idle = self._idle and isinstance(given.item, Status)
                return given

    def _read(self) -> tuple[int, Message | None]:
        """Return a message and its side: of the side that is behind, if it has one."""
        first = int(self._sides[1].frontier < self._sides[0].frontier)
        for place in (first, 1 - first):
            side = self._sides[place]
            if not side.is_readable:
                continue
            message = side.channel.receive_nowait()
            if message is not None:
                return place, message
            behind = side.frontier < self._sides[1 - place].frontier
            if self._bounded and behind and not side.idle:
                break
        return first, None

    def _take(self, place: int, message: Message) -> Sided | None:
        side = self._sides[place]
        if isinstance(message, Status):
            # It makes no progress, so an idle side stays idle. What is joined are rows of
            # the first input, so it is that input's state they are in.
            return Sided(place, message, side.told) if place == 0 else None
        side.idle = isinstance(message, Idle)
        if isinstance(message, Batch):
            side.frontier = max(side.frontier, message.watermark)
            # It may come back from idleness behind the other.
            side.told = max(side.told, side.frontier)
            return Sided(place, message, side.told)
        if isinstance(message, Watermark):
            side.frontier = max(side.frontier, message.time)
            return self._told(place, side.frontier)
        if isinstance(message, End):
            side.ended = True
            return Sided(place, None, TIME_MAX)
        if isinstance(message, Barrier):
            side.barrier = message
        return None

    def _told(self, place: int, time: int) -> Sided | None:
        side = self._sides[place]
        if time <= side.told:
            return None
        side.told = time
        return Sided(place, None, time)

    def _progress_of_idle(self) -> Sided | None:
        """Return the progress of the other side for one that nobody need wait for."""
        for place, side in enumerate(self._sides):
            if side.idle and not side.ended:
                given = self._told(place, self._sides[1 - place].frontier)
                if given is not None:
                    return given
        return None

    def _aligned_barrier(self) -> Barrier | None:
        """Return the barrier if every side that goes on has come to it."""
        waiting = [side.barrier for side in self._sides if not side.ended]
        if not waiting or any(barrier is None for barrier in waiting):
            return None
        for side in self._sides:
            side.barrier = None
        return waiting[0]

    def _idleness(self) -> Idle | None:
        if self._idle or not all(side.idle or side.ended for side in self._sides):
            return None
        self._idle = True
        return Idle()

    def progress(self) -> dict[str, Any]:
        """Return what is known of each side."""
        sides = [{name: getattr(side, name) for name in _KEPT} for side in self._sides]
        return {"sides": sides, "idle": self._idle}

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Take over what was known of each side."""
        self._idle = progress["idle"]
        for side, told in zip(self._sides, progress["sides"], strict=True):
            for name in _KEPT:
                setattr(side, name, told[name])

"""The sources and sinks of a graph while it runs: what its tasks know of each."""

from __future__ import annotations

__all__ = ("RunningSink", "RunningSource")

import asyncio
from dataclasses import dataclass, field

from market_data_pipeline.batch import TIME_MIN
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.epochs import Delivery, EpochWriter
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.figures import Meter
from market_data_pipeline.dag.graph import Node
from market_data_pipeline.dag.join_inlet import JoinInlet
from market_data_pipeline.dag.messages import Barrier
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import SinkWriter, SourceReader


@dataclass(slots=True)
class RunningSource:
    """A source, and where its task is.

    Attributes:
        node: The node.
        reader: Its running half.
        account: Its account.
        outlets: Who reads it, by port.
        watermark: How far its rows have come.
        ended: True once its input has ended.
        stopped: True once nothing more of it is wanted.
        reading: True while a read waits.
        barrier: The barrier it is to send before it reads on; None for none.
        asked: Set whenever `barrier` is.
        task: Its task, None before there is one.
        meter: What is measured of it.
    """

    node: Node
    reader: SourceReader
    account: Account
    outlets: dict[str, list[Channel]] = field(default_factory=dict)
    watermark: int = TIME_MIN
    ended: bool = False
    stopped: bool = False
    reading: bool = False
    barrier: Barrier | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    meter: Meter = field(default_factory=Meter)
    _woken: bool = False

    def wake(self) -> None:
        """Cancel a read that waits, so that its task looks what is to be done.

        One that waits for room is left alone: it holds a batch that has been counted.
        """
        if self.reading and self.task is not None and not self._woken:
            self._woken = True
            self.task.cancel()

    def was_woken(self) -> bool:
        """Tell whether a read was cancelled by `wake` and by nobody else."""
        woken, self._woken = self._woken, False
        return woken and self.task is not None and self.task.uncancel() == 0


@dataclass(slots=True)
class RunningSink:
    """A sink, and where its task is.

    Attributes:
        node: The node.
        writer: Its running half.
        account: Its account.
        inlet: What it reads.
        published: True once `finish` was called.
        ended: True once its input has ended.
        meter: What is measured of it.
    """

    node: Node
    writer: SinkWriter
    account: Account
    inlet: Channel | FanIn | JoinInlet
    published: bool = False
    ended: bool = False
    meter: Meter = field(default_factory=Meter)

    @property
    def delivery(self) -> Delivery:
        """What it promises in a run with checkpoints."""
        return "exactly_once" if isinstance(self.writer, EpochWriter) else "at_least_once"

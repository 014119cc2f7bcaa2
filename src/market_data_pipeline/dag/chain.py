"""Operators that follow one another on `out` without a branch, run as one task.

A batch goes through them by function calls; what leaves the chain waits in an outbox until
the call that made it is over, and is then sent to the channels.
"""

from __future__ import annotations

__all__ = ("Chain", "Step", "step_of")

import asyncio
import inspect
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, Final

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.dag.boundary import is_cancelled
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.figures import Meter
from market_data_pipeline.dag.graph import Node
from market_data_pipeline.dag.join_inlet import JoinInlet, Sided
from market_data_pipeline.dag.messages import (
    END,
    NOTHING_NEW,
    Barrier,
    End,
    Idle,
    Message,
    Status,
    Watermark,
)
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import (
    AsyncOperator,
    DrainedOperator,
    JoinNode,
    JoinOperator,
    NodeContext,
    Operator,
    Outputs,
    SeveralOperator,
    StatusOperator,
    TimedOperator,
    TransformNode,
)
from market_data_pipeline.dag.roles import is_join
from market_data_pipeline.errors import GraphError, NodeError

_SEVERAL_MAX: Final = 16
"""So many batches at most are taken at once: what they give waits until all are taken."""


@dataclass(slots=True)
class Step:
    """One operator of a chain, and who reads it."""

    node: Node
    operator: Operator | AsyncOperator
    join: JoinOperator | None
    account: Account
    sides: frozenset[str]
    is_async: bool
    on_status: Callable[[Status], Outputs] | None
    outlets: dict[str, list[Channel]]
    told: dict[str, int]
    watermark: int = TIME_MIN
    meter: Meter = field(default_factory=Meter)


def step_of(node: Node, component: TransformNode | JoinNode, context: NodeContext) -> Step:
    """Return an operator, ready to be a step of a chain."""
    operator: Any = component.build(context)
    told = operator
    join: JoinOperator | None = operator if is_join(component) else None
    is_async = inspect.iscoroutinefunction(operator.process)
    on_status = told.status if isinstance(told, StatusOperator) else None
    sides = frozenset(node.side_outputs)
    return Step(node, operator, join, context.account, sides, is_async, on_status, {}, {})


class Chain:
    """Operators that follow one another, run as one task.

    Attributes:
        inlet: What it reads.
        steps: The operators.
        watermark: How far its input has come.
        ended: True once its input has ended and all is given up.
        gave_at_end: Rows that were given because the input ended, by node.
        on_barrier: Called at a barrier, between what belongs before it and behind it.
        on_end: Called once it has ended.
    """

    def __init__(self, inlet: Channel | FanIn | JoinInlet, steps: list[Step]) -> None:
        self.inlet = inlet
        self.steps = steps
        self.watermark = TIME_MIN
        self.ended = False
        self.gave_at_end: dict[str, int] = {}
        self.on_barrier: Callable[[Chain, Barrier], None] | None = None
        self.on_end: Callable[[Chain], None] | None = None
        self._at = 0
        self._idle = False
        self._told_idle = False
        self._outbox: list[tuple[list[Channel], Message]] = []
        self._states: deque[tuple[int, Status]] = deque()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._timed: list[tuple[int, TimedOperator]] = []

    async def run(self) -> None:
        """Take messages until the end."""
        self._timed = [
            (at, step.operator)
            for at, step in enumerate(self.steps)
            if isinstance(step.operator, TimedOperator)
        ]
        waits = self.steps[0].is_async
        several = isinstance(self.steps[0].operator, SeveralOperator)
        # The node at fault is the step at work, so the boundary is here, not per call.
        try:
            while True:
                self._at = 0
                message = await self.inlet.receive()
                if isinstance(message, Batch):
                    if waits:
                        await self._take(message)
                        self._advance(message.watermark)
                    elif several:
                        self._feed_several(message)
                    else:
                        self._feed(0, message)
                        self._advance(message.watermark)
                elif isinstance(message, Sided):
                    self._take_side(message)
                elif isinstance(message, Watermark):
                    self._advance(message.time)
                elif isinstance(message, End):
                    await self._end()
                elif isinstance(message, Status):
                    self._tell(message)
                elif isinstance(message, Barrier):
                    self._cut(message)
                if self._timed:
                    self._expire()
                if self._idle or self._told_idle or not isinstance(message, Batch):
                    self._rest(message)
                for channels, item in self._outbox:
                    for channel in channels:
                        if not channel.send_nowait(item):
                            await self._wait_for_room(channel, item)
                self._outbox.clear()
                if isinstance(message, End):
                    self._show_ended()
                    return
        except asyncio.CancelledError as err:
            if is_cancelled():
                raise
            raise NodeError(self.steps[self._at].node.name, err) from err
        except Exception as err:
            raise NodeError(self.steps[self._at].node.name, err) from err

    async def _take(self, batch: Batch) -> None:
        """Feed an operator that has to be waited for; only the first of a chain may be one."""
        first = self.steps[0]
        first.account.rows_in += len(batch)
        meter = first.meter
        meter.busy_since = perf_counter_ns()
        outputs = await first.operator.process(batch)  # type: ignore[misc]
        meter.took(perf_counter_ns() - meter.busy_since)
        meter.busy_since = 0
        for port, given in outputs:
            self._route(0, port, given)

    async def _wait_for_room(self, channel: Channel, item: Message) -> None:
        # Where it waits, all its operators do; the last one is next to the room.
        meter = self.steps[-1].meter
        meter.block()
        await channel.send(item)
        meter.unblock()

    def _show_ended(self) -> None:
        for step in self.steps:
            step.meter.ended = True

    def _take_side(self, message: Sided) -> None:
        step, item = self.steps[0], message.item
        join = step.join
        if join is None:
            msg = f"`{step.node.name}` has one input and was given two"
            raise GraphError(msg, node=step.node.name)
        if isinstance(item, Status):
            self._states.append((message.watermark, item))
        elif item is not None:
            step.account.rows_in += len(item)
            began = perf_counter_ns()
            outputs = join.process(message.side, item)
            step.meter.took(perf_counter_ns() - began)
            for port, given in outputs:
                self._route(0, port, given)
            self._at = 0
        for port, given in join.advance(message.side, message.watermark):
            self._route(0, port, given)
        self._at = 0
        after = join.output_watermark()
        self._tell_progress(step, after, after)
        if after > step.watermark:
            step.watermark = self.watermark = after
            self._advance_from(1, after)
        if self._states:
            self._tell_states(join.waiting())

    def _tell_states(self, waiting: int | None = None) -> None:
        """Pass on what a join's input said of itself, once the rows before it are out.

        Args:
            waiting: The event time of the first row that is not out; None if all are.
        """
        while self._states and (waiting is None or self._states[0][0] < waiting):
            self._tell(self._states.popleft()[1])

    def _feed(self, at: int, batch: Batch) -> None:
        step = self.steps[at]
        step.account.rows_in += len(batch)
        self._at = at
        began = perf_counter_ns()
        outputs: Outputs = step.operator.process(batch)  # type: ignore[assignment]
        # As `Meter.took`, without the call: a batch may be one row.
        spent = perf_counter_ns() - began
        meter = step.meter
        meter.busy_ns += spent
        meter.buckets[spent.bit_length()] += 1
        for port, given in outputs:
            self._route(at, port, given)

    def _feed_several(self, batch: Batch) -> None:
        """Feed the first operator a batch and those that have queued up behind it."""
        batches: list[Batch] = []
        following: Batch | None = batch
        while following is not None:
            batches.append(following)
            following = None
            if isinstance(self.inlet, Channel) and len(batches) < _SEVERAL_MAX:
                following = self.inlet.receive_batch_nowait()
        step = self.steps[0]
        step.account.rows_in += sum(map(len, batches))
        began = perf_counter_ns()
        taken = step.operator.process_several(batches, self.watermark)  # type: ignore[union-attr]
        step.meter.took(perf_counter_ns() - began)
        for item, given in zip(batches, taken, strict=True):
            for port, rows in given.outputs:
                self._route(0, port, rows)
            if given.watermark is not None:
                self.watermark = item.watermark
                for port, rows in given.advanced:
                    self._route(0, port, rows)
                self._at = 0
                if step.outlets:
                    self._tell_progress(step, item.watermark, given.watermark)
                if given.watermark > step.watermark:
                    step.watermark = given.watermark
                    self._advance_from(1, given.watermark)

    def _route(self, at: int, port: str, batch: Batch) -> None:
        step = self.steps[at]
        if port not in step.sides:
            step.account.rows_out += len(batch)
        if port == "out" and at + 1 < len(self.steps):
            self._feed(at + 1, batch)
            return
        channels = step.outlets.get(port)
        if channels and len(batch):
            self._outbox.append((channels, batch))
            step.told[port] = max(step.told[port], batch.watermark)

    def _advance(self, watermark: int) -> None:
        if watermark <= self.watermark:
            return
        self.watermark = watermark
        self._advance_from(0, watermark)

    def _advance_from(self, first: int, watermark: int) -> None:
        began = perf_counter_ns()
        for at in range(first, len(self.steps)):
            step = self.steps[at]
            self._at = at
            outputs = step.operator.advance(watermark)
            if outputs:
                # Progress that closes nothing costs next to nothing, and is not measured.
                step.meter.busy_ns += perf_counter_ns() - began
                for port, given in outputs:
                    self._route(at, port, given)
                self._at = at
                began = perf_counter_ns()
            after = step.operator.output_watermark(watermark)
            if step.outlets:
                self._tell_progress(step, watermark, after)
            if after <= step.watermark:
                return
            step.watermark = watermark = after

    def _tell(self, status: Status) -> None:
        for at, step in enumerate(self.steps):
            self._at = at
            if step.on_status is not None:
                outputs = step.on_status(status)
                for port, given in outputs:
                    self._route(at, port, given)
                known = self.steps[at - 1].watermark if at else self.watermark
                if outputs and known > TIME_MIN:
                    # What was learnt while rows were held could not be told before.
                    self._advance_from(at, known)
                self._at = at
            for channels in step.outlets.values():
                self._outbox.append((channels, status))

    def _tell_progress(self, step: Step, watermark: int, after: int) -> None:
        """Pass on what an operator's readers do not know of its progress yet."""
        for port, channels in step.outlets.items():
            mark = watermark if port in step.sides else after
            if mark > step.told[port]:
                step.told[port] = mark
                wanting = [channel for channel in channels if channel.wants_progress]
                if wanting:
                    self._outbox.append((wanting, Watermark(mark)))

    async def _drain(self) -> None:
        """Let an operator that is waited for give up what it holds."""
        operator = self.steps[0].operator
        if isinstance(operator, DrainedOperator):
            for port, given in await operator.drain():
                self._route(0, port, given)

    def _finish(self) -> None:
        for at, step in enumerate(self.steps):
            self._at = at
            for port, given in step.operator.finish():
                self._route(at, port, given)
            self._tell_states()
        self.watermark = TIME_MAX
        self._pass_on(END)

    async def _end(self) -> None:
        """Give up what is held, unless that was done in an earlier life of the run."""
        if self.ended:
            self._pass_on(END)
            return
        before = {step.node.name: step.account.rows_out for step in self.steps}
        if self.steps[0].is_async:
            await self._drain()
        self._finish()
        gave = {step.node.name: step.account.rows_out for step in self.steps}
        self.gave_at_end = {name: gave[name] - before[name] for name in gave}
        self.ended = True
        if self.on_end is not None:
            self.on_end(self)

    def _cut(self, barrier: Barrier) -> None:
        """Give up what is held by the clock, show the state, and pass the barrier on."""
        self._expire(by=math.inf)
        self._rest(NOTHING_NEW)
        if self.on_barrier is not None:
            self.on_barrier(self, barrier)
        self._pass_on(barrier)

    def _expire(self, *, by: float | None = None) -> None:
        """Let operators that hold rows for a time give up those whose time has come."""
        loop = asyncio.get_running_loop()
        by = loop.time() if by is None else by
        for at, operator in self._timed:
            due = operator.due_s
            if due is not None and due <= by:
                self._at = at
                for port, given in operator.expire():
                    self._route(at, port, given)
                # What was learnt while rows were held could not be told before.
                self._advance_from(at, self.steps[at - 1].watermark if at else self.watermark)
                due = operator.due_s
            timer = self._timers.pop(at, None)
            if timer is not None:
                timer.cancel()
            if due is not None:
                self._timers[at] = loop.call_at(due, self.inlet.nudge)

    def _rest(self, message: Message | Sided) -> None:
        """Pass idleness on, once no row is held that others should wait for, and its end."""
        # A state and a barrier make no progress: what is idle stays so.
        item = message.item if isinstance(message, Sided) else message
        if message is not NOTHING_NEW and not isinstance(item, Status | Barrier | End):
            self._idle = isinstance(message, Idle)
            for step in self.steps:
                step.meter.idle = self._idle
            if self._told_idle and not self._idle:
                self._told_idle = False
                for step in self.steps:
                    for port, channels in step.outlets.items():
                        self._outbox.append((channels, Watermark(step.told[port])))
        if self._idle and all(operator.due_s is None for _, operator in self._timed):
            self._idle = False
            self._told_idle = True
            self._pass_on(Idle())

    def _pass_on(self, message: Message) -> None:
        for step in self.steps:
            for channels in step.outlets.values():
                self._outbox.append((channels, message))

    # Checkpoints

    def progress_of(self, at: int) -> dict[str, Any]:
        """Return what the engine knows of a step, as plain data."""
        step = self.steps[at]
        progress: dict[str, Any] = {
            "watermark": step.watermark,
            "seen": self.steps[at - 1].watermark if at else self.watermark,
            "told": dict(step.told),
            "idle": self._told_idle,
        }
        if self._states and not at:
            progress["waiting"] = [[mark, *status.to_list()] for mark, status in self._states]
        return progress

    def restore_progress(self, progress: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what was known of those steps that were there before."""
        for at, step in enumerate(self.steps):
            told = progress.get(step.node.name)
            if not told:
                continue
            step.watermark = told["watermark"]
            step.told.update({p: mark for p, mark in told["told"].items() if p in step.outlets})
            if not at:
                self.watermark = told["seen"]
                self._told_idle = told["idle"]
                waiting = told.get("waiting", ())
                self._states.extend((mark, Status(*status)) for mark, *status in waiting)

"""What a node must be: the contracts of sources, operators and sinks.

Each has two halves. The *component* (`SourceNode`, `TransformNode`, `SinkNode`) holds
settings, is frozen and can be written down. It makes the half that runs (`SourceReader`,
`Operator`, `SinkWriter`), which holds state and lives for one run.
"""

from __future__ import annotations

__all__ = (
    "AsyncOperator",
    "DrainedOperator",
    "JoinNode",
    "JoinOperator",
    "NodeContext",
    "Operator",
    "Outputs",
    "SelectiveNode",
    "SeveralOperator",
    "SinkNode",
    "SinkWriter",
    "SourceItem",
    "SourceNode",
    "SourceReader",
    "StatusOperator",
    "Taken",
    "TimedOperator",
    "TransformNode",
)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.messages import Idle, Status, Watermark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

if TYPE_CHECKING:
    from market_data_pipeline.dag.epochs import Job

Outputs = Sequence[tuple[str, Batch]]
"""What a node gives: pairs of output port and batch, in order."""
SourceItem = Batch | Watermark | Status | Idle
"""What a source gives on a port."""


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What a node is given when it is opened or built.

    Attributes:
        node: Name of the node, for messages.
        symbols: The symbol table of the run.
        account: Where the node counts rows that end in it, rows it creates, rows it holds.
        clock: Time outside the data; for sources and sinks only.
        columns: For a source: the columns somebody downstream reads, or None for all.
        schemas: For a join: the columns of its two inputs; None where they are unknown
            before the first batch.
        reads: For an operator: its outputs that somebody reads, or None for all. What goes
            to the others need not be made, but is counted all the same.
        position: For a source: where it stood when the checkpoint was taken that the run
            goes on from; None to begin at the beginning.
        job: For a sink of a run with checkpoints: whose epochs it will be given; None in a
            run without.
    """

    node: str
    symbols: SymbolTable = field(default_factory=SymbolTable)
    account: Account = field(default_factory=lambda: Account(""))
    clock: Clock = field(default_factory=SystemClock)
    columns: frozenset[str] | None = None
    schemas: tuple[Schema | None, Schema | None] = (None, None)
    reads: frozenset[str] | None = None
    position: Mapping[str, Any] | None = None
    job: Job | None = None

    def is_read(self, port: str) -> bool:
        """Tell whether somebody reads an output."""
        return self.reads is None or port in self.reads


class SourceReader(Protocol):
    """The running half of a source.

    Attributes:
        schema: The columns of the rows on the main output.
    """

    schema: Schema

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        """Return what comes next, or None at the regular end.

        Rows on `out` carry their watermarks (`Batch.progress`), which never fall, also
        across a `Watermark` that was given between two batches. The reader counts in
        `account.rows_in` what it read and under `rejected` what it could not take.

        A run that is told to stop cancels a read that waits, so rows are counted only
        once there is nothing left to wait for.

        Raises:
            InputError: If the input cannot be read on.
        """
        ...

    async def close(self) -> None:
        """Free what the reader holds. Called once, after the end or a failure."""
        ...

    def fraction(self) -> float | None:
        """Return how much of the input is read, 0 to 1, or None if that is unknown."""
        ...


@runtime_checkable
class SourceNode(Protocol):
    """The settings of a source.

    Attributes:
        outputs: Its ports; `out` is the main one.
        side_outputs: Ports whose rows are counted under a reason of the port's name.
    """

    outputs: ClassVar[tuple[str, ...]]
    side_outputs: ClassVar[tuple[str, ...]]

    def schema(self) -> Schema | None:
        """Return the columns it will give, looking at the input; None if unknowable.

        Raises:
            InputError: If the input is missing or cannot be read.
        """
        ...

    async def open(self, context: NodeContext) -> SourceReader:
        """Open the input.

        Raises:
            InputError: If the input is missing or cannot be read.
        """
        ...


class Operator(Protocol):
    """The running half of an operator: a synchronous state machine.

    It is told of rows, of event-time progress and of the end, and returns batches. It
    never awaits, reads a clock, draws a random number or touches a file, so its output
    is a function of its input. Rows it returns on the main output carry progress.
    """

    def process(self, batch: Batch) -> Outputs:
        """Take rows. Not called after `finish`."""
        ...

    def advance(self, watermark: int) -> Outputs:
        """Take event-time progress: no more rows below `watermark` are expected.

        Called after each batch with the batch's own watermark, and between batches
        where there is progress without rows. Never called with less than before.
        """
        ...

    def finish(self) -> Outputs:
        """Take the end of input: give up everything that is held. Called once."""
        ...

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark of the output once the input's is `watermark`."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the state. Called between any two other calls."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a state, whose arrays are only read. Called before anything else, if at all.

        Raises:
            SnapshotError: If the state is not one of this operator.
        """
        ...


class AsyncOperator(Protocol):
    """An operator that awaits: a user's coroutine function, a rate limit.

    As `Operator`, but `process` is a coroutine function. Rows stay in order.
    """

    async def process(self, batch: Batch) -> Outputs:
        """Take rows."""
        ...

    def advance(self, watermark: int) -> Outputs:
        """Take event-time progress, as in `Operator`."""
        ...

    def finish(self) -> Outputs:
        """Take the end of input, as in `Operator`."""
        ...

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark of the output, as in `Operator`."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the state, as in `Operator`."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a state, as in `Operator`."""
        ...


@runtime_checkable
class StatusOperator(Protocol):
    """What an operator has besides if it wants to know the state of its input, or holds rows.

    An operator without it lets states pass. One that holds rows for a reason of its own,
    as a batcher does, gives them up, so that the state does not overtake them.
    """

    def status(self, status: Status) -> Outputs:
        """Take a state of the input; it is passed on after what this returns."""
        ...


@runtime_checkable
class DrainedOperator(Protocol):
    """What an `AsyncOperator` has besides if it has to wait to give up what it holds."""

    async def drain(self) -> Outputs:
        """Take the end of input; called once, right before `finish`."""
        ...


@runtime_checkable
class TimedOperator(Protocol):
    """What an operator has besides if it holds rows for a time, as a batcher does.

    Only when rows leave may depend on the clock, never which.

    Attributes:
        due_s: Event-loop time at which what is held must go, None if nothing is held.
    """

    due_s: float | None

    def expire(self) -> Outputs:
        """Give up what is held; called once `due_s` has come."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What an operator gave for one of several batches.

    Attributes:
        outputs: What it gave for the rows.
        advanced: What it gave for their watermark.
        watermark: The watermark of what it gives from now on; None if that of the rows was
            no progress.
    """

    outputs: Outputs
    advanced: Outputs
    watermark: int | None


@runtime_checkable
class SeveralOperator(Protocol):
    """What an operator has besides if it is faster on several batches than on one by one."""

    def process_several(self, batches: Sequence[Batch], watermark: int) -> Sequence[Taken]:
        """Take batches that have queued up, as `process` and `advance` would in turns.

        Args:
            batches: One or more.
            watermark: The watermark before them.
        """
        ...


@runtime_checkable
class TransformNode(Protocol):
    """The settings of an operator.

    Beside the methods it has `outputs`, a tuple of its ports, of which `out` is the main
    one where there is one: a class attribute, or a property where the settings decide it.

    Attributes:
        side_outputs: Ports whose rows are counted under a reason of the port's name;
            they may be left unconnected, the rows are counted all the same.
    """

    side_outputs: ClassVar[tuple[str, ...]]

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns on each output for given input columns; None if unknowable.

        Raises:
            SchemaError: If the input lacks a column the operator needs.
        """
        ...

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the input columns that are read when `wanted` of the output are wanted.

        None stands for all columns.
        """
        ...

    def build(self, context: NodeContext) -> Operator | AsyncOperator:
        """Make the running half."""
        ...


class JoinOperator(Protocol):
    """The running half of a join: an operator that is told of two inputs apart.

    As `Operator`, but each row and each progress has a side: 0 for the first input, 1 for
    the second. Which side is told first is a matter of timing, within what watermarks
    allow, so nothing in the output may depend on it: not on how batches of the two sides
    alternate, only on the rows of each side and their order within it.
    """

    def process(self, side: int, batch: Batch) -> Outputs:
        """Take rows of one side. Not called for a side after its watermark is `TIME_MAX`."""
        ...

    def advance(self, side: int, watermark: int) -> Outputs:
        """Take event-time progress of one side; at its end the watermark is `TIME_MAX`.

        Called after each batch with the batch's own watermark, and between batches where
        there is progress without rows. An idle side is moved along with the other one.
        Never called with less than before.
        """
        ...

    def finish(self) -> Outputs:
        """Take the end of both inputs: give up everything that is held. Called once."""
        ...

    def output_watermark(self) -> int:
        """Return the watermark of the output as things are."""
        ...

    def waiting(self) -> int:
        """Return the lowest event time of a row of the first input that is held.

        Rows that its watermark has not reached may be left out; `TIME_MAX` if there is none.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Return the state, as in `Operator`."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a state, as in `Operator`."""
        ...


@runtime_checkable
class SelectiveNode(Protocol):
    """What the settings of an operator have besides if it reads some columns only with others."""

    def select_columns(self, required: frozenset[str], schema: Schema) -> frozenset[str]:
        """Return those of the required columns that are read of rows with these columns."""
        ...


@runtime_checkable
class JoinNode(Protocol):
    """The settings of an operator with two inputs that are told apart.

    Beside the methods it has `outputs`, as in `TransformNode`.

    Attributes:
        inputs: The names of the two inputs; an edge says by `into` which one it feeds.
        side_outputs: As in `TransformNode`.
    """

    inputs: ClassVar[tuple[str, str]]
    side_outputs: ClassVar[tuple[str, ...]]

    def join_schemas(self, left: Schema, right: Schema) -> Mapping[str, Schema | None]:
        """Return the columns on each output for the columns of the first and second input.

        Raises:
            SchemaError: If an input lacks a column the join needs, or the two do not fit.
        """
        ...

    def required_inputs(
        self, wanted: frozenset[str] | None
    ) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        """Return the columns that are read of each input when `wanted` of the output are.

        None stands for all columns.
        """
        ...

    def build(self, context: NodeContext) -> JoinOperator:
        """Make the running half."""
        ...


class SinkWriter(Protocol):
    """The running half of a sink."""

    async def write(self, batch: Batch) -> None:
        """Take rows. They may be buffered until `finish`."""
        ...

    async def finish(self) -> None:
        """Take the regular end: make everything durable and visible."""
        ...

    async def abort(self) -> None:
        """Take a failure: leave no half-written output under its final name."""
        ...


@runtime_checkable
class SinkNode(Protocol):
    """The settings of a sink."""

    def check(self) -> None:
        """Look at the output before anything runs.

        Raises:
            OutputExistsError: If the output exists and may not be replaced.
            OutputError: If it cannot be written.
        """
        ...

    async def open(self, context: NodeContext, schema: Schema | None) -> SinkWriter:
        """Open the output.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.
        """
        ...

    def read(self) -> pa.Table:
        """Return what is in the output, for `RunResult.to_arrow` and its like."""
        ...

"""One operator as several, each with its share of the key groups, on threads.

Rows go to the part that has the key group of their symbol, so no two parts share state
and none waits for another. Kernels release the interpreter's lock; that is what makes
threads worth their while. Which rows come out does not depend on the number of parts,
nor does the order of the rows of one symbol.
"""

from __future__ import annotations

__all__ = ("Parallelism", "PartOperator", "Partitioned", "check_spread", "partitioned")

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Annotated, Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, Operator, Outputs, StatusOperator, Taken
from market_data_pipeline.dag.partitions import key_groups_of_partition
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.symbols import KEY_GROUP_COUNT, SymbolTable

Parallelism: TypeAlias = Annotated[int, Field(ge=1, le=KEY_GROUP_COUNT)]
"""A setting that says on how many threads the key groups are spread."""

T = TypeVar("T")

_THREADED_ROWS: Final = 4_096
"""A thread that has fewer rows to work on costs more than it saves."""


class PartOperator(Operator, Protocol):
    """An operator that can be told of which symbols the rows are its own.

    Attributes:
        gives_on_time: True if no row it gives is late; rows of parts need not be merged
            by their watermarks then.
    """

    gives_on_time: bool

    def process_owned(self, batch: Batch, owned: npt.NDArray[np.uint8]) -> Outputs:
        """Take the rows whose symbol code `owned` has a 1 for; see `Operator.process`."""
        ...


def partitioned(
    parallelism: int, context: NodeContext, make: Callable[[NodeContext], Operator]
) -> Operator:
    """Return an operator, or several that share its rows.

    Args:
        parallelism: How many; 1 for the operator itself.
        context: Its context.
        make: Makes one for a context.
    """
    return make(context) if parallelism == 1 else Partitioned(parallelism, context, make)


def check_spread(component: Any, key: Sequence[str]) -> None:
    """Do nothing if an operator's rows can be spread as its setting `parallelism` says.

    Args:
        component: The settings.
        key: The columns that tell its rows apart.

    Raises:
        ConfigError: If threads that have a symbol each would share state.
    """
    if component.parallelism > 1 and "symbol" not in key:
        msg = (
            f"`parallelism` of `{type_name_of(component)}` spreads symbols over threads, and "
            f"its key has no `symbol`; leave `parallelism` out"
        )
        raise ConfigError(msg, parameter="parallelism")


class Partitioned:
    """The parts of one operator.

    Args:
        parallelism: How many, > 1.
        context: The context of the operator as a whole.
        make: Makes a part.
    """

    def __init__(
        self,
        parallelism: int,
        context: NodeContext,
        make: Callable[[NodeContext], Operator],
    ) -> None:
        self._context = context
        whole = context.account
        accounts = [Account(context.node) for _ in range(parallelism)]
        self._parts = [make(replace(context, account=account)) for account in accounts]
        # What was counted before, as in an earlier life of the operator, stays.
        before = replace(whole, reasons=dict(whole.reasons), marks=dict(whole.marks))
        self._accounts = [before, *accounts]
        self._owners = _Owners(context.symbols, parallelism)
        self._pool: ThreadPoolExecutor | None = None

    def process(self, batch: Batch) -> Outputs:
        """Give each part its rows; return what they give."""
        return self._joined(self._shared(_process, batch, rows=len(batch)))

    def process_several(self, batches: Sequence[Batch], watermark: int) -> list[Taken]:
        """Give each part its rows of all batches at once, which wakes its thread only once."""
        rows = sum(map(len, batches))
        given = self._shared(_process_several, batches, watermark, rows=rows)
        return [
            Taken(
                self._joined([part.outputs for part in parts]),
                self._joined([part.advanced for part in parts]),
                _least([part.watermark for part in parts]),
            )
            for parts in zip(*given, strict=True)
        ]

    def _shared(self, work: Callable[..., T], *what: Any, rows: int) -> list[T]:
        """Have each part do some work, on threads where there are rows enough.

        Args:
            work: Is given a part, `what`, and the mask of the codes that are the part's own.
            what: What to work on.
            rows: How many rows that are.
        """
        owned = self._owners.masks()
        tasks = [(part, *what, owned[at]) for at, part in enumerate(self._parts)]
        if rows < _THREADED_ROWS:
            return [work(*task) for task in tasks]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(tasks) - 1, thread_name_prefix="key-groups")
        futures = [self._pool.submit(work, *task) for task in tasks[1:]]
        try:
            first = work(*tasks[0])
        finally:
            waited = [future.exception() for future in futures]
        for err in waited:
            if err is not None:
                raise err
        return [first, *(future.result() for future in futures)]

    def advance(self, watermark: int) -> Outputs:
        """Tell all parts of event-time progress."""
        return self._joined([part.advance(watermark) for part in self._parts])

    def status(self, status: Status) -> Outputs:
        """Tell all parts of a state of the input."""
        return self._joined(
            [part.status(status) for part in self._parts if isinstance(part, StatusOperator)]
        )

    def finish(self) -> Outputs:
        """Tell all parts of the end."""
        if self._pool is not None:
            self._pool.shutdown()
        return self._joined([part.finish() for part in self._parts])

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark of what the parts give."""
        return min([part.output_watermark(watermark) for part in self._parts])

    def snapshot(self) -> Snapshot:
        """Return the states of the parts as one, as a single operator has it."""
        return Snapshot.merge(part.snapshot() for part in self._parts)

    def restore(self, snapshot: Snapshot) -> None:
        """Give each part the key groups that are its own.

        Raises:
            SnapshotError: If it is no state of such an operator.
        """
        for at, part in enumerate(self._parts):
            part.restore(snapshot.only(key_groups_of_partition(at, len(self._parts))))
        self._count()

    def _count(self) -> None:
        """Bring the accounts of the parts into that of the whole."""
        whole = self._context.account
        whole.created = sum([account.created for account in self._accounts])
        whole.held = sum([account.held for account in self._accounts])
        for name in ("reasons", "marks"):
            counts: dict[str, int] = getattr(whole, name)
            words = dict.fromkeys(word for a in self._accounts for word in getattr(a, name))
            for word in words:
                counts[word] = sum([getattr(a, name).get(word, 0) for a in self._accounts])

    def _joined(self, given: Sequence[Outputs]) -> Outputs:
        """Return what the parts gave, by port and in the order of their watermarks."""
        self._count()
        ports: dict[str, list[Batch]] = {}
        for outputs in given:
            for port, batch in outputs:
                if len(batch):
                    ports.setdefault(port, []).append(batch)
        return [
            (port, batch)
            for port, batches in ports.items()
            for batch in self._in_order(port, batches)
        ]

    def _in_order(self, port: str, batches: list[Batch]) -> list[Batch]:
        if len(batches) == 1:
            return batches
        if port == "out" and getattr(self._parts[0], "gives_on_time", False):
            return _held_back(batches)
        marks = [
            np.empty(0, np.int64) if b.progress is None else b.progress.watermarks(b.times)
            for b in batches
        ]
        whole = Batch.concat(batches)
        keys = np.concatenate(marks)
        if len(keys) != len(whole):
            return [whole]  # rows without event time, as rejected ones
        order = np.argsort(keys, kind="stable")
        ends = [b.progress for b in batches if b.progress is not None]
        progress = Progress(min(p.before for p in ends), 0, max(p.end for p in ends), keys[order])
        return [whole.reorder(order).with_progress(progress)]


def _process(part: Operator, batch: Batch, owned: npt.NDArray[np.uint8]) -> Outputs:
    process_owned = getattr(part, "process_owned", None)
    if process_owned is not None:
        outputs: Outputs = process_owned(batch, owned)
        return outputs
    rows = np.flatnonzero(owned[batch.columns["symbol"]])
    if not len(rows):
        # The rows of others make progress all the same.
        return part.advance(batch.watermark)
    return part.process(batch if len(rows) == len(batch) else batch.take(rows))


def _process_several(
    part: Operator, batches: Sequence[Batch], watermark: int, owned: npt.NDArray[np.uint8]
) -> list[Taken]:
    given = []
    for batch in batches:
        outputs = _process(part, batch, owned)
        advanced: Outputs = ()
        after = None
        if batch.watermark > watermark:
            watermark = batch.watermark
            advanced = part.advance(watermark)
            after = part.output_watermark(watermark)
        given.append(Taken(outputs, advanced, after))
    return given


def _least(marks: Sequence[int | None]) -> int | None:
    """Return the least watermark; that of a batch is progress for all parts or for none."""
    known = [mark for mark in marks if mark is not None]
    return min(known, default=None)


def _held_back(batches: list[Batch]) -> list[Batch]:
    """Return batches so that only the last one makes progress.

    None of their rows is late, so it does not matter that their watermarks are lower.
    """
    befores = [batch.progress.before for batch in batches if batch.progress is not None]
    if len(befores) != len(batches):
        return batches
    before = min(befores)
    held = [
        batch.with_progress(Progress(before, 0, before, np.full(len(batch), before, np.int64)))
        for batch in batches[:-1]
    ]
    return [*held, batches[-1]]


class _Owners:
    """Which part has the key group of each symbol code."""

    def __init__(self, symbols: SymbolTable, parallelism: int) -> None:
        self._symbols = symbols
        self._count = parallelism
        groups = np.empty(KEY_GROUP_COUNT, np.int64)
        for part in range(parallelism):
            groups[list(key_groups_of_partition(part, parallelism))] = part
        self._part_of_group = groups
        self._masks = np.empty((parallelism, 0), np.uint8)

    def masks(self) -> npt.NDArray[np.uint8]:
        """Return (parts, codes) uint8, 1 where a part has a code."""
        if self._masks.shape[1] < len(self._symbols):
            codes = np.arange(len(self._symbols), dtype=np.int32)
            parts = self._part_of_group[self._symbols.key_groups(codes)]
            self._masks = (parts == np.arange(self._count)[:, None]).astype(np.uint8)
        return self._masks

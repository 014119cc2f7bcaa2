"""The check that every operator and join must pass."""

from __future__ import annotations

__all__ = ("check_join", "check_operator")

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import JoinNode, NodeContext, Outputs, TransformNode
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import KEY_GROUP_COUNT, SymbolTable
from market_data_pipeline.testing.clock import ManualClock
from market_data_pipeline.testing.rows import Rows, renamed, rows_of
from market_data_pipeline.testing.telling import telling


def check_operator(make: Callable[[], TransformNode], batches: Sequence[Batch]) -> None:
    """Check that an operator is what the engine needs it to be.

    Its output must be the same however rows are cut into batches, and if it is stopped
    after any batch and its state is restored, from parts, in a run in which symbols have
    other codes. Each row that goes in must be accounted for. Rows are compared with their
    watermarks, and in order; after a restart without their order, which may follow the
    codes where times are equal. Where it has a setting `parallelism`, more threads must
    give the same rows, also after a restart with another number of them.

    Args:
        make: Gives the component; called for each run.
        batches: Consecutive rows with progress, best of a few symbols, with some late.

    Raises:
        AssertionError: If a check fails; says which.
    """
    with telling("the batches as they are"):
        expected = _Run(make()).through(batches).finished()
    for rows in (1, 2, 7, sum(map(len, batches))):
        with telling(f"batches of {rows}"):
            _compare(expected, _Run(make()).through(_cut(batches, rows)).finished())
    for boundary in range(len(batches) + 1):
        with telling(f"a restart after batch {boundary}"):
            stopped = _Run(make()).through(batches[:boundary])
            table = SymbolTable(["of another run"])
            others = [renamed(batch, table) for batch in batches[boundary:]]
            found = _Run(make(), stopped).through(others).finished()
            _compare(_sorted(expected), _sorted(found))
    if hasattr(make(), "parallelism"):
        _check_parallelism(make, batches, _unordered(expected))


def _check_parallelism(
    make: Callable[[], TransformNode], batches: Sequence[Batch], expected: Rows
) -> None:
    def spread(count: int) -> TransformNode:
        component: Any = make()
        spread_out: TransformNode = replace(component, parallelism=count)
        return spread_out

    try:
        spread(2)
    except ConfigError:
        return  # it is not told apart by symbol
    for count in (2, 3):
        with telling(f"{count} threads"):
            found = _Run(spread(count)).through(batches).finished()
            _compare(expected, _unordered(found))
    middle = len(batches) // 2
    for before, after in ((1, 2), (2, 1), (2, 3)):
        with telling(f"a restart of {before} threads as {after}"):
            stopped = _Run(spread(before)).through(batches[:middle])
            found = _Run(spread(after), stopped).through(batches[middle:]).finished()
            _compare(expected, _unordered(found))


def check_join(
    make: Callable[[], JoinNode], left: Sequence[Batch], right: Sequence[Batch]
) -> None:
    """Check that a join is what the engine needs it to be; as `check_operator`.

    Besides, its output must be the same in whatever order the two sides come: one after
    the other, in turns, one far ahead of the other.

    Args:
        make: Gives the component; called for each run.
        left: Consecutive rows of the first input, with progress.
        right: Those of the second input; the two sides share a symbol table.

    Raises:
        AssertionError: If a check fails; says which.
    """
    schemas = (left[0].schema, right[0].schema)

    def start(stopped: _JoinRun | None = None) -> _JoinRun:
        return _JoinRun(make(), schemas, stopped)

    with telling("the batches as they are"):
        expected = start().through_both(_in_turns(left, right)).finished()
    sides = [[(side, batch) for batch in part] for side, part in enumerate((left, right))]
    for what, (first, second) in (("left", sides), ("right", sides[::-1])):
        with telling(f"all of the {what} first"):
            _compare(expected, start().through_both([*first, *second]).finished())
    for rows in (1, 2, 7, 1000):
        with telling(f"batches of {rows}"):
            parts = _in_turns(_cut(left, rows), _cut(right, max(1, rows // 2)))
            _compare(expected, start().through_both(parts).finished())
        with telling(f"small batches on the left, {rows}"):
            parts = _in_turns(_cut(left, max(1, rows // 3)), right)
            _compare(expected, start().through_both(parts).finished())
    turns = _in_turns(left, right)
    for boundary in range(len(turns) + 1):
        with telling(f"a restart after batch {boundary}"):
            stopped = start().through_both(turns[:boundary])
            table = SymbolTable(["of another run"])
            others = [(side, renamed(batch, table)) for side, batch in turns[boundary:]]
            found = start(stopped).through_both(others).finished()
            _compare(_sorted(expected), _sorted(found))


def _in_turns(left: Sequence[Batch], right: Sequence[Batch]) -> list[tuple[int, Batch]]:
    pairs = zip_longest(left, right)
    return [(s, b) for pair in pairs for s, b in enumerate(pair) if b is not None]


class _Run:
    """An operator, what it gave so far, and its account."""

    def __init__(self, component: TransformNode | JoinNode, stopped: _Run | None = None) -> None:
        self._component = component
        self._schemas: tuple[Schema | None, Schema | None] = (None, None)
        self._operator: Any = None
        self._state = None if stopped is None else stopped.snapshot()
        self.given: list[tuple[str, Batch]] = []
        self.account = Account("checked")
        if stopped is not None:
            self.given, self.account = stopped.given, stopped.account
            self.account.held = 0  # what was held is in the state; who restores it counts it

    def _build(self, symbols: SymbolTable) -> Any:
        if self._operator is None:
            context = NodeContext(
                "checked", symbols, self.account, ManualClock(), schemas=self._schemas
            )
            self._operator = self._component.build(context)
            if self._state is not None:
                self._operator.restore(self._state)
        return self._operator

    def through(self, batches: Iterable[Batch]) -> _Run:
        """Give the operator batches."""
        for batch in batches:
            operator = self._build(batch.symbols)
            self.account.rows_in += len(batch)
            if inspect.iscoroutinefunction(operator.process):
                self._take(asyncio.run(operator.process(batch)))
            else:
                self._take(operator.process(batch))
            self._take(operator.advance(batch.watermark))
        return self

    def snapshot(self) -> Snapshot:
        """Return the state, taken apart by key group and put together again."""
        whole: Snapshot = self._build(SymbolTable()).snapshot()
        half = KEY_GROUP_COUNT // 2
        parts = (range(half, KEY_GROUP_COUNT), range(half))
        merged = Snapshot.merge(whole.only(groups) for groups in parts)
        # As those of a checkpoint, which are the memory of a file.
        for array in (merged.key_groups, *merged.keyed.values()):
            array.flags.writeable = False
        return merged

    def finished(self) -> Rows:
        """End the input; return all rows by port."""
        self._take(self._build(SymbolTable()).finish())
        if self.account.unaccounted or self.account.held:
            msg = f"rows are missing, or held at the end: {self.account}"
            raise AssertionError(msg)
        # Looked at only now: what was given must not change with what came after it.
        rows: Rows = {}
        for port, batch in self.given:
            rows.setdefault(port, []).extend(rows_of(batch))
        return rows

    def _take(self, outputs: Outputs) -> None:
        for port, batch in outputs:
            if port not in getattr(self._component, "outputs", ()):
                msg = f"`{port}` is not among the outputs"
                raise AssertionError(msg)
            if port not in self._component.side_outputs:
                self.account.rows_out += len(batch)
            self.given.append((port, batch))


class _JoinRun(_Run):
    """The same for a join."""

    def __init__(
        self, component: JoinNode, schemas: tuple[Schema, Schema], stopped: _JoinRun | None
    ) -> None:
        super().__init__(component, stopped)
        self._schemas = schemas

    def through_both(self, steps: Iterable[tuple[int, Batch]]) -> _JoinRun:
        """Give the join batches of either side."""
        for side, batch in steps:
            operator = self._build(batch.symbols)
            self.account.rows_in += len(batch)
            self._take(operator.process(side, batch))
            self._take(operator.advance(side, batch.watermark))
        return self


def _compare(expected: Rows, found: Rows) -> None:
    for port in sorted({*expected, *found}):
        right, wrong = expected.get(port, []), found.get(port, [])
        pairs = zip(right, wrong, strict=False)
        differing = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        if differing is not None:
            msg = f"row {differing} of `{port}` is {wrong[differing]}, else {right[differing]}"
            raise AssertionError(msg)
        if len(right) != len(wrong):
            msg = f"`{port}` has {len(wrong)} rows, else {len(right)}"
            raise AssertionError(msg)


def _sorted(rows: Rows) -> Rows:
    return {port: sorted(found, key=repr) for port, found in rows.items()}


def _unordered(rows: Rows) -> Rows:
    """Return rows sorted and without their watermarks, which threads may lower."""
    return _sorted({port: [row[:-1] for row in found] for port, found in rows.items()})


def _cut(batches: Sequence[Batch], rows: int) -> list[Batch]:
    whole = Batch.concat(batches)
    return [whole.slice(i, min(len(whole), i + rows)) for i in range(0, len(whole), rows)]

"""The running half of joins by time: two sides, each with a watermark of its own."""

from __future__ import annotations

__all__ = ("TimeJoinOperator",)

from typing import Final

import numpy as np

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.operator.held_rows import HeldRows
from market_data_pipeline.operator.join_sides import JoinSides, TimeJoinSettings
from market_data_pipeline.operator.saved_rows import save_rows
from market_data_pipeline.records import Schema

_LEFT: Final = 0
_RIGHT: Final = 1


class TimeJoinOperator:
    """Left rows that wait, and the right rows they may be given."""

    def __init__(self, settings: TimeJoinSettings, context: NodeContext) -> None:
        self._settings = settings
        self._context = context
        self._marks = [TIME_MIN, TIME_MIN]
        self._told = TIME_MIN
        self._schemas: list[Schema | None] = list(context.schemas)
        self._saved: Snapshot | None = None
        # What came before the columns of both sides were known.
        self._early: list[tuple[int, Batch]] = []
        self._sides: JoinSides | None = None
        self._bind()

    def _bind(self) -> None:
        left, right = self._schemas
        if left is not None and right is not None:
            self._sides = JoinSides(self._settings, left, right, self._context)

    def process(self, side: int, batch: Batch) -> Outputs:
        """Take rows of one side; the late ones go out."""
        if not len(batch):
            return ()
        given: list[tuple[str, Batch]] = []
        if self._schemas[side] is None:
            self._schemas[side] = batch.schema
            self._bind()
            given = self._catch_up()
        self._context.account.held += len(batch)
        if self._sides is None:
            self._early.append((side, batch))
        else:
            self._take(side, batch, self._sides, given)
        return given

    def _take(
        self, side: int, batch: Batch, sides: JoinSides, given: list[tuple[str, Batch]]
    ) -> None:
        late = sides.take(side, batch, self._marks[side])
        if late is not None:
            self._set_aside("late" if side == _LEFT else "late_right", late, given)

    def _set_aside(self, port: str, batch: Batch, given: list[tuple[str, Batch]]) -> None:
        account = self._context.account
        account.held -= len(batch)
        account.add(port, len(batch))
        given.append((port, batch))

    def _catch_up(self) -> list[tuple[str, Batch]]:
        given: list[tuple[str, Batch]] = []
        if self._sides is not None:
            if self._saved is not None:
                self._sides.load(self._saved, *self._marks)
            for side, batch in self._early:
                self._take(side, batch, self._sides, given)
            self._saved, self._early = None, []
        return given

    def advance(self, side: int, watermark: int) -> Outputs:
        """Give the left rows whose match is decided."""
        if watermark <= self._marks[side]:
            return ()
        self._marks[side] = watermark
        return self._give()

    def finish(self) -> Outputs:
        """Give the left rows that are left, and forget the right.

        Raises:
            SnapshotError: If rows were taken over and their columns never became known.
        """
        self._marks = [TIME_MAX, TIME_MAX]
        if self._sides is not None:
            given = self._give()
            self._ended(self._sides.forget_all())
            return given
        if self._saved is not None:
            msg = f"the columns of `{self._context.node}` are unknown, and its state needs them"
            raise SnapshotError(msg)
        return self._unjoined()

    def _unjoined(self) -> Outputs:
        """Give rows of which one input had none, so that there is nothing to match with."""
        given: list[tuple[str, Batch]] = []
        left = [batch for side, batch in self._early if side == _LEFT]
        self._ended(sum(len(batch) for side, batch in self._early if side == _RIGHT))
        if not left:
            return given
        held = HeldRows(left[0].schema, self._context.symbols)
        for batch in left:
            late = held.take(batch)
            if len(late):
                self._set_aside("late", batch.take(late), given)
        held.advance(TIME_MAX)
        for batch in held.due(TIME_MAX):
            if self._settings.how == "inner":
                self._set_aside("unmatched", batch, given)
            else:
                self._send(batch, given)
        return given

    def output_watermark(self) -> int:
        """Return the event time of the first left row that can still come out."""
        mark = self._marks[_LEFT]
        if self._sides is not None:
            mark = min(mark, self._sides.earliest)
        elif any(side == _LEFT for side, _ in self._early):
            mark = TIME_MIN
        self._told = max(self._told, mark)
        return self._told

    def waiting(self) -> int:
        """Return the event time of the first left row that waits for the right."""
        if self._sides is not None:
            return self._sides.earliest
        return TIME_MIN if any(side == _LEFT for side, _ in self._early) else TIME_MAX

    def _ended(self, rows: int) -> None:
        self._context.account.held -= rows
        self._context.account.add("joined", rows)

    def _give(self) -> list[tuple[str, Batch]]:
        given: list[tuple[str, Batch]] = []
        if self._sides is None:
            return given
        self._ended(self._sides.advance(*self._marks))
        for port, batch in self._sides.give(*self._marks):
            if port == "out":
                self._send(batch, given)
            else:
                self._set_aside(port, batch, given)
        return given

    def _send(self, batch: Batch, given: list[tuple[str, Batch]]) -> None:
        self._context.account.held -= len(batch)
        last = int(batch.times[-1])
        given.append(("out", batch.with_progress(Progress(self._told, 0, last))))
        self._told = max(self._told, last)

    def snapshot(self) -> Snapshot:
        """Return the rows that wait on either side.

        Raises:
            SnapshotError: If the columns of a side are not known yet.
        """
        if self._sides is None:
            if self._early:
                msg = f"the columns of one input of `{self._context.node}` are not known yet"
                raise SnapshotError(msg)
            return self._saved or Snapshot()
        left, right = self._marks
        marks = {"left": left, "right": right, "told": self._told}
        before = self._sides.rows
        saved = save_rows(self._sides.parts(left), marks)
        self._ended(before - self._sides.rows)
        return saved

    def restore(self, snapshot: Snapshot) -> None:
        """Take over rows.

        Raises:
            SnapshotError: If they are not of this join.
        """
        if not snapshot.scalars:
            return
        if "part.left" not in snapshot.scalars or "told" not in snapshot.scalars:
            msg = "the state is not one of a join by time"
            raise SnapshotError(msg)
        self._marks = [snapshot.scalars["left"], snapshot.scalars["right"]]
        self._told = snapshot.scalars["told"]
        self._saved = snapshot
        held = [snapshot.scalars[f"part.{name}"] for name in ("left", "right", "matched")]
        self._context.account.held += int(np.isin(snapshot.keyed["part"], held).sum())
        self._catch_up()

"""The running half of an as-of join."""

from __future__ import annotations

__all__ = ("AsofOperator", "AsofSettings")

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column, Progress
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.operator.asof_matcher import AsofMatcher, Direction, Rule
from market_data_pipeline.operator.held_rows import HeldRows, by_time
from market_data_pipeline.operator.join_columns import JoinedColumns
from market_data_pipeline.operator.join_keys import keys_for
from market_data_pipeline.operator.saved_rows import load_rows, save_rows
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema

_LEFT: Final = 0
_RIGHT: Final = 1
_SMALL_ROWS: Final = 4_096


class AsofSettings(Protocol):
    """What the operator asks of the settings; see `AsofJoin`."""

    @property
    def by(self) -> list[str]: ...  # noqa: D102
    @property
    def direction(self) -> Direction: ...  # noqa: D102
    @property
    def tolerance_ns(self) -> int | None: ...  # noqa: D102
    @property
    def strict(self) -> bool: ...  # noqa: D102
    @property
    def look_ahead(self) -> bool: ...  # noqa: D102
    @property
    def how(self) -> Literal["left", "inner"]: ...  # noqa: D102

    def joined(self, left: Schema, right: Schema) -> JoinedColumns: ...  # noqa: D102
    def time_of(self, schema: Schema) -> str: ...  # noqa: D102


class AsofOperator:
    """Left rows that wait, and the right rows they may be given."""

    def __init__(self, settings: AsofSettings, context: NodeContext) -> None:
        self._settings = settings
        self._context = context
        self._marks = [TIME_MIN, TIME_MIN]
        self._told = TIME_MIN
        self._schemas: list[Schema | None] = list(context.schemas)
        self._saved: Snapshot | None = None
        # What came before the columns of both sides were known.
        self._early: list[tuple[int, Batch]] = []
        self._sides: _Sides | None = None
        self._bind()

    def _bind(self) -> None:
        left, right = self._schemas
        if left is not None and right is not None:
            self._sides = _Sides(self._settings, left, right, self._context)

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
        self, side: int, batch: Batch, sides: _Sides, given: list[tuple[str, Batch]]
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
            msg = "the state is not one of an as-of join"
            raise SnapshotError(msg)
        self._marks = [snapshot.scalars["left"], snapshot.scalars["right"]]
        self._told = snapshot.scalars["told"]
        self._saved = snapshot
        held = [snapshot.scalars[f"part.{name}"] for name in ("left", "right", "matched")]
        self._context.account.held += int(np.isin(snapshot.keyed["part"], held).sum())
        self._catch_up()


class _Sides:
    """What a join holds once the columns of both sides are known."""

    def __init__(
        self, settings: AsofSettings, left: Schema, right: Schema, context: NodeContext
    ) -> None:
        self._inner = settings.how == "inner"
        self._context = context
        self._schemas = (left, right)
        self._joined = settings.joined(left, right)
        self._times = (settings.time_of(left), settings.time_of(right))
        self._by_event = self._times[_LEFT] == left.time
        self._rule = Rule(settings.direction, settings.strict, settings.tolerance_ns)
        self._by = tuple(settings.by)
        self._keys = [keys_for(self._by, schema, context.node) for schema in (left, right)]
        symbols = context.symbols
        plain = left if self._by_event else replace(left, time=self._times[_LEFT])
        self._left = HeldRows(plain, symbols)
        names = [name for name, _ in self._joined.taken]
        self._right = self._matcher(self._times[_RIGHT], [*names, *self._by])
        # Matched in the order of another time, rows wait for that of event time.
        added = len(left.fields) + len(names)
        self._plain = replace(self._joined.schema, fields=self._joined.schema.fields[:added])
        self._matched = HeldRows(self._plain, symbols)
        self._events: AsofMatcher | None = None
        if settings.look_ahead:
            self._events = self._matcher(right.time, [self._times[_RIGHT], *self._by])

    def _matcher(self, time: str, needed: Sequence[str]) -> AsofMatcher:
        left, right = self._schemas
        keys = keys_for(self._by, left, self._context.node)
        return AsofMatcher(right, time, needed, self._rule, keys, self._context.symbols)

    @property
    def rows(self) -> int:
        """Rows held."""
        return self._left.rows + self._matched.rows + self._right.rows

    @property
    def _earliest_unmatched(self) -> int:
        """The event time of the first left row that was not matched yet."""
        if self._by_event:
            return self._left.first_ready
        return self._left.lowest(self._schemas[_LEFT].time)

    @property
    def earliest(self) -> int:
        """The event time of the first left row, or more if its watermark is below it."""
        if self._by_event:
            return self._left.first_ready
        return min(self._earliest_unmatched, self._matched.lowest(self._plain.time))

    def take(self, side: int, batch: Batch, floor: int) -> Batch | None:
        """Take rows of one side; return the late ones."""
        if side == _RIGHT and self._events is not None:
            self._events.take(batch)
        holder = self._left if side == _LEFT else self._right
        if self._by_event:
            late = holder.take(by_time(batch, self._left.schema) if side == _LEFT else batch)
            return batch.take(late) if len(late) else None
        kept, aside = _part(batch, self._times[side], floor, event_too=side == _LEFT)
        if len(kept):
            holder.take(by_time(kept, self._left.schema) if side == _LEFT else kept)
        return aside

    def advance(self, left: int, right: int) -> int:
        """Take progress of both sides; return how many right rows were forgotten."""
        self._left.advance(left)
        if self._events is not None:
            self._events.advance(right, min(left, self.earliest))
        if left == TIME_MAX and not self._left.rows:
            return self._right.forget_all()
        return self._right.advance(right, min(left, self._left.first_ready))

    def give(self, left: int, right: int) -> Outputs:
        """Return the left rows that are decided, joined, or on `unmatched`."""
        given: list[tuple[str, Batch]] = []
        for batch in _joined(self._left.due(self._rule.decided(right))):
            joined = self._join(batch, given)
            if not len(joined):
                continue
            if self._by_event:
                given.append(("out", joined))
            else:
                self._matched.take(joined)
        if not self._by_event:
            limit = min(left, self._earliest_unmatched)
            if self._events is not None:
                limit = min(limit, self._rule.decided(right))
            self._matched.advance(limit)
            due = _joined(self._matched.due(limit))
            given += [("out", self._marked(batch)) for batch in due]
        return given

    def _join(self, left: Batch, given: list[tuple[str, Batch]]) -> Batch:
        places = self._right.match(left)
        if self._inner:
            found = places >= 0
            missing = len(left) - int(np.count_nonzero(found))
            if missing:
                given.append(("unmatched", by_time(left.take(~found), self._schemas[_LEFT])))
                left, places = left.take(found), places[found]
        columns: dict[str, Column] = dict(left.columns)
        for name, field in self._joined.taken:
            columns[field.name] = self._right.matched(name, field, places)
        return Batch(self._plain, columns, left.symbols)

    def _marked(self, batch: Batch) -> Batch:
        """Add whether the match by event time was received only later."""
        if self._events is None:
            return batch
        places = self._events.match(batch)
        received = self._times[_RIGHT]
        known = self._events.matched(received, Field(received, Kind.TIME), places)
        ahead = (places >= 0) & (known > batch[self._times[_LEFT]])
        columns = {**batch.columns, self._joined.schema.names[-1]: ahead}
        return Batch(self._joined.schema, columns, batch.symbols)

    def forget_all(self) -> int:
        """Forget all right rows; return how many there were."""
        return self._right.forget_all()

    def parts(self, left: int) -> dict[str, tuple[Batch, npt.NDArray[np.int16]]]:
        """Return all rows held by what they are, and the key group of each."""
        on_left, on_right = self._keys
        rows = self._left.all(), self._matched.all()
        parts = {"left": rows[0], "matched": rows[1]}
        groups = {name: on_left.groups(part) for name, part in parts.items()}
        parts["right"] = self._right.kept(min(left, self._left.first_ready))
        if self._events is not None:
            parts["events"] = self._events.kept(min(left, self.earliest))
        groups |= {n: on_right.groups(part) for n, part in parts.items() if n not in groups}
        return {name: (part, groups[name]) for name, part in parts.items()}

    def load(self, snapshot: Snapshot, left: int, right: int) -> None:
        """Take over rows that were saved, at the watermarks of then."""
        symbols = self._context.symbols
        wanted: dict[str, tuple[HeldRows | AsofMatcher, int]] = {
            "left": (self._left, left),
            # How far these were given out follows from the others.
            "matched": (self._matched, TIME_MIN),
            "right": (self._right, right),
        }
        if self._events is not None:
            wanted["events"] = (self._events, right)
        for name, (holder, watermark) in wanted.items():
            rows = load_rows(snapshot, name, holder.schema, symbols)
            if rows is None:
                msg = "the state is of an as-of join with other settings"
                raise SnapshotError(msg)
            holder.load(rows, watermark)


def _part(batch: Batch, time: str, floor: int, *, event_too: bool) -> tuple[Batch, Batch | None]:
    """Part rows whose time is below the watermark before them, or that have none.

    Args:
        batch: The rows.
        time: The column that decides.
        floor: The watermark of the side, by other knowledge than the rows' own.
        event_too: Whether the event time must not be below the watermark either.
    """
    order = batch[time]
    late = order == UNDEFINED
    if batch.progress is not None:
        marks = batch.progress.watermarks(batch.times)
        before = np.maximum(np.concatenate([[batch.progress.before], marks[:-1]]), floor)
        late |= (np.minimum(order, batch.times) if event_too else order) < before
    if not late.any():
        return batch, None
    return batch.take(~late), batch.take(late)


def _joined(batches: list[Batch]) -> list[Batch]:
    """Return small batches as one."""
    if len(batches) > 1 and min(map(len, batches)) < _SMALL_ROWS:
        return [Batch.concat(batches)]
    return batches

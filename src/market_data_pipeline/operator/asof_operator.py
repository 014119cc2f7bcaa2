"""The running half of an as-of join."""

from __future__ import annotations

__all__ = ("AsofOperator", "AsofSettings")

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column, Progress
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.operator.asof_matcher import AsofMatcher, Direction, Rule
from market_data_pipeline.operator.held_rows import HeldRows, split_late
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
        self._early: list[tuple[int, Batch, bool]] = []
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
        if self._schemas[side] is None:
            self._schemas[side] = batch.schema
            self._bind()
            self._catch_up()
        order = batch[self._settings.time_of(batch.schema)]
        times = batch.times
        if side == _LEFT and order is not times:
            # It has to be put back in the order of event time too.
            order = np.where(order == UNDEFINED, UNDEFINED, np.minimum(order, times))
        kept, late, ordered = split_late(batch, np.ascontiguousarray(order), self._marks[side])
        account = self._context.account
        account.held += len(kept)
        if self._sides is None:
            self._early.append((side, kept, ordered))
        else:
            self._sides.add(side, kept, ordered=ordered)
            self._sides.add_for_events(side, batch, self._marks[side])
        if late is None:
            return ()
        port = "late" if side == _LEFT else "late_right"
        account.add(port, len(late))
        return ((port, late),)

    def _catch_up(self) -> None:
        if self._sides is not None:
            if self._saved is not None:
                self._sides.load(self._saved)
            for side, batch, ordered in self._early:
                self._sides.add(side, batch, ordered=ordered)
            self._saved, self._early = None, []

    def advance(self, side: int, watermark: int) -> Outputs:
        """Give the left rows whose match is decided."""
        if watermark <= self._marks[side]:
            return ()
        self._marks[side] = watermark
        return self._give()

    def finish(self) -> Outputs:
        """Give the left rows that are left, and forget the right."""
        self._marks = [TIME_MAX, TIME_MAX]
        account = self._context.account
        if self._sides is not None:
            given = self._give()
            self._ended(self._sides.forget_all())
            return given
        if self._saved is not None:
            msg = f"the columns of `{self._context.node}` are unknown, and its state needs them"
            raise SnapshotError(msg)
        # One input gave no row at all, so there is nothing to match with.
        given = []
        for side, batch, _ in self._early:
            account.held -= len(batch)
            if side == _RIGHT:
                account.add("joined", len(batch))
            elif self._settings.how == "inner":
                account.add("unmatched", len(batch))
                given.append(("unmatched", batch))
            else:
                given.append(("out", batch.with_progress(Progress(TIME_MIN, 0, TIME_MIN))))
        return given

    def output_watermark(self) -> int:
        """Return the event time of the first left row that can still come out."""
        mark = self._marks[_LEFT]
        if self._sides is not None:
            mark = min(mark, self._sides.earliest)
        elif any(side == _LEFT for side, _, _ in self._early):
            mark = TIME_MIN
        self._told = max(self._told, mark)
        return self._told

    def _ended(self, rows: int) -> None:
        self._context.account.held -= rows
        self._context.account.add("joined", rows)

    def _give(self) -> Outputs:
        sides = self._sides
        if sides is None:
            return ()
        left, right = self._marks
        self._ended(sides.advance(left, right))
        given: list[tuple[str, Batch]] = []
        account = self._context.account
        for port, batch in sides.give(left, right):
            account.held -= len(batch)
            if port == "unmatched":
                account.add("unmatched", len(batch))
                given.append((port, batch))
                continue
            last = int(batch.times[-1])
            given.append((port, batch.with_progress(Progress(self._told, 0, last))))
            self._told = max(self._told, last)
        return given

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
        self._rule = Rule(settings.direction, settings.strict, settings.tolerance_ns)
        self._left = HeldRows(self._times[_LEFT])
        self._by = tuple(settings.by)
        self._keys = [keys_for(self._by, schema, context.node) for schema in (left, right)]
        names = [name for name, _ in self._joined.taken]
        self._right = self._matcher(self._times[_RIGHT], [*names, *self._by])
        # Matched in the order of another time, rows wait for that of event time.
        self._by_event = self._times[_LEFT] == left.time
        plain = Schema(left.name, self._joined.schema.fields, left.time, left.conflatable)
        if settings.look_ahead:
            plain = plain.only(plain.names[:-1])
        self._matched_schema = plain
        self._matched = HeldRows(left.time)
        self._events: AsofMatcher | None = None
        if settings.look_ahead:
            self._events = self._matcher(right.time, [self._times[_RIGHT], *self._by])

    def _matcher(self, time: str, needed: Sequence[str]) -> AsofMatcher:
        left, right = self._schemas
        keys = keys_for(self._by, left, self._context.node)
        symbols = self._context.symbols
        return AsofMatcher(right, time, needed, self._rule, keys, symbols)

    @property
    def rows(self) -> int:
        """Rows held."""
        return self._left.rows + self._matched.rows + self._right.rows

    @property
    def earliest(self) -> int:
        """The event time of the first left row."""
        return min(self._left.lowest(self._schemas[_LEFT].time), self._matched.earliest)

    def add(self, side: int, batch: Batch, *, ordered: bool) -> None:
        """Take rows in time."""
        if side == _RIGHT:
            self._right.add(batch, ordered=ordered)
            return
        if not self._by_event:
            times = batch[self._times[_LEFT]]
            ordered = bool((times[1:] >= times[:-1]).all())
        self._left.add(batch, ordered=ordered)

    def add_for_events(self, side: int, batch: Batch, floor: int) -> None:
        """Take right rows that are in time by event time, to see who looks ahead."""
        if self._events is not None and side == _RIGHT:
            kept, _, ordered = split_late(batch, np.ascontiguousarray(batch.times), floor)
            self._events.add(kept, ordered=ordered)

    def advance(self, left: int, right: int) -> int:
        """Take progress of both sides; return how many right rows were forgotten."""
        if self._events is not None:
            self._events.advance(right, min(left, self.earliest))
        if left == TIME_MAX and not self._left.rows:
            return self._right.forget_all()
        return self._right.advance(right, min(left, self._left.earliest))

    def give(self, left: int, right: int) -> Outputs:
        """Return the left rows that are decided, joined, or on `unmatched`."""
        given: list[tuple[str, Batch]] = []
        for batch in _joined(self._left.due(min(left, self._rule.decided(right)))):
            joined = self._join(batch, given)
            if self._by_event:
                if len(joined):
                    given.append(("out", joined))
            else:
                times = joined.times
                self._matched.add(joined, ordered=bool((times[1:] >= times[:-1]).all()))
        if not self._by_event:
            limit = min(left, self._left.lowest(self._schemas[_LEFT].time))
            if self._events is not None:
                limit = min(limit, self._rule.decided(right))
            due = _joined(self._matched.due(limit))
            given += [("out", self._marked(batch)) for batch in due]
        return given

    def _join(self, left: Batch, given: list[tuple[str, Batch]]) -> Batch:
        places = self._right.match(left, self._times[_LEFT])
        if self._inner:
            found = places >= 0
            missing = len(left) - int(np.count_nonzero(found))
            if missing:
                given.append(("unmatched", left.take(~found)))
                left, places = left.take(found), places[found]
        columns: dict[str, Column] = dict(left.columns)
        for name, field in self._joined.taken:
            columns[field.name] = self._right.matched(name, field, places)
        return Batch(self._matched_schema, columns, left.symbols)

    def _marked(self, batch: Batch) -> Batch:
        if self._events is None:
            return batch
        places = self._events.match(batch, batch.schema.time)
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
        parts = {
            "left": _whole(self._left.all(), self._schemas[_LEFT], self._context),
            "matched": _whole(self._matched.all(), self._matched_schema, self._context),
            "right": self._right.kept(min(left, self._left.earliest)),
        }
        if self._events is not None:
            parts["events"] = self._events.kept(min(left, self.earliest))
        keys = dict(zip(("left", "matched"), (self._keys[_LEFT],) * 2, strict=True))
        return {
            name: (rows, keys.get(name, self._keys[_RIGHT]).groups(rows))
            for name, rows in parts.items()
        }

    def load(self, snapshot: Snapshot) -> None:
        """Take over rows that were saved."""
        symbols = self._context.symbols
        wanted: dict[str, tuple[HeldRows | AsofMatcher, Schema]] = {
            "left": (self._left, self._schemas[_LEFT]),
            "matched": (self._matched, self._matched_schema),
            "right": (self._right, self._right.schema),
        }
        if self._events is not None:
            wanted["events"] = (self._events, self._events.schema)
        for name, (holder, schema) in wanted.items():
            rows = load_rows(snapshot, name, schema, symbols)
            if rows is None:
                msg = "the state is of an as-of join with other settings"
                raise SnapshotError(msg)
            # Parts of several workers are in order only one by one.
            holder.add(rows, ordered=False)


def _joined(batches: list[Batch]) -> list[Batch]:
    """Return small batches as one."""
    if len(batches) > 1 and min(map(len, batches)) < _SMALL_ROWS:
        return [Batch.concat(batches)]
    return batches


def _whole(batches: list[Batch], schema: Schema, context: NodeContext) -> Batch:
    if batches:
        return Batch.concat(batches)
    columns: dict[str, Column] = {
        field.name: pa.nulls(0, field.arrow)
        if field.kind is Kind.ARROW
        else np.empty(0, field.dtype)
        for field in schema
    }
    return Batch(schema, columns, context.symbols)

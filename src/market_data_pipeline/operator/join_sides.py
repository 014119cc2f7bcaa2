"""What a join by time holds of its two sides, and how it comes together."""

from __future__ import annotations

__all__ = ("JoinSides", "TimeJoinSettings", "TimeRule")

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.operator.held_rows import HeldRows, by_time
from market_data_pipeline.operator.join_columns import JoinedColumns
from market_data_pipeline.operator.join_keys import JoinKeys, keys_for
from market_data_pipeline.operator.right_rows import RightRows
from market_data_pipeline.operator.saved_rows import load_rows
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_LEFT: Final = 0
_RIGHT: Final = 1
_SMALL_ROWS: Final = 4_096


class TimeRule(Protocol):
    """Which right rows belong to a left row."""

    def rows(
        self,
        schema: Schema,
        time: str,
        needed: Sequence[str],
        keys: JoinKeys,
        symbols: SymbolTable,
    ) -> RightRows:
        """Return the right side, without rows; see `RightRows`."""
        ...


class TimeJoinSettings(Protocol):
    """What the running half asks of the settings of a join."""

    @property
    def by(self) -> list[str]:
        """Columns that are equal on both sides."""
        ...

    @property
    def how(self) -> Literal["left", "inner"]:
        """Whether left rows without a match stay."""
        ...

    @property
    def look_ahead(self) -> bool:
        """Whether to mark rows whose match by event time was received later."""
        ...

    def rule(self) -> TimeRule:
        """Return which right rows belong to a left row."""
        ...

    def joined(self, left: Schema, right: Schema) -> JoinedColumns:
        """Return the columns of joined rows.

        Raises:
            SchemaError: If a column is missing, or the two sides do not fit.
        """
        ...

    def time_of(self, schema: Schema) -> str:
        """Return the column of a side that decides."""
        ...


class JoinSides:
    """What a join holds once the columns of both sides are known."""

    def __init__(
        self, settings: TimeJoinSettings, left: Schema, right: Schema, context: NodeContext
    ) -> None:
        self._inner = settings.how == "inner"
        self._context = context
        self._schemas = (left, right)
        self._joined = settings.joined(left, right)
        self._times = (settings.time_of(left), settings.time_of(right))
        self._by_event = self._times[_LEFT] == left.time
        self._rule = settings.rule()
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
        self._events: RightRows | None = None
        if settings.look_ahead:
            self._events = self._matcher(right.time, [self._times[_RIGHT], *self._by])

    def _matcher(self, time: str, needed: Sequence[str]) -> RightRows:
        left, right = self._schemas
        keys = keys_for(self._by, left, self._context.node)
        return self._rule.rows(right, time, needed, keys, self._context.symbols)

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
        for batch in _joined(self._left.due(self._right.decided(right))):
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
                limit = min(limit, self._right.decided(right))
            self._matched.advance(limit)
            due = _joined(self._matched.due(limit))
            given += [("out", self._marked(batch)) for batch in due]
        return given

    def _join(self, left: Batch, given: list[tuple[str, Batch]]) -> Batch:
        matches = self._right.match(left)
        places, rows = matches.right, matches.left
        more = len(places) - len(left)
        self._context.account.created += more
        self._context.account.held += more
        if rows is not None:
            left = left.reorder(rows)
        if self._inner:
            found = places >= 0
            if not found.all():
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
        places = self._events.match(batch).right
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
        wanted: dict[str, tuple[HeldRows | RightRows, int]] = {
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
                msg = "the state is of a join by time with other settings"
                raise SnapshotError(msg)
            holder.load(rows, watermark)


def _part(batch: Batch, time: str, floor: int, *, event_too: bool) -> tuple[Batch, Batch | None]:
    """Part rows whose time is below the watermark, their own part in it included.

    Rows without the time are late too. An event time is never below the row's own part.

    Args:
        batch: The rows.
        time: The column that decides.
        floor: The watermark of the side, by other knowledge than the rows' own.
        event_too: Whether the event time must not be below the watermark either.
    """
    order = batch[time]
    late = order == UNDEFINED
    if batch.progress is not None:
        marks = np.maximum(batch.progress.watermarks(batch.times), floor)
        late |= (np.minimum(order, batch.times) if event_too else order) < marks
    if not late.any():
        return batch, None
    return batch.take(~late), batch.take(late)


def _joined(batches: list[Batch]) -> list[Batch]:
    """Return small batches as one."""
    if len(batches) > 1 and min(map(len, batches)) < _SMALL_ROWS:
        return [Batch.concat(batches)]
    return batches

"""From what a function returned to batches: rows changed, dropped, added."""

from __future__ import annotations

__all__ = ("WORDS", "BatchMapping", "RowMapping", "field_of_word")

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column, Progress
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import RecordError, SchemaError, SnapshotError
from market_data_pipeline.operator.compaction import keep_rows, with_own_progress
from market_data_pipeline.operator.frames import batch_of_frame, frame_of_batch, polars
from market_data_pipeline.operator.predicates import RowCheck
from market_data_pipeline.operator.returned import BadValueError, column_of, field_for
from market_data_pipeline.operator.rows import ChangedRow, Row, explain
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import DEFAULT_SCALE, Field, Kind, Schema

WORDS: Final[dict[str, Kind]] = {
    "int": Kind.INT,
    "float": Kind.FLOAT,
    "bool": Kind.BOOL,
    "decimal": Kind.FIXED,
    "text": Kind.ARROW,
    "time": Kind.TIME,
    "symbol": Kind.SYMBOL,
    "letter": Kind.CHAR,
}
_WORD_OF: Final = {kind: word for word, kind in WORDS.items()}
_NO_CHANGES: Final[Mapping[str, Any]] = {}


def field_of_word(name: str, word: str) -> Field:
    """Return the field for a column of a type as users write it."""
    kind = WORDS[word]
    scale = DEFAULT_SCALE if kind is Kind.FIXED else 0
    return Field(name, kind, scale, pa.string() if kind is Kind.ARROW else None)


class RowMapping(Stateless):
    """Takes what a function on rows returned; remembers which columns it adds."""

    def __init__(
        self, fn: Callable[..., Any], context: NodeContext, columns: Mapping[str, str] | None
    ) -> None:
        self.check = RowCheck(fn, context.node)
        self._account = context.account
        self._declared = columns is not None
        self._added: tuple[Field, ...] | None = None
        if columns is not None:
            self._added = tuple(field_of_word(name, word) for name, word in columns.items())
        self._input: Schema | None = None
        self._output: Schema | None = None

    def snapshot(self) -> Snapshot:
        """Return the columns the first row added."""
        if self._declared or self._added is None:
            return Snapshot()
        added = {f"{_WORD_OF[f.kind]}:{f.name}": i for i, f in enumerate(self._added)}
        return Snapshot(scalars={"added": len(added), **added})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the columns an earlier run's first row added.

        Raises:
            SnapshotError: If the state is not one of a map on rows.
        """
        words = {key: i for key, i in snapshot.scalars.items() if key != "added"}
        sound = all(key.partition(":")[0] in WORDS for key in words)
        if snapshot.keyed or not sound or (words and "added" not in snapshot.scalars):
            msg = "the state is not one of `map` on rows"
            raise SnapshotError(msg)
        if "added" in snapshot.scalars and not self._declared:
            parts = [key.partition(":") for key in sorted(words, key=words.__getitem__)]
            self._added = tuple(field_of_word(name, word) for word, _, name in parts)

    def changes(self, batch: Batch) -> list[Any]:
        """Return the columns that the function changes or adds, for each row.

        An error of the function is passed on with a note that names the row.
        """
        changes: list[Any] = []
        keep = changes.append
        try:
            for result in map(self.check.fn, self.check.rows(batch)):
                # Rows die here, at once, or the garbage collector would look at them all.
                keep(result.changed_columns if type(result) is ChangedRow else result)
        except Exception as err:
            explain(err)
            err.add_note(f"raised for {self.check.place(batch, len(changes))}")
            raise
        return changes

    @staticmethod
    def change(result: Any) -> Any:
        """Return the columns that a result changes or adds."""
        return result.changed_columns if type(result) is ChangedRow else result

    def outputs_of(self, batch: Batch, changes: list[Any]) -> Outputs:
        """Return the batch with the changes, less the rows for which None was returned."""
        kinds = set(map(type, changes))
        if type(None) in kinds:
            mask = np.array([change is not None for change in changes])
            kept = int(np.count_nonzero(mask))
            self._account.add("filtered", len(batch) - kept)
            positions: Sequence[int] = np.flatnonzero(mask).tolist()
            changes = [change for change in changes if change is not None]
            made = keep_rows(batch, mask, kept)
        else:
            positions, made = range(len(batch)), batch
        if changes:
            if not kinds <= {dict, type(None)}:
                changes = self._mappings(batch, positions, changes)
            made = self._changed(batch, made, positions, changes)
        self.check.seen += len(batch)
        return (("out", made),) if changes else ()

    def _refuse(self, batch: Batch, position: int, what: str) -> RecordError:
        return RecordError(what, reason="type", place=self.check.place(batch, position))

    def _mappings(
        self, batch: Batch, positions: Sequence[int], results: Sequence[Any]
    ) -> list[Mapping[str, Any]]:
        """Return the columns that each row kept changes or adds."""
        changes: list[Mapping[str, Any]] = []
        for position, result in zip(positions, results, strict=True):
            if isinstance(result, Row):
                changes.append(_NO_CHANGES)
            elif isinstance(result, Mapping):
                changes.append(result)
            else:
                what = (
                    "the function must return the row, `row.replace(...)`, a mapping of columns "
                    f"or None, was {result!r:.80} ({type(result).__name__})"
                )
                raise self._refuse(batch, position, what)
        return changes

    def _changed(
        self,
        batch: Batch,
        made: Batch,
        positions: Sequence[int],
        changes: Sequence[Mapping[str, Any]],
    ) -> Batch:
        schema = self._output_schema(batch, positions, changes[0])
        columns = dict(made.columns)
        names = _common_names(changes)
        for field in schema:
            try:
                if names is None or field.name not in batch.schema:
                    column = self._patched(field, columns.get(field.name), changes, batch)
                elif field.name in names:
                    values = list(map(itemgetter(field.name), changes))
                    column = column_of(field, values, batch.symbols)
                else:
                    continue
            except BadValueError as err:
                what = f"`{field.name}` {err.reason}"
                raise self._refuse(batch, positions[err.position], what) from None
            columns[field.name] = column
        self._check_names(batch, schema, positions, changes, names)
        progress = made.progress
        if batch.schema.time and columns[batch.schema.time] is not made.columns[batch.schema.time]:
            progress = with_own_progress(made)
        return Batch(schema, columns, batch.symbols, progress)

    def _output_schema(
        self, batch: Batch, positions: Sequence[int], first: Mapping[str, Any]
    ) -> Schema:
        if self._added is None:
            self._added = self._told_by(batch, positions[0], first)
        if self._output is None or self._input is not batch.schema:
            added = [field for field in self._added if field.name not in batch.schema]
            self._input, self._output = batch.schema, batch.schema.having(*added)
        return self._output

    def _told_by(self, batch: Batch, position: int, first: Mapping[str, Any]) -> tuple[Field, ...]:
        fields = []
        for name, value in first.items():
            if name in batch.schema:
                continue
            field = field_for(str(name), value)
            if field is None:
                what = (
                    f"the type of the added column `{name}` cannot be told from {value!r:.80} "
                    f"({type(value).__name__}); say it with `columns={{'{name}': ...}}`"
                )
                raise self._refuse(batch, position, what)
            fields.append(field)
        return tuple(fields)

    def _patched(
        self,
        field: Field,
        column: Column | None,
        changes: Sequence[Mapping[str, Any]],
        batch: Batch,
    ) -> Column:
        """Return a column with the values of the rows that have one for it."""
        if column is None:
            values = [change.get(field.name) for change in changes]
            return column_of(field, values, batch.symbols)
        rows = [row for row, change in enumerate(changes) if field.name in change]
        if not rows:
            return column
        try:
            values = [changes[row][field.name] for row in rows]
            part = column_of(field, values, batch.symbols)
        except BadValueError as err:
            raise BadValueError(rows[err.position], err.reason) from None
        if len(rows) == len(changes):
            return part
        if isinstance(column, pa.Array):
            merged: list[Any] = column.to_pylist()
            for row, value in zip(rows, part.to_pylist(), strict=True):
                merged[row] = value
            return pa.array(merged, column.type)
        patched: np.ndarray[Any, np.dtype[Any]] = np.array(column)
        patched[rows] = part
        return patched

    def _check_names(
        self,
        batch: Batch,
        schema: Schema,
        positions: Sequence[int],
        changes: Sequence[Mapping[str, Any]],
        names: frozenset[str] | None,
    ) -> None:
        known = frozenset(schema.names)
        if names is not None and names <= known:
            return
        for position, change in zip(positions, changes, strict=True):
            for name in change:
                if name not in known:
                    what = (
                        f"the function adds the column `{name}`, which the first row had not; "
                        f"return it for every row, or say `columns={{'{name}': ...}}`"
                    )
                    raise self._refuse(batch, position, what)


def _common_names(changes: Sequence[Mapping[str, Any]]) -> frozenset[str] | None:
    """Return the columns of every row's changes if these are the same for all."""
    first = changes[0].keys()
    if set(map(len, changes)) != {len(first)}:
        return None
    try:
        # As many columns and none of the first row's missing: the same columns.
        for name in first:
            deque(map(itemgetter(name), changes), 0)
    except KeyError:
        return None
    return frozenset(first)


class BatchMapping:
    """Takes what a function on batches or frames returned."""

    def __init__(self, context: NodeContext, *, frames: bool) -> None:
        self._node = context.node
        self._account = context.account
        self._frames = frames
        self._schema: Schema | None = None

    def argument(self, batch: Batch) -> Any:
        """Return what the function is given."""
        return frame_of_batch(batch, position=True) if self._frames else batch

    def outputs_of(self, batch: Batch, result: Any) -> Outputs:
        """Return the rows the function made.

        Raises:
            SchemaError: If it returned something else, or other columns than before.
        """
        rows = len(batch)
        if result is None:
            self._account.add("filtered", rows)
            return ()
        made = self._made(batch, result)
        if self._schema is None:
            self._schema = made.schema
        elif made.schema is not self._schema and made.schema != self._schema:
            before, now = (", ".join(map(str, schema)) for schema in (self._schema, made.schema))
            msg = f"the function of `{self._node}` returned {now}, and {before} earlier"
            raise SchemaError(msg, node=self._node)
        self._account.add("filtered", max(0, rows - len(made)))
        self._account.created += max(0, len(made) - rows)
        return (("out", made),) if len(made) else ()

    def _made(self, batch: Batch, result: Any) -> Batch:
        if self._frames:
            if not isinstance(result, polars().DataFrame):
                raise self._refused(polars().DataFrame, result)
            return batch_of_frame(result, batch, self._node)
        if not isinstance(result, Batch) or result.symbols is not batch.symbols:
            raise self._refused(Batch, result)
        progress = batch.progress
        if progress is None:
            return result
        same = len(result) == len(batch)
        if result.progress is not None and result.progress is not progress:
            return result
        if same:
            return result.with_progress(_own(batch, progress))
        # Which rows these are is not known: none is late that could be in time.
        watermarks = np.full(len(result), progress.before)
        return result.with_progress(Progress(progress.before, 0, progress.end, watermarks))

    def _refused(self, wanted: type, found: object) -> SchemaError:
        msg = (
            f"the function of `{self._node}` must return a {wanted.__name__} over "
            f"the same symbols, or None, was {type(found).__name__}"
        )
        return SchemaError(msg, node=self._node)


def _own(batch: Batch, progress: Progress) -> Progress:
    return with_own_progress(batch) or progress

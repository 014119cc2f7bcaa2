"""The running half of `clock_skew`: the clock of each key."""

from __future__ import annotations

__all__ = ("ClockSkewOperator",)

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.durations import duration_ns
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.kernels import skew as layout
from market_data_pipeline.operator.clock_skew import OFFSET, RECEIVED, SKEWED, skew_schema
from market_data_pipeline.operator.key_states import KeyStates
from market_data_pipeline.operator.watermarks import watermarks_of
from market_data_pipeline.records import Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.clock_skew import ClockSkew

_SAVED: Final = frozenset({"first", "second", "words"})


class ClockSkewOperator:
    """Tells for each row how far the clocks are apart."""

    def __init__(self, settings: ClockSkew, context: NodeContext) -> None:
        self._by = list(settings.by)
        self._correct = settings.correct
        self._context = context
        forget = duration_ns(settings.forget)
        words = layout.RING + 2 * settings.spans
        self._settings = np.array(
            [
                duration_ns(settings.span),
                settings.spans,
                duration_ns(settings.bound),
                -1 if settings.way is None else duration_ns(settings.way),
                forget,
            ],
            np.int64,
        )
        self._states = KeyStates(self._by, words=words, highest=layout.HIGHEST, forget_ns=forget)
        # Records told in this batch, the watermark reached.
        self._counts = np.array([0, TIME_MIN], np.int64)
        self._records = np.empty((0, layout.RECORD), np.int64)
        self._schema: Schema | None = None
        self._out_schema: Schema | None = None
        self._skew_schema: Schema | None = None
        empty = np.empty(0, np.int64)
        self._saved = Snapshot(
            keyed={"first": empty, "second": empty, "words": np.empty((0, words), np.int64)},
            scalars={
                **{f"key.{name}": place for place, name in enumerate(self._by)},
                "span": duration_ns(settings.span),
                "spans": settings.spans,
            },
        )

    def process(self, batch: Batch) -> Outputs:
        """Return the rows with the offset of their clock, and records of new estimates."""
        rows = len(batch)
        if not rows:
            return ()
        if batch.schema is not self._schema:
            self._bind(batch.schema)
        assert self._out_schema is not None  # noqa: S101 - bound with the first rows
        if len(self._records) < rows:
            self._records = np.empty((rows, layout.RECORD), np.int64)
        received = np.ascontiguousarray(batch.columns[RECEIVED])
        offsets, skewed = np.empty(rows, np.int64), np.empty(rows, np.bool_)
        slots = self._states.slots(batch, int(self._counts[1]))
        watermarks, highest, bound = watermarks_of(batch)
        self._counts[0] = 0
        layout.follow_clocks(
            self._states.table,
            self._counts,
            slots,
            np.ascontiguousarray(batch.times),
            received,
            watermarks,
            highest,
            bound,
            self._settings,
            offsets,
            skewed,
            self._records,
        )
        columns = {**batch.columns, OFFSET.name: offsets, SKEWED.name: skewed}
        if self._correct:
            # A row whose times are none has no offset that could be taken off.
            far = np.abs(received // 2) >= layout.LATEST // 2
            columns[RECEIVED] = np.where(far, received, received - np.where(far, 0, offsets))
        out = Batch(self._out_schema, columns, batch.symbols, batch.progress)
        told = int(self._counts[0])
        if not told:
            return (("out", out),)
        self._context.account.created += told
        self._context.account.add("skew", told)
        return (("out", out), ("skew", self._told(batch, told)))

    def advance(self, watermark: int) -> Outputs:  # noqa: ARG002
        """Return nothing: no row is held."""
        return ()

    def finish(self) -> Outputs:
        """Return nothing: no row is held."""
        return ()

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark as it came: no row is held back."""
        return watermark

    def snapshot(self) -> Snapshot:
        """Return the state of each key's clock."""
        if not self._states.bound:
            return self._saved
        slots = np.flatnonzero(self._states.table[:, 0])
        groups, first, second = self._states.saved(slots, self._context.symbols)
        keyed = {"first": first, "second": second, "words": self._states.table[slots]}
        return Snapshot(groups, keyed, self._saved.scalars)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the state of clocks.

        Raises:
            SnapshotError: If it is not of this key, or of other spans.
        """
        if dict(snapshot.scalars) != self._saved.scalars or set(snapshot.keyed) != _SAVED:
            msg = (
                f"the state is not one of `clock_skew` with these settings; it has "
                f"{dict(snapshot.scalars)}, not {dict(self._saved.scalars)}"
            )
            raise SnapshotError(msg)
        # Symbols get their codes in this run when the columns are known, with the first rows.
        self._saved = snapshot

    def _bind(self, schema: Schema) -> None:
        if schema != self._schema:
            self._out_schema = schema.having(OFFSET, SKEWED)
            self._skew_schema = skew_schema(schema, self._by)
            if not self._states.bound:
                self._states.bind(schema, self._context.node)
                saved = self._saved.keyed
                slots = self._states.loaded(saved["first"], saved["second"], self._context.symbols)
                self._states.table[slots] = saved["words"]
        self._schema = schema

    def _told(self, batch: Batch, told: int) -> Batch:
        schema = self._skew_schema
        assert schema is not None  # noqa: S101 - bound with the first rows
        records = self._records[:told]
        rows = np.ascontiguousarray(records[:, 0])
        columns: dict[str, Any] = {"ts_event": batch.times[rows]}
        for name in self._by:
            column = batch.columns[name]
            columns[name] = (
                column.take(pa.array(rows)) if isinstance(column, pa.Array) else column[rows]
            )
        for place, name in enumerate(schema.names[1 + len(self._by) :], start=1):
            # A copy, also of one record: the kernel writes the next ones over these.
            columns[name] = records[:, place].copy()
        progress = batch.progress
        if progress is not None:
            marks = progress.watermarks(batch.times)[rows]
            progress = Progress(progress.before, 0, progress.end, marks)
        return Batch(schema, columns, batch.symbols, progress)

"""The running half of `sequence`: the state of each key and the gaps that are open."""

from __future__ import annotations

__all__ = ("SequenceOperator",)

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.calendars import SessionTable
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.durations import duration_ns
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.kernels import sequence_layout as layout
from market_data_pipeline.kernels.gap_lists import chain_free_nodes
from market_data_pipeline.kernels.sequence import follow_numbers
from market_data_pipeline.kernels.sequence_state import free_gaps, load_gaps, save_gaps
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.key_states import KeyStates
from market_data_pipeline.operator.sequence_records import MISSING, gap_batch, gap_schema
from market_data_pipeline.operator.watermarks import watermarks_of
from market_data_pipeline.records import Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.sequence import SequenceTracker

_INT64: Final = np.iinfo(np.int64)
_FIRST_NODES: Final = 64
_SAVED: Final = frozenset({"first", "second", "list", "words"})


class SequenceOperator:
    """Tells for each row what is missing before it."""

    def __init__(self, settings: SequenceTracker, context: NodeContext) -> None:
        self._names = tuple(settings.by)
        self._column = settings.column
        self._context = context
        reset = {"lower": _INT64.max, "never": _INT64.min}.get(str(settings.reset))
        self._settings = np.array(
            [
                int(settings.wrap or 0),
                settings.reset if reset is None else reset,
                _INT64.min if settings.first is None else settings.first,
                duration_ns(settings.ttl),
                duration_ns(settings.forget),
                settings.most_gaps,
                settings.duplicates == "drop",
            ],
            np.int64,
        )
        self._states = KeyStates(
            settings.by,
            words=layout.STATE,
            highest=layout.HIGHEST,
            forget_ns=duration_ns(settings.forget),
        )
        self._nodes = np.empty((_FIRST_NODES, layout.NODE), np.int64)
        self._calendar = None if settings.calendar is None else SessionTable(settings.calendar)
        self._edges = np.empty(0, np.int64)
        self._pool = np.array([-1, 0], np.int64)
        chain_free_nodes(self._nodes, self._pool, 0)
        # Duplicates dropped and records told in this batch, the watermark reached.
        self._counts = np.array([0, 0, TIME_MIN], np.int64)
        self._keep = np.empty(0, np.bool_)
        self._records = np.empty((0, layout.RECORD), np.int64)
        self._schema: Schema | None = None
        self._out_schema: Schema | None = None
        self._gap_schema: Schema | None = None
        empty = np.empty(0, np.int64)
        self._saved = Snapshot(
            keyed={
                "first": empty,
                "second": empty,
                "list": empty,
                "words": np.empty((0, layout.STATE), np.int64),
            },
            scalars={
                **{f"key.{name}": place for place, name in enumerate(self._names)},
                f"number.{self._column}": 0,
            },
        )

    def process(self, batch: Batch) -> Outputs:
        """Return the rows with what is missing before them, the records and duplicates."""
        rows = len(batch)
        if not rows:
            return ()
        if batch.schema is not self._schema:
            self._bind(batch.schema)
        missing = np.empty(rows, np.int64)
        dropped, told = self._follow(batch, missing)
        assert self._out_schema is not None  # noqa: S101 - bound with the first rows
        assert self._gap_schema is not None  # noqa: S101
        marked = Batch(
            *(self._out_schema, {**batch.columns, MISSING.name: missing}),
            *(batch.symbols, batch.progress),
        )
        outputs: list[tuple[str, Batch]] = []
        account = self._context.account
        if dropped < rows:
            keep = self._keep[:rows]
            outputs.append(("out", keep_rows(marked, keep, rows - dropped)))
        if told:
            # They are rows that this operator makes, and that end here as far as the main
            # output is concerned.
            account.created += told
            account.add("gaps", told)
            if self._context.is_read("gaps"):
                records = self._records[:told]
                outputs.append(("gaps", gap_batch(batch, self._gap_schema, records, layout.KINDS)))
        if dropped:
            account.add("duplicate", dropped)
        if dropped and self._context.is_read("duplicate"):
            outputs.append(("duplicate", keep_rows(batch, ~self._keep[:rows], dropped)))
        return outputs

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
        """Return the state of each key and its open gaps, oldest first."""
        if not self._states.bound:
            return self._saved
        table = self._states.table
        slots = np.flatnonzero(table[:, 0])
        gaps = np.empty((int(table[slots, layout.OPEN].sum()), 2 + layout.NODE), np.int64)
        save_gaps(table, self._nodes, slots, gaps)
        words = np.zeros((len(slots) + len(gaps), layout.STATE), np.int64)
        words[: len(slots)] = table[slots]
        words[len(slots) :, : layout.NODE] = gaps[:, 2:]
        lists = np.concatenate([np.zeros(len(slots), np.int64), gaps[:, 1]])
        groups, first, second = self._states.saved(
            np.concatenate([slots, gaps[:, 0]]), self._context.symbols
        )
        keyed = {"first": first, "second": second, "list": lists, "words": words}
        return Snapshot(groups, keyed, self._saved.scalars)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the state of keys.

        Raises:
            SnapshotError: If it is not of this key and column.
        """
        if dict(snapshot.scalars) != self._saved.scalars or set(snapshot.keyed) != _SAVED:
            names = ", ".join(f"`{name.partition('.')[2]}`" for name in snapshot.scalars)
            msg = f"the state is not one of `sequence` of these columns; it has {names or 'none'}"
            raise SnapshotError(msg)
        # Symbols get their codes in this run when the columns are known, with the first rows.
        self._saved = snapshot

    def _bind(self, schema: Schema) -> None:
        if schema != self._schema:
            self._out_schema = schema.having(MISSING)
            self._gap_schema = gap_schema(schema, self._names)
            if not self._states.bound:
                self._states.bind(schema, self._context.node)
                self._load()
        self._schema = schema

    def _load(self) -> None:
        """Put the saved state into the arrays."""
        saved = self._saved.keyed
        lists, words = saved["list"], saved["words"]
        if not len(lists):
            return
        slots = self._states.loaded(saved["first"], saved["second"], self._context.symbols)
        self._make_nodes(len(lists))
        keys, gaps = lists == 0, lists > 0
        states = self._states.table
        states[slots[keys]] = words[keys]
        for word in (*layout.HEADS, *layout.TAILS):
            states[slots[keys], word] = -1
        rows = np.ascontiguousarray(words[gaps])
        load_gaps(states, self._nodes, self._pool, slots[gaps], lists[gaps], rows)

    def _make_nodes(self, nodes: int) -> None:
        if nodes >= self._pool[1]:
            begin = len(self._nodes)
            added = max(nodes + 1, begin)
            more = np.empty((added, layout.NODE), np.int64)
            self._nodes = np.concatenate([self._nodes, more])
            chain_free_nodes(self._nodes, self._pool, begin)

    def _follow(self, batch: Batch, missing: npt.NDArray[np.int64]) -> tuple[int, int]:
        """Fill `missing`, `_keep` and `_records`; return duplicates dropped and records."""
        rows = len(batch)
        if len(self._keep) < rows:
            self._keep = np.empty(rows, np.bool_)
            self._records = np.empty((rows, layout.RECORD), np.int64)
        numbers = np.ascontiguousarray(batch.columns[self._column])
        times = np.ascontiguousarray(batch.times)
        watermarks, highest, bound = watermarks_of(batch)
        counts = self._counts
        slots = self._states.slots(batch, int(counts[2]), self._drop)
        counts[:2] = 0
        if self._calendar is not None:
            self._cover(self._calendar, times)
        begin = 0
        while True:
            begin = follow_numbers(
                *(self._states.table, self._nodes, self._pool, counts, slots, numbers, times),
                *(watermarks, highest, bound, self._edges, self._settings, begin),
                *(missing, self._keep, self._records),
            )
            if begin == rows:
                return int(counts[0]), int(counts[1])
            highest = int(counts[2]) + bound
            self._make_nodes(1)

    def _cover(self, calendar: SessionTable, times: npt.NDArray[np.int64]) -> None:
        """See to it that the sessions of some times are known."""
        if not calendar.cover(int(times.min()), int(times.max())):
            return
        first = np.ones(len(calendar.session), np.bool_)
        first[1:] = calendar.session[1:] != calendar.session[:-1]
        self._edges = np.append(calendar.opens[first], _INT64.max)
        # The session that follows may not have been known before.
        states = self._states.table
        following = np.searchsorted(self._edges, states[:, layout.HIGHEST], side="right")
        states[:, layout.EDGE] = self._edges[np.minimum(following, len(self._edges) - 1)]

    def _drop(self, slots: npt.NDArray[np.int64]) -> None:
        free_gaps(self._states.table, self._nodes, self._pool, slots)

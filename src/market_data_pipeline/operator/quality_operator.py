"""The running half of `quality`."""

from __future__ import annotations

__all__ = ("QualityOperator",)

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.quality_checks import kernel_settings, sides_of, size_of
from market_data_pipeline.operator.quality_details import details_of, reasons_of
from market_data_pipeline.operator.quality_memory import QualityMemory
from market_data_pipeline.records import Field, Flaw, Kind, Schema

_Int64s = npt.NDArray[np.int64]

_MASK: Final = Field("quality", Kind.INT)
_TOLD: Final = (
    Field("reason", Kind.ARROW, arrow=pa.string()),
    Field("detail", Kind.ARROW, arrow=pa.string()),
)
_NO_INTS: Final = np.empty(0, np.int64)
_NO_CODES: Final = np.empty(0, np.int32)


class QualityOperator:
    """The running half of `Quality`.

    Args:
        context: The node's context.
        checks: The settings of those checks that have some.
        enabled: The checks that are made.
        rejecting: Those whose rows are rejected.
        ttl_ns: How long a symbol is remembered.
    """

    def __init__(
        self,
        context: NodeContext,
        *,
        checks: Iterable[object],
        enabled: Flaw,
        rejecting: Flaw,
        ttl_ns: int,
    ) -> None:
        from market_data_pipeline.kernels.quality import SETTINGS, check_rows

        self._context = context
        self._check_rows: Any = check_rows
        self._rejecting = rejecting
        self._flags = enabled != rejecting
        words = kernel_settings(checks, ttl_ns)
        words |= {"enabled": int(enabled), "rejecting": int(rejecting)}
        self._settings = np.array([words.get(name, 0) for name in SETTINGS], np.int64)
        window = words.get("window", 0)
        self._memory = QualityMemory(enabled, window, ttl_ns, context.symbols)
        self._schema: Schema | None = None
        self._sides: tuple[str, ...] = ()
        self._masks = np.empty(0, np.int64)
        self._notes = np.empty(0, np.int64)

    def process(self, batch: Batch) -> Outputs:
        """Return the rows let through, and those rejected."""
        rows = len(batch)
        if not rows:
            return ()
        if batch.schema is not self._schema:
            self._schema = batch.schema
            self._sides = sides_of(batch.schema)
        rejected = self._check(batch)
        masks = self._masks[:rows]
        if self._flags:
            earlier = batch.columns.get("quality")
            column = masks.copy() if earlier is None else masks | earlier
            batch = batch.with_columns([_MASK], {"quality": column})
        if not rejected:
            return (("out", batch),)
        self._context.account.add("rejected", rejected)
        ends = (masks & int(self._rejecting)) != 0
        outputs = [("rejected", self._told(batch, np.flatnonzero(ends)))]
        if rejected < rows:
            outputs.insert(0, ("out", keep_rows(batch, ~ends, rows - rejected)))
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
        """Return what is remembered of each symbol, by its name."""
        return self._memory.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what was remembered.

        Raises:
            SnapshotError: If it was remembered for other checks.
        """
        self._memory.restore(snapshot)

    def _check(self, batch: Batch) -> int:
        """Fill `_masks` and `_notes`; return how many rows to reject."""
        rows = len(batch)
        if len(self._masks) < rows:
            self._masks = np.empty(rows, np.int64)
            self._notes = np.empty(rows, np.int64)
        columns = batch.columns
        prices = [_ints(columns.get(name)) for name in self._sides]
        sizes = [_ints(columns.get(size_of(name))) for name in self._sides]
        prices += [_NO_INTS] * (2 - len(prices))
        sizes += [_NO_INTS] * (2 - len(sizes))
        memory = self._memory
        codes = _NO_CODES
        if memory.enabled:
            codes = np.ascontiguousarray(columns["symbol"])
            memory.admit(len(batch.symbols))
        times = np.ascontiguousarray(batch.times)
        received = _ints(columns.get("ts_recv"))
        watermarks, highest, bound = _watermarks_of(batch)
        counts = memory.counts
        counts[1] = 0
        begin = 0
        while True:
            begin = self._check_rows(
                *(self._settings, codes, times, watermarks, highest, bound, received),
                *(*prices, *sizes, memory.index, memory.slots, memory.width),
                *(counts, self._masks, self._notes, begin),
            )
            if begin == rows:
                return int(counts[1])
            highest = int(counts[2]) + bound
            memory.make_room()

    def _told(self, batch: Batch, rows: _Int64s) -> Batch:
        """Return rejected rows with what is wrong with them."""
        masks = self._masks[rows]
        taken = batch.take(rows)
        first = masks & int(self._rejecting)
        first &= -first
        told = {
            "quality": taken["quality"] if self._flags else masks,
            "reason": reasons_of(first),
            "detail": details_of(taken, first, self._notes[rows]),
        }
        return taken.with_columns([_MASK, *_TOLD], told)


def _ints(column: Any) -> _Int64s:
    return _NO_INTS if column is None else np.ascontiguousarray(column)


def _watermarks_of(batch: Batch) -> tuple[_Int64s, int, int]:
    """Return the watermark after each row or none, and the running maximum and bound."""
    progress = batch.progress
    if progress is None:
        return np.full(len(batch), TIME_MIN), TIME_MIN, 0
    if progress.column is not None:
        return np.ascontiguousarray(progress.column), progress.before, 0
    return _NO_INTS, max(progress.start, TIME_MIN + progress.bound), progress.bound

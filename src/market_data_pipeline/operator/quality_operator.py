"""The running half of `quality`."""

from __future__ import annotations

__all__ = ("QualityOperator",)

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.quality_details import details_of, reasons_of
from market_data_pipeline.operator.quality_rows import RowChecks
from market_data_pipeline.records import Field, Flaw, Kind, Schema

_Int64s = npt.NDArray[np.int64]

_MASK: Final = Field("quality", Kind.INT)
_TOLD: Final = (
    Field("reason", Kind.ARROW, arrow=pa.string()),
    Field("detail", Kind.ARROW, arrow=pa.string()),
)


class QualityOperator:
    """The running half of `Quality`.

    Args:
        context: The node's context.
        checks: The checks, and what they remember.
        enabled: Which they are.
    """

    def __init__(self, context: NodeContext, checks: RowChecks, enabled: Flaw) -> None:
        self._context = context
        self._checks = checks
        self._rejecting = int(checks.rejecting)
        self._flags = enabled != checks.rejecting
        self._input: Schema | None = None
        self._flagged = Schema("", ())

    def process(self, batch: Batch) -> Outputs:
        """Return the rows let through, and those rejected."""
        rows = len(batch)
        if not rows:
            return ()
        rejected = self._checks.check(batch)
        masks = self._checks.masks
        if self._flags:
            earlier = batch.columns.get("quality")
            column = masks.copy() if earlier is None else masks | earlier
            if batch.schema is not self._input:
                self._input, self._flagged = batch.schema, batch.schema.having(_MASK)
            columns = {**batch.columns, "quality": column}
            batch = Batch(self._flagged, columns, batch.symbols, batch.progress)
        if not rejected:
            return (("out", batch),)
        self._context.account.add("rejected", rejected)
        ends = (masks & self._rejecting) != 0
        outputs = []
        if rejected < rows:
            outputs.append(("out", keep_rows(batch, ~ends, rows - rejected)))
        if self._context.is_read("rejected"):
            outputs.append(("rejected", self._told(batch, np.flatnonzero(ends))))
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
        return self._checks.memory.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what was remembered.

        Raises:
            SnapshotError: If it was remembered for other checks.
        """
        self._checks.memory.restore(snapshot)

    def _told(self, batch: Batch, rows: _Int64s) -> Batch:
        """Return rejected rows with what is wrong with them."""
        masks = self._checks.masks[rows]
        taken = batch.take(rows)
        first = masks & self._rejecting
        first &= -first
        told = {
            "quality": taken["quality"] if self._flags else masks,
            "reason": reasons_of(first),
            "detail": details_of(taken, first, self._checks.notes[rows]),
        }
        return taken.with_columns([_MASK, *_TOLD], told)

"""The census of a feed: what came through, counted from the rows alone."""

from __future__ import annotations

__all__ = ("FeedCensus",)

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import Field, Kind, Schema

Int64s: TypeAlias = npt.NDArray[np.int64]
Columns: TypeAlias = dict[str, npt.NDArray[Any]]

CENSUS: Final = Schema(
    "census",
    (
        Field("symbol", Kind.SYMBOL),
        Field("row_count", Kind.INT),
        Field("disordered_count", Kind.INT),
    ),
    time="",
)
"""Rows of a symbol, and how many of them are older than a row that came before."""

GAP: Final = Schema(
    "gap",
    (
        Field("symbol", Kind.SYMBOL),
        Field("first", Kind.INT),
        Field("last", Kind.INT),
        Field("ts_before", Kind.TIME),
        Field("ts_after", Kind.TIME),
    ),
    time="",
)
"""Sequence numbers `first` to `last` that are missing, and the times of the rows around."""


@component("feed_census")
class FeedCensus:
    """Count the rows of each symbol and find the gaps in its sequence numbers.

    Everything comes out at the end of the input. A row that arrives twice or late fills
    its place in the sequence all the same.
    """

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out", "gaps")
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of the census and of gaps.

        Raises:
            SchemaError: If rows have no symbol or no sequence number.
        """
        for name in ("symbol", "sequence"):
            if name not in schema:
                msg = f"`feed_census` needs the column `{name}` (columns: {schema.names})"
                raise SchemaError(msg)
        return {"out": CENSUS, "gaps": GAP}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return the columns that are counted."""
        return frozenset(("ts_event", "symbol", "sequence"))

    def build(self, context: NodeContext) -> _Census:
        """Make the running half."""
        return _Census(context)


class _Census:
    """The running half: runs of consecutive sequence numbers, and counts by symbol code."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._newest = TIME_MIN
        self._rows = np.zeros(0, np.int64)
        self._disordered = np.zeros(0, np.int64)
        # (5, n): symbol code, first and last sequence number of a run, and their times.
        self._runs = np.empty((5, 0), np.int64)

    def process(self, batch: Batch) -> Outputs:
        """Take rows."""
        if not len(batch):
            return ()
        times = batch.times
        newest = np.maximum.accumulate(times)
        np.maximum(newest, self._newest, out=newest)
        before = np.concatenate([[self._newest], newest[:-1]])
        self._newest = int(newest[-1])
        symbols: npt.NDArray[np.int32] = batch["symbol"]
        self._rows = _added(self._rows, symbols)
        self._disordered = _added(self._disordered, symbols[times < before])
        sequence: Int64s = batch["sequence"]
        found = np.stack([symbols.astype(np.int64), sequence, sequence, times, times])
        self._runs = _joined(np.concatenate([self._runs, _joined(found)], axis=1))
        self._context.account.add("aggregated", len(batch))
        return ()

    def advance(self, watermark: int) -> Outputs:  # noqa: ARG002
        """Do nothing: the census comes at the end."""
        return ()

    def finish(self) -> Outputs:
        """Give the census and the gaps."""
        codes = np.flatnonzero(self._rows)
        disordered = np.zeros(len(self._rows), np.int64)
        disordered[: len(self._disordered)] = self._disordered
        census: Columns = {
            "symbol": codes.astype(np.int32),
            "row_count": self._rows[codes],
            "disordered_count": disordered[codes],
        }
        runs = self._runs
        ends = np.flatnonzero(runs[0, 1:] == runs[0, :-1])
        gaps: Columns = {
            "symbol": runs[0, ends].astype(np.int32),
            "first": runs[2, ends] + 1,
            "last": runs[1, ends + 1] - 1,
            "ts_before": runs[4, ends],
            "ts_after": runs[3, ends + 1],
        }
        outputs = []
        for port, schema, columns in (("out", CENSUS, census), ("gaps", GAP, gaps)):
            rows = len(columns["symbol"])
            if rows:
                self._context.account.created += rows
                progress = Progress(TIME_MAX, 0, TIME_MAX, np.full(rows, TIME_MAX))
                outputs.append((port, Batch(schema, columns, self._context.symbols, progress)))
        return outputs

    def output_watermark(self, watermark: int) -> int:
        """Return the end of time at the end, and its beginning before."""
        return watermark if watermark == TIME_MAX else TIME_MIN

    def snapshot(self) -> Snapshot:
        """Return the runs and counts, by the symbols' names."""
        symbols = self._context.symbols
        disordered = np.zeros(len(self._rows), np.int64)
        disordered[: len(self._disordered)] = self._disordered
        code = self._runs[0]
        names = np.array(symbols.names, dtype=np.str_)
        keyed = {"symbol": names[code], "runs": self._runs[1:].T.copy()}
        keyed |= {"rows": self._rows[code], "disordered": disordered[code]}
        groups = symbols.key_groups(code.astype(np.int32))
        return Snapshot(groups, keyed, {"newest": self._newest})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over runs and counts."""
        self._newest = snapshot.scalars.get("newest", TIME_MIN)
        if not len(snapshot.key_groups):
            return
        keyed = snapshot.keyed
        codes = self._context.symbols.encode(keyed["symbol"].tolist())
        self._runs = _joined(np.concatenate([codes[None].astype(np.int64), keyed["runs"].T]))
        count = int(codes.max()) + 1
        self._rows, self._disordered = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._rows[codes] = keyed["rows"]
        self._disordered[codes] = keyed["disordered"]


def _added(counts: Int64s, symbols: npt.NDArray[np.int32]) -> Int64s:
    found = np.bincount(symbols, minlength=len(counts))
    found[: len(counts)] += counts
    return found


def _joined(runs: Int64s) -> Int64s:
    """Return runs sorted by symbol and number, those that touch or overlap made one."""
    if not runs.shape[1]:
        return runs
    order = np.lexsort((runs[1], runs[0]))
    code, first, last, ts_first, ts_last = runs[:, order]
    # The highest number so far within the symbol: codes lie further apart than numbers.
    stride = int(last.max()) + 2
    reach = np.maximum.accumulate(code * stride + last)
    starts = np.ones(len(code), bool)
    starts[1:] = code[1:] * stride + first[1:] > reach[:-1] + 1
    starts[1:] |= code[1:] != code[:-1]
    at = np.flatnonzero(starts)
    ends = np.append(at[1:], len(code)) - 1
    highest = reach[ends] - code[ends] * stride
    # The time of the highest number: that of the last run that reaches it.
    reaching = np.where(code * stride + last == reach, np.arange(len(code)), 0)
    holder = np.maximum.accumulate(reaching)[ends]
    return np.stack([code[at], first[at], highest, ts_first[at], ts_last[holder]])

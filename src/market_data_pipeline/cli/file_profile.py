"""What is in one file of trades or quotes, found in one pass over it."""

from __future__ import annotations

__all__ = ("Profile", "Reject", "TimeProfile", "profile_of")

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.cli.sequence_check import Gaps, SequenceCheck
from market_data_pipeline.records import UNDEFINED, Kind, Schema
from market_data_pipeline.source.reader import FileReader
from market_data_pipeline.symbols import SymbolTable

_IDS: Final = ("trade_id", "sequence")
_NUMBERS: Final = ("sequence", "trade_id")


@dataclass(frozen=True, slots=True)
class TimeProfile:
    """How event time ran, over all rows or those of one symbol.

    Attributes:
        rows: Rows taken.
        first: Lowest event time, nanoseconds UTC.
        last: Highest event time.
        out_of_order: Rows whose time is below the highest before them.
        worst_disorder_ns: By how much at most.
        silence_ns: Longest time without a row.
        silence_start: When it began.
        silence_end: When it ended.
    """

    rows: int
    first: int
    last: int
    out_of_order: int
    worst_disorder_ns: int
    silence_ns: int
    silence_start: int
    silence_end: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that could not be taken: its number in the file, one word for why, and what."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What was found.

    Attributes:
        schema: The columns.
        rows_read: Rows of the file.
        rejected: Rows that could not be taken, by reason.
        first_rejected: The first of them.
        whole: All rows together; None if there are none.
        symbols: By symbol, those with most rows first.
        id_column: What rows were told apart by, None if there is no such column.
        duplicates: Rows that repeat a symbol and identifier; None if unknowable.
        number_column: What gaps were looked for in, None if there is no such column.
        gaps: The gaps; None if unknowable.
    """

    schema: Schema
    rows_read: int
    rejected: Mapping[str, int]
    first_rejected: tuple[Reject, ...]
    whole: TimeProfile | None
    symbols: Mapping[str, TimeProfile]
    id_column: str | None
    duplicates: int | None
    number_column: str | None
    gaps: Gaps | None


def profile_of(
    reader: FileReader,
    symbols: SymbolTable,
    *,
    limit: int = 10,
    ids: bool = True,
    watch: Callable[[Batch], None] | None = None,
) -> Profile:
    """Read a file to its end and tell what was in it.

    Memory grows with the number of symbols only; see `SequenceCheck` for identifiers.

    Args:
        reader: The open file.
        symbols: The table the reader's codes point into.
        limit: Most rejected rows and gaps to describe.
        ids: Whether to look for rows that repeat an identifier.
        watch: Called with each batch, in order.

    Raises:
        InputError: If the file is damaged.
    """
    # Compiled code is loaded when there is something to run it on.
    from market_data_pipeline.kernels.profile_times import WORDS, profile_times

    schema = reader.schema
    id_column = next((name for name in _IDS if name in schema), None) if ids else None
    number_column = next((n for n in _NUMBERS if n in schema and schema[n].kind is Kind.INT), None)
    times = np.zeros((1, WORDS), np.int64)
    rejected: Counter[str] = Counter()
    first_rejected: list[Reject] = []
    with SequenceCheck() as check:
        while (batch := reader.read()) is not None:
            if len(batch):
                times = _with_room(times, len(symbols) + 1)
                profile_times(batch.times, batch["symbol"], times)
                if id_column or number_column:
                    known = _known(batch, id_column), _known(batch, number_column)
                    check.add(batch["symbol"], batch.times, *known)
                if watch is not None:
                    watch(batch)
            _count_rejected(reader, rejected, first_rejected, limit)
        _count_rejected(reader, rejected, first_rejected, limit)
        return Profile(
            schema=schema,
            rows_read=reader.rows_read,
            rejected=dict(rejected.most_common()),
            first_rejected=tuple(first_rejected),
            whole=_time_profile(times[0]),
            symbols=_by_symbol(times, symbols),
            id_column=id_column,
            duplicates=check.duplicate_count() if id_column else None,
            number_column=number_column,
            gaps=check.gaps(limit, symbols) if number_column else None,
        )


def _with_room(times: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    if len(times) >= rows:
        return times
    room = np.zeros((max(rows, 2 * len(times)), times.shape[1]), np.int64)
    room[: len(times)] = times
    return room


def _known(batch: Batch, name: str | None) -> pa.Array | None:
    if name is None:
        return None
    column = batch[name]
    if isinstance(column, pa.Array):
        return column
    return pa.array(column, mask=column == UNDEFINED)


def _count_rejected(
    reader: FileReader, rejected: Counter[str], first: list[Reject], limit: int
) -> None:
    batch = reader.take_rejected()
    if batch is None:
        return
    reasons = batch["reason"].to_pylist()
    rejected.update(reasons)
    first.extend(
        Reject(int(batch["row"][i]), reasons[i], batch["detail"][i].as_py())
        for i in range(min(limit - len(first), len(batch)))
    )


def _by_symbol(times: npt.NDArray[np.int64], symbols: SymbolTable) -> dict[str, TimeProfile]:
    found = {}
    by_rows = np.argsort(-times[1:, 0], kind="stable")
    for code in by_rows.tolist():
        profile = _time_profile(times[code + 1])
        if profile is not None:
            found[symbols.name(code)] = profile
    return found


def _time_profile(words: npt.NDArray[np.int64]) -> TimeProfile | None:
    return TimeProfile(*words.tolist()) if words[0] else None

"""Do two tables of bars hold the same rows, and where do they not?"""

from __future__ import annotations

__all__ = ("Comparison", "Difference", "compare")

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from market_data_pipeline.cli.bar_files import KEYS
from market_data_pipeline.cli.output import format_time

_pc: Any = compute  # its functions are made at run time, unseen by type checkers

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A bar that is not the same on both sides.

    Attributes:
        symbol: Its symbol.
        ts_open: Its opening time, nanoseconds UTC.
        where: `a` or `b` if only that side has it, else `both`.
        columns: For `both`: the differing columns with the values of A and B.
    """

    symbol: str
    ts_open: int
    where: Literal["a", "b", "both"]
    columns: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found.

    Attributes:
        rows_a: Rows of A.
        rows_b: Rows of B.
        only_in_a: Rows whose key only A has.
        only_in_b: Rows whose key only B has.
        rows_differing: Rows both have, with different values.
        columns_only_in_a: Columns B has not.
        columns_only_in_b: Columns A has not.
        columns_differing: Differing rows by column.
        first: The first differences in the order of opening time and symbol.
    """

    rows_a: int
    rows_b: int
    only_in_a: int
    only_in_b: int
    rows_differing: int
    columns_only_in_a: tuple[str, ...]
    columns_only_in_b: tuple[str, ...]
    columns_differing: Mapping[str, int]
    first: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """True if both hold the same bars with the same columns."""
        return not (
            self.only_in_a
            or self.only_in_b
            or self.rows_differing
            or self.columns_only_in_a
            or self.columns_only_in_b
        )


def compare(a: pa.Table, b: pa.Table, *, limit: int) -> Comparison:
    """Compare bars by `symbol` and `ts_open`, in any order of rows and columns.

    Rows with one key are paired in the order they come. Numbers are compared exactly;
    where one side holds floats, both are compared as floats, since that is all it can
    say.

    Args:
        a: Bars as `load_bars` gives them.
        b: Bars to compare with.
        limit: Most differences to describe, >= 0.
    """
    rows_a, rows_b, alone_a, alone_b = _pair(a, b)
    shared = [n for n in a.column_names if n in b.column_names and n not in KEYS]
    paired_a, paired_b = a.take(pa.array(rows_a)), b.take(pa.array(rows_b))
    unequal = {n: _unequal(paired_a.column(n), paired_b.column(n)) for n in shared}
    differing = np.zeros(len(rows_a), bool)
    for mask in unequal.values():
        differing |= mask
    described = [
        *_alone(a, alone_a, "a", limit),
        *_alone(b, alone_b, "b", limit),
        *_differing(paired_a, paired_b, unequal, differing, limit),
    ]
    described.sort(key=lambda difference: (difference.ts_open, difference.symbol))
    return Comparison(
        rows_a=a.num_rows,
        rows_b=b.num_rows,
        only_in_a=len(alone_a),
        only_in_b=len(alone_b),
        rows_differing=int(differing.sum()),
        columns_only_in_a=tuple(n for n in a.column_names if n not in b.column_names),
        columns_only_in_b=tuple(n for n in b.column_names if n not in a.column_names),
        columns_differing={n: int(mask.sum()) for n, mask in unequal.items() if mask.any()},
        first=tuple(described[:limit]),
    )


def _pair(a: pa.Table, b: pa.Table) -> tuple[Positions, Positions, Positions, Positions]:
    """Return the positions of rows that have a partner, side by side, and of those alone."""
    # Arrow's own join gives Python's arrays to threads that may outlive the interpreter,
    # and a process ends by SIGABRT if one of them lets go of an array then.
    sides = (a.num_rows, b.num_rows)
    rows = np.concatenate([np.arange(count, dtype=np.int64) for count in sides])
    in_b = np.repeat([False, True], sides)
    keys = _keys(a, b)
    order = np.lexsort((rows, in_b, *keys))
    occurrence = np.empty(len(order), np.int64)
    occurrence[order] = _numbered(_starts([in_b, *keys], order))
    order = np.lexsort((in_b, occurrence, *keys))
    # A key comes once a side, so a row that does not start a run is the partner in B.
    seconds = np.flatnonzero(~_starts([occurrence, *keys], order))
    alone = np.ones(len(order), bool)
    alone[seconds] = alone[seconds - 1] = False
    in_b, rows = in_b[order], rows[order]
    return rows[seconds - 1], rows[seconds], rows[alone & ~in_b], rows[alone & in_b]


def _keys(a: pa.Table, b: pa.Table) -> list[npt.NDArray[Any]]:
    """Return what rows of A, then of B, are matched by, the least important first."""
    both = [pa.chunked_array([*a[n].chunks, *b[n].chunks], a[n].type) for n in KEYS]
    symbols, times = both
    return [
        _pc.rank(symbols, tiebreaker="dense").to_numpy(),
        _pc.fill_null(times, 0).to_numpy(),
        _pc.is_null(times).to_numpy(),
    ]


def _starts(keys: list[npt.NDArray[Any]], order: Positions) -> npt.NDArray[np.bool_]:
    """Return which rows, in an order, have other keys than the one before."""
    starts = np.zeros(len(order), bool)
    starts[:1] = True
    for key in keys:
        starts[1:] |= key[order[1:]] != key[order[:-1]]
    return starts


def _numbered(starts: npt.NDArray[np.bool_]) -> Positions:
    """Return the number of each row in its run, from 0."""
    numbers = np.arange(len(starts))
    numbered: Positions = numbers - np.maximum.accumulate(np.where(starts, numbers, 0))
    return numbered


def _unequal(a: pa.ChunkedArray, b: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    a, b = _comparable(a, b)
    same = _pc.fill_null(_pc.equal(a, b), False)
    same = _pc.or_(
        same, _pc.and_(_pc.is_null(a, nan_is_null=True), _pc.is_null(b, nan_is_null=True))
    )
    result: npt.NDArray[np.bool_] = _pc.invert(same).to_numpy()
    return result


def _comparable(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    types = (a.type, b.type)
    if a.type == b.type:
        return a, b
    if all(_is_numeric(type_) for type_ in types):
        if any(pa.types.is_floating(type_) for type_ in types):
            return _as_float(a), _as_float(b)
        wide = pa.decimal256(76, 18)
        return a.cast(wide), b.cast(wide)
    return a.cast(pa.string()), b.cast(pa.string())


def _is_numeric(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    )


def _as_float(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Arrow's own cast of decimals can be off in the last bit; by way of text it is not.
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    return column.cast(pa.float64())


def _alone(
    table: pa.Table, rows: Positions, where: Literal["a", "b"], limit: int
) -> list[Difference]:
    few = table.select(KEYS).take(pa.array(rows[:limit])).to_pylist()
    return [Difference(str(row["symbol"]), row["ts_open"], where, {}) for row in few]


def _differing(
    a: pa.Table,
    b: pa.Table,
    unequal: Mapping[str, npt.NDArray[np.bool_]],
    differing: npt.NDArray[np.bool_],
    limit: int,
) -> list[Difference]:
    found = []
    for row in np.flatnonzero(differing)[:limit].tolist():
        columns = {
            name: (_value(name, a, row), _value(name, b, row))
            for name, mask in unequal.items()
            if mask[row]
        }
        symbol = str(a["symbol"][row].as_py())
        found.append(Difference(symbol, a["ts_open"][row].as_py(), "both", columns))
    return found


def _value(name: str, table: pa.Table, row: int) -> Any:
    value = table[name][row].as_py()
    if name.startswith("ts_"):
        return format_time(value)
    return value if isinstance(value, int | float | bool | None) else _plain(str(value))


def _plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text

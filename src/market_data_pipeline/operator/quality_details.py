"""Why `quality` rejected rows, in words: column by column, not row by row."""

from __future__ import annotations

__all__ = ("details_of", "reasons_of")

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from market_data_pipeline.arrow_text import column_text
from market_data_pipeline.batch import Batch
from market_data_pipeline.operator.quality_checks import sides_of, size_of
from market_data_pipeline.records import UNDEFINED, Flaw

_Int64s = npt.NDArray[np.int64]

_pc: Any = compute  # its functions are made at run time, unseen by type checkers
_BITS: Final = np.array([int(flaw) for flaw in Flaw])


def reasons_of(flaws: _Int64s) -> pa.Array:
    """Return the name of each flaw, a string array.

    Args:
        flaws: (n,) one bit each.
    """
    names = pa.array([str(flaw.name).lower() for flaw in Flaw], pa.string())
    return names.take(pa.array(np.searchsorted(_BITS, flaws)))


def details_of(batch: Batch, flaws: _Int64s, notes: _Int64s) -> pa.Array:
    """Return what was found of each row, a string array.

    Args:
        batch: The rows.
        flaws: (n,) the flaw to tell of each, one bit.
        notes: (n,) what the row was held against, where the check remembers something.
    """
    texts, places = [], []
    for flaw in Flaw:
        rows = np.flatnonzero(flaws == int(flaw))
        if len(rows):
            texts.append(_text(flaw, batch, rows, notes[rows]))
            places.append(rows)
    order = np.argsort(np.concatenate(places))
    return pa.concat_arrays(texts).take(pa.array(order))


def _text(flaw: Flaw, batch: Batch, rows: _Int64s, notes: _Int64s) -> pa.Array:
    sides = sides_of(batch.schema)
    if flaw is Flaw.CROSSED:
        return _joined(
            "bid ", _number(batch, sides[0], rows), " above ask ", _number(batch, sides[1], rows)
        )
    if flaw is Flaw.LOCKED:
        return _joined("bid and ask ", _number(batch, sides[0], rows))
    if flaw is Flaw.ONE_SIDED:
        missing = [batch[name][rows] == UNDEFINED for name in sides]
        words = pa.array(["no bid", "no ask", "neither bid nor ask"], pa.string())
        return words.take(pa.array(np.where(missing[0], np.where(missing[1], 2, 0), 1)))
    if flaw is Flaw.ZERO_SIZE:
        names = [name for name in map(size_of, sides) if name in batch.schema]
        parts: list[Any] = []
        for name in names:
            parts += [f"{name} " if not parts else f", {name} ", _number(batch, name, rows)]
        return _joined(*parts)
    if flaw is Flaw.CLOCK_SKEW:
        return _joined("received ", _time(batch["ts_recv"][rows]))
    if flaw is Flaw.OUT_OF_SEQUENCE:
        return _joined("came after ", _time(notes))
    if flaw is Flaw.STALE:
        return _joined("unchanged since ", _time(notes))
    what = "last price " if flaw is Flaw.PRICE_BAND else "median "
    return _joined(what, _fixed(notes, batch.schema[sides[0]].scale))


def _joined(*parts: object) -> pa.Array:
    return _pc.binary_join_element_wise(
        *parts, "", null_handling="replace", null_replacement="none"
    )


def _number(batch: Batch, name: str, rows: _Int64s) -> pa.Array:
    return _fixed(batch[name][rows], batch.schema[name].scale)


def _fixed(values: _Int64s, scale: int) -> pa.Array:
    words = np.empty((len(values), 2), np.int64)
    words[:, 0], words[:, 1] = values, values >> 63
    buffers = [None, pa.py_buffer(words)]
    text = column_text(pa.Array.from_buffers(pa.decimal128(38, scale), len(values), buffers))
    return _pc.if_else(pa.array(values != UNDEFINED), text, None)


def _time(values: _Int64s) -> pa.Array:
    return column_text(pa.array(np.ascontiguousarray(values)).view(pa.timestamp("ns", "UTC")))

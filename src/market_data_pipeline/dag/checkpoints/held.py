"""Rows that a fan-in has read ahead, as an Arrow file, and back."""

from __future__ import annotations

__all__ = ("Held", "read_held", "write_held")

import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline import wire
from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.checkpoints.arrow_files import write_arrow
from market_data_pipeline.dag.checkpoints.files import HashedFile
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.symbols import SymbolTable

Held: TypeAlias = Mapping[str, Sequence[tuple[Batch, npt.NDArray[np.int64]]]]
"""By input, the batches that are held and the watermark after each of their rows."""

_META: Final = b"mdp.held"


def write_held(file: HashedFile, held: Held) -> None:
    """Write the rows that are held; there is at least one batch."""
    parts = [part for parts in held.values() for part in parts]
    marks = np.concatenate([marks for _, marks in parts])
    whole = Batch.concat([Batch(b.schema, b.columns, b.symbols) for b, _ in parts])
    rows = wire.to_arrow(whole.with_progress(Progress(TIME_MIN, 0, TIME_MIN, marks)))
    counts = {name: [len(batch) for batch, _ in parts] for name, parts in held.items()}
    told = {**rows.schema.metadata, _META: json.dumps(counts).encode()}
    write_arrow(file, rows.replace_schema_metadata(told))


def read_held(rows: pa.RecordBatch, symbols: SymbolTable) -> Held:
    """Return the rows that were held, over the symbol table of the run.

    Raises:
        CheckpointError: If they are none.
    """
    try:
        whole = wire.from_arrow(rows, symbols)
        marks = _marks(whole)
        bare = Batch(whole.schema, whole.columns, symbols)
        held: dict[str, list[tuple[Batch, npt.NDArray[np.int64]]]] = {}
        at = 0
        for name, counts in json.loads(rows.schema.metadata[_META]).items():
            held[name] = []
            for count in counts:
                held[name].append((bare.slice(at, at + count), marks[at : at + count]))
                at += count
    except (KeyError, TypeError, ValueError, pa.ArrowException) as err:
        msg = f"the file holds no rows of a fan-in: {err}"
        raise CheckpointError(msg) from err
    return held


def _marks(rows: Batch) -> npt.NDArray[np.int64]:
    marks = None if rows.progress is None else rows.progress.column
    if marks is None:
        msg = "they have no watermarks"
        raise ValueError(msg)
    return marks

"""The state of an operator as an Arrow file, and back."""

from __future__ import annotations

__all__ = ("copied", "read_snapshot", "write_snapshot")

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.dag.checkpoints.arrow_files import write_arrow
from market_data_pipeline.dag.checkpoints.files import HashedFile
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import CheckpointError, SnapshotError

_Array: TypeAlias = npt.NDArray[Any]

_GROUPS: Final = "key_group"
_META: Final = b"mdp.snapshot"


def copied(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot whose arrays nobody else writes to."""
    keyed = {name: np.array(array) for name, array in snapshot.keyed.items()}
    return Snapshot(np.array(snapshot.key_groups, np.int16), keyed, dict(snapshot.scalars))


def write_snapshot(file: HashedFile, snapshot: Snapshot) -> None:
    """Write a snapshot.

    Raises:
        SnapshotError: If an array is of a type that no file holds.
    """
    rows = len(snapshot.key_groups)
    names = [_GROUPS]
    arrays = [pa.array(snapshot.key_groups, pa.int16())]
    described = []
    for place, (name, array) in enumerate(snapshot.keyed.items()):
        if len(array) != rows:
            msg = f"the state has {rows} key groups and {len(array)} of `{name}`"
            raise SnapshotError(msg)
        names.append(f"array_{place}")
        arrays.append(_to_arrow(name, array))
        described.append({"name": name, "dtype": _dtype(array), "shape": array.shape[1:]})
    scalars = {name: int(value) for name, value in snapshot.scalars.items()}
    meta = json.dumps({"arrays": described, "scalars": scalars})
    batch = pa.record_batch(arrays, names=names)
    write_arrow(file, batch.replace_schema_metadata({_META: meta.encode()}))


def read_snapshot(batch: pa.RecordBatch) -> Snapshot:
    """Return the snapshot that was written. Its arrays are the file's, and are only read.

    Raises:
        CheckpointError: If it is none.
    """
    try:
        meta = json.loads((batch.schema.metadata or {})[_META])
        keyed: dict[str, _Array] = {}
        for place, told in enumerate(meta["arrays"]):
            keyed[told["name"]] = _to_numpy(batch.column(f"array_{place}"), told)
        scalars = {str(name): int(value) for name, value in meta["scalars"].items()}
        groups = _to_numpy(batch.column(_GROUPS), {"dtype": "<i2", "shape": ()})
    except (KeyError, TypeError, ValueError, pa.ArrowException) as err:
        msg = f"the file holds no state: {err}"
        raise CheckpointError(msg) from err
    return Snapshot(groups, keyed, scalars)


def _dtype(array: _Array) -> str:
    return "O" if array.dtype.kind == "O" else array.dtype.str


def _to_arrow(name: str, array: _Array) -> pa.Array:
    kind = array.dtype.kind
    flat = np.ascontiguousarray(array).reshape(-1)
    make = _MAKERS.get(kind)
    if make is None:
        msg = f"`{name}` of the state is of type {array.dtype}, which cannot be saved"
        raise SnapshotError(msg)
    try:
        values = make(flat)
    except (pa.ArrowException, UnicodeEncodeError) as err:
        msg = f"`{name}` of the state cannot be saved: {err}"
        raise SnapshotError(msg) from err
    if array.ndim == 1:
        return values
    width = math.prod(array.shape[1:])
    if not width:
        return pa.nulls(len(array))
    return pa.FixedSizeListArray.from_arrays(values, width)


def _plain(flat: _Array) -> pa.Array:
    return pa.array(flat)


def _times(flat: _Array) -> pa.Array:
    return pa.array(flat.view(np.int64))


def _bytes(flat: _Array) -> pa.Array:
    # Arrow ends NumPy's texts at the first zero, and takes its time; their buffer has them all.
    width = flat.dtype.itemsize
    return pa.Array.from_buffers(pa.binary(width), len(flat), [None, pa.py_buffer(flat)])


_MAKERS: Final[Mapping[str, Callable[[_Array], pa.Array]]] = {
    "b": _plain,
    "i": _plain,
    "u": _plain,
    "f": _plain,
    "M": _times,
    "m": _times,
    "U": _bytes,
    "S": _bytes,
    "O": lambda flat: pa.array(flat.tolist()),
}


def _to_numpy(column: pa.Array, told: Mapping[str, Any]) -> _Array:
    rows, shape = len(column), tuple(told["shape"])
    dtype = np.dtype(told["dtype"])
    if shape:
        if not math.prod(shape):
            return np.empty((rows, *shape), dtype)
        column = column.flatten()
    if dtype.kind == "O":
        flat: _Array = np.empty(len(column), object)
        flat[:] = column.to_pylist()
    elif dtype.kind in "SU":
        start, width = column.offset, dtype.itemsize
        flat = np.frombuffer(column.buffers()[1], dtype, len(column), start * width)
    else:
        flat = column.to_numpy(zero_copy_only=False)
        flat = flat.view(dtype) if dtype.kind in "Mm" else flat.astype(dtype, copy=False)
    # Arrow's memory cannot be written to, and what is made anew is not to be either.
    flat.flags.writeable = False
    return flat.reshape(rows, *shape)

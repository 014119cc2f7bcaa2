"""One record batch, one Arrow file; nothing is read that was not checked before."""

from __future__ import annotations

__all__ = ("read_arrow", "write_arrow")

from pathlib import Path

import pyarrow as pa

from market_data_pipeline.dag.checkpoints.files import HashedFile
from market_data_pipeline.errors import CheckpointError


def write_arrow(file: HashedFile, batch: pa.RecordBatch) -> None:
    """Write a record batch as an Arrow file."""
    with pa.PythonFile(file, "w") as stream, pa.ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)


def read_arrow(path: Path) -> pa.RecordBatch:
    """Return the record batch of a file whose hash has been checked.

    Raises:
        CheckpointError: If it is no such file.
    """
    try:
        with pa.memory_map(str(path)) as stream:
            reader = pa.ipc.open_file(stream)
            if reader.num_record_batches != 1:
                msg = f"{reader.num_record_batches} record batches, expected 1"
                raise CheckpointError(msg, path=str(path))
            batch = reader.get_batch(0)
            odd = [f.name for f in batch.schema if isinstance(f.type, pa.BaseExtensionType)]
            if odd:
                msg = f"the column `{odd[0]}` is of a type that states do not have"
                raise CheckpointError(msg, path=str(path))
            batch.validate(full=True)
    except (pa.ArrowException, OSError) as err:
        msg = f"it is no Arrow file: {err}"
        raise CheckpointError(msg, path=str(path)) from err
    return batch

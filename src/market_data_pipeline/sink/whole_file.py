"""Opening an output that is one file, in a run with checkpoints or without."""

from __future__ import annotations

__all__ = ("open_file",)

from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.kept_epochs import KeptEpochs, MakeOutput
from market_data_pipeline.sink.publish import check_vacant
from market_data_pipeline.sink.writer import ThreadedWriter


async def open_file(
    path: str,
    context: NodeContext,
    make: MakeOutput,
    *,
    overwrite: bool,
) -> ThreadedWriter | EpochedWriter:
    """Open the output under a hidden name.

    Args:
        path: The output.
        context: The node's context.
        make: Makes the output under a hidden name.
        overwrite: Whether it may replace what others have written.

    Raises:
        OutputExistsError: If it exists and may not be replaced.
        OutputError: If it cannot be written.
    """
    if context.job is None:
        check_vacant(path, overwrite=overwrite)
        return ThreadedWriter(make(overwrite=overwrite), context)
    output = KeptEpochs(path, context.job, context.node, make, overwrite=overwrite)
    writer = EpochedWriter(output, context)
    await writer.begin(output.begin)
    return writer

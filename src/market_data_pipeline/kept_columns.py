"""Columns of a batch that a few rows were left out of, each copied only when it is read."""

from __future__ import annotations

__all__ = ("KeptColumns",)

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from market_data_pipeline.batch import Batch, Progress


class KeptColumns(Mapping[str, Any]):
    """The columns of a batch without some of its rows.

    Most operators read a few columns of many, and to copy them all takes longer than the
    operator. Who can pass over rows reads `whole` and copies none.

    Attributes:
        whole: The batch with all its rows.
        left_out: (k,) int32 rows of it that are not in these columns, rising.
    """

    __slots__ = ("_copied", "_kept", "_progress", "left_out", "whole")

    def __init__(
        self,
        whole: Batch,
        left_out: npt.NDArray[np.int32],
        kept: Callable[[Any], Any],
        progress: Progress | None,
    ) -> None:
        """Leave out rows.

        Args:
            whole: The batch.
            left_out: Rows of it, rising.
            kept: Copies the other rows of a column.
            progress: The watermark after each of the others, as it is in `whole`.
        """
        self.whole = whole
        self._progress = progress
        self.left_out = left_out
        self._kept = kept
        self._copied: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        """How many rows are left."""
        return len(self.whole) - len(self.left_out)

    @property
    def nbytes(self) -> int:
        """Bytes that the columns take, or will once they are read."""
        return self.whole.nbytes * self.rows // len(self.whole)

    def says_all_of(self, batch: Batch) -> bool:
        """Tell whether `whole` has the watermarks and the event times of a batch of these."""
        return batch.progress is self._progress and batch.schema is self.whole.schema

    def __getitem__(self, name: str) -> Any:
        column = self._copied.get(name)
        if column is None:
            column = self._copied[name] = self._kept(self.whole.columns[name])
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole.columns)

    def __len__(self) -> int:
        return len(self.whole.columns)

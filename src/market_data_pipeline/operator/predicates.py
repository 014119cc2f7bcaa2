"""Which rows of a batch pass: told by an expression, or by a function on rows or columns."""

from __future__ import annotations

__all__ = ("Mask", "RowCheck", "Unit", "checked_mask", "mask_maker")

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import RecordError
from market_data_pipeline.operator.expression import BoundExpression, Expression
from market_data_pipeline.operator.frames import frame_of_batch, polars
from market_data_pipeline.operator.rows import RowReader, explain
from market_data_pipeline.records import Schema

Unit = Literal["rows", "batches", "frames"]
"""What a function is given: a row, a `Batch`, or a Polars `DataFrame`."""

Mask = npt.NDArray[np.bool_]


class RowCheck:
    """Applies a function to the rows of batches, one by one.

    Attributes:
        seen: Rows of the batches before this one.
    """

    def __init__(self, fn: Callable[..., Any], node: str) -> None:
        self.fn = fn
        self.node = node
        self.seen = 0
        self._schema: Schema | None = None
        self._reader: RowReader | None = None

    def rows(self, batch: Batch) -> Any:
        """Return the rows of a batch."""
        if self._reader is None or batch.schema is not self._schema:
            self._reader, self._schema = RowReader(batch.schema, self.fn), batch.schema
        return self._reader.rows(batch)

    def place(self, batch: Batch, position: int) -> str:
        """Return where a row is, for messages."""
        number = self.seen + position + 1
        time = batch.schema.time
        when = f" ({time} {batch.times[position]})" if time else ""
        return f"`{self.node}`, row {number}{when}"

    def results(self, batch: Batch) -> list[Any]:
        """Return what the function returns for each row.

        An error of the function is passed on with a note that names the row.
        """
        results: list[Any] = []
        try:
            results.extend(map(self.fn, self.rows(batch)))
        except Exception as err:
            explain(err)
            err.add_note(f"raised for {self.place(batch, len(results))}")
            raise
        return results

    def mask(self, batch: Batch, results: Sequence[Any]) -> Mask:
        """Return the results of a condition.

        Raises:
            RecordError: If one is neither true nor false.
        """
        mask = np.array(results)
        if mask.dtype != np.bool_ or mask.shape != (len(batch),):
            position = next(
                i for i, result in enumerate(results) if not isinstance(result, bool | np.bool_)
            )
            found = results[position]
            msg = f"the function must return True or False, was {found!r:.80}"
            raise RecordError(msg, reason="type", place=self.place(batch, position))
        return mask


def mask_maker(
    where: Callable[..., Any] | Expression, unit: Unit, node: str
) -> Callable[[Batch], Mask]:
    """Return what tells for each row of a batch whether it passes."""
    if isinstance(where, Expression):
        return _ExpressionMask(where, node)
    if unit == "rows":
        check = RowCheck(where, node)

        def of_rows(batch: Batch) -> Mask:
            mask = check.mask(batch, check.results(batch))
            check.seen += len(batch)
            return mask

        return of_rows
    return lambda batch: checked_mask(where(argument_of(batch, unit)), batch, unit, node)


def argument_of(batch: Batch, unit: Unit) -> Any:
    """Return what a condition is given for a batch."""
    return batch if unit == "batches" else frame_of_batch(batch, position=False)


def checked_mask(result: Any, batch: Batch, unit: Unit, node: str) -> Mask:
    """Return a condition's result for a whole batch as a mask.

    Raises:
        RecordError: If it is not one truth value for each row.
    """
    if unit == "frames" and isinstance(result, polars().Expr):
        result = frame_of_batch(batch, position=False).select(result).to_series()
    mask = np.asarray(result.to_numpy() if hasattr(result, "to_numpy") else result)
    if mask.dtype != np.bool_ or mask.shape != (len(batch),):
        msg = (
            f"the function must return {len(batch)} truth values, one for each row, "
            f"was {mask.dtype} of shape {mask.shape}"
        )
        raise RecordError(msg, reason="type", place=f"`{node}`")
    return np.ascontiguousarray(mask)


class _ExpressionMask:
    def __init__(self, where: Expression, node: str) -> None:
        self._where = where
        self._node = node
        self._schema: Schema | None = None
        self._bound: BoundExpression | None = None

    def __call__(self, batch: Batch) -> Mask:
        if self._bound is None or batch.schema is not self._schema:
            self._bound = self._where.bind_condition(batch.schema, self._node)
            self._schema = batch.schema
        mask: Mask = np.ascontiguousarray(self._bound.evaluate(batch))
        return mask

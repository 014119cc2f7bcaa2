"""The columns of joined rows: those of the left, and those of the right under free names."""

from __future__ import annotations

__all__ = ("JoinedColumns", "joined_columns", "missing_value")

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema

_MISSING: Final[Mapping[Kind, Any]] = {
    Kind.TIME: UNDEFINED,
    Kind.FIXED: UNDEFINED,
    Kind.INT: UNDEFINED,
    Kind.CHAR: 0,
    Kind.FLOAT: float("nan"),
}


@dataclass(frozen=True, slots=True)
class JoinedColumns:
    """What joined rows look like.

    Attributes:
        schema: Their columns.
        taken: The columns taken from the right: the name there, and the field here.
    """

    schema: Schema
    taken: tuple[tuple[str, Field], ...]


def joined_columns(
    left: Schema,
    right: Schema,
    node: str,
    *,
    keys: Sequence[str],
    columns: Sequence[str] | None,
    suffix: str,
    added: Sequence[Field] = (),
) -> JoinedColumns:
    """Return the columns of joined rows.

    Args:
        left: The columns of the left rows; all of them stay.
        right: The columns of the right rows.
        node: Name of the join, for messages.
        keys: Columns that are equal on both sides, and need be there once only.
        columns: The columns to take from the right; None for all but the keys.
        suffix: What a column of the right is named besides if its name is taken.
        added: Columns of neither side, behind them.

    Raises:
        SchemaError: If a column is missing, or a name is taken with the suffix too.
    """
    names = [n for n in right.names if n not in keys] if columns is None else list(columns)
    check_columns(right, names, node)
    taken = []
    used = {*left.names, *(field.name for field in added)}
    for name in names:
        own = name + suffix if name in used else name
        if own in used:
            msg = f"`{node}` would have two columns `{own}`; give another `suffix`"
            raise SchemaError(msg, node=node)
        used.add(own)
        taken.append((name, _nullable(right[name], own)))
    schema = replace(left, fields=(*left.fields, *(f for _, f in taken), *added))
    return JoinedColumns(schema, tuple(taken))


def _nullable(field: Field, name: str) -> Field:
    """Return a field that can say "none": a boolean cannot, and a symbol has no such code."""
    if field.kind is Kind.BOOL:
        return Field(name, Kind.ARROW, arrow=pa.bool_())
    if field.kind is Kind.SYMBOL:
        return Field(name, Kind.ARROW, arrow=pa.string())
    return replace(field, name=name)


def missing_value(field: Field) -> Any:
    """Return what stands for "none" in a column that is no Arrow array."""
    return _MISSING[field.kind]

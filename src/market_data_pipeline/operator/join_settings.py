"""What the settings of all joins by time have in common."""

from __future__ import annotations

__all__ = ("Names", "OptionalNames", "joined_sides", "read_columns")

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.operator.join_columns import JoinedColumns, joined_columns
from market_data_pipeline.records import Field, Schema


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names: TypeAlias = Annotated[list[str], BeforeValidator(_listed)]
"""Names of columns; one may stand alone."""
OptionalNames: TypeAlias = Annotated[list[str] | None, BeforeValidator(_listed)]
"""The same, or null."""


def joined_sides(
    left: Schema,
    right: Schema,
    node: str,
    *,
    by: Sequence[str],
    times: Sequence[str],
    columns: Sequence[str] | None,
    suffix: str,
    added: Sequence[Field] = (),
) -> JoinedColumns:
    """Return the columns of joined rows, after checking that the two sides fit.

    Args:
        left: The columns of the left rows.
        right: The columns of the right rows.
        node: Name of the join, for messages.
        by: Columns that are equal on both sides.
        times: The column of each side that decides.
        columns: The columns to take from the right; None for all but the keys.
        suffix: What a column of the right is named besides if its name is taken.
        added: Columns of neither side.

    Raises:
        SchemaError: If a column is missing, or the two sides do not fit.
    """
    from market_data_pipeline.operator.join_keys import check_keys

    for schema, time in zip((left, right), times, strict=True):
        if not schema.time:
            msg = f"`{node}` needs rows with an event time; {schema.name} rows have none"
            raise SchemaError(msg, node=node)
        check_columns(schema, [time, *by], node)
    check_keys(left, right, by, node)
    return joined_columns(left, right, node, keys=by, columns=columns, suffix=suffix, added=added)


def read_columns(
    wanted: frozenset[str] | None,
    needed: frozenset[str],
    columns: Sequence[str] | None,
    suffix: str,
) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """Return the columns to read of each side.

    Args:
        wanted: The columns of joined rows that somebody reads; None for all.
        needed: The columns that the join reads of both sides.
        columns: The columns to take from the right; None for all.
        suffix: What a column of the right is named besides if its name is taken.
    """
    if wanted is None:
        return None, None if columns is None else needed.union(columns)
    # Which columns of the right have a suffix follows from the names on the left, so what
    # is wanted under either name is read of both.
    both = needed | wanted | {name.removesuffix(suffix) for name in wanted}
    return (both, both) if columns is None else (both.union(columns), needed.union(columns))

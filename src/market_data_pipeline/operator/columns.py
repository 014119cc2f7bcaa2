"""Look up columns, with an error that helps."""

from __future__ import annotations

__all__ = ("check_columns",)

from collections.abc import Iterable

from market_data_pipeline.errors import SchemaError, nearest
from market_data_pipeline.records import Schema


def check_columns(schema: Schema, names: Iterable[str], node: str) -> None:
    """Do nothing if the schema has all columns.

    Raises:
        SchemaError: If one is missing; names it, the nearest and those that are there.
    """
    for name in names:
        if name not in schema:
            have = ", ".join(f"`{known}`" for known in schema.names)
            hint = nearest(name, schema.names)
            msg = f"`{node}` needs the column `{name}`{hint} (columns: {have})"
            raise SchemaError(msg, node=node)

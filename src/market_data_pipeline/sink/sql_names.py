"""Names and text in SQL, as DuckDB and SQLite quote them."""

from __future__ import annotations

__all__ = ("quoted_name", "quoted_text")

from typing import Final

from market_data_pipeline.errors import ConfigError

_NAME_BYTES_MAX: Final = 255


def quoted_name(name: str) -> str:
    """Return a name as an SQL identifier, whatever is in it.

    Raises:
        ConfigError: If no identifier can be made of it.
    """
    if not name or "\0" in name or len(name.encode()) > _NAME_BYTES_MAX:
        msg = (
            f"a table name must have 1 to {_NAME_BYTES_MAX} bytes, none of them zero, was {name!r}"
        )
        raise ConfigError(msg, parameter="table")
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"

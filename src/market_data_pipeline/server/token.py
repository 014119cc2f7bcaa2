"""Where the token of a server comes from: a file or the environment, never the command line."""

from __future__ import annotations

__all__ = ("TOKEN_VARIABLE", "token_of")

import os
from pathlib import Path
from typing import Final

from market_data_pipeline.errors import ConfigError

TOKEN_VARIABLE: Final = "MDP_SERVER_TOKEN"  # noqa: S105 - its name
"""Environment variable with the token, where no other is named."""

_TOKEN_MAX: Final = 4_096


def token_of(variable: str | None = None, file: str | Path | None = None) -> str | None:
    """Return the token of the server, None if there is none.

    Args:
        variable: Environment variable that holds it; `MDP_SERVER_TOKEN` if it is set.
        file: File that holds it, on one line.

    Raises:
        ConfigError: If both are given, or what is named holds none.
    """
    if variable is not None and file is not None:
        msg = "name an environment variable or a file for the token, not both"
        raise ConfigError(msg, parameter="token")
    if file is not None:
        try:
            with Path(file).open(encoding="ascii") as stream:
                token = stream.read(_TOKEN_MAX).strip()
        except (OSError, ValueError) as err:
            reason = err.strerror if isinstance(err, OSError) else "it is no ASCII text"
            msg = f"the token file `{file}` cannot be read: {reason}"
            raise ConfigError(msg, parameter="token") from None
        if not token:
            msg = f"the token file `{file}` is empty"
            raise ConfigError(msg, parameter="token")
        return token
    token = os.environ.get(variable or TOKEN_VARIABLE, "").strip()
    if not token and variable is not None:
        msg = f"the environment variable `{variable}` holds no token"
        raise ConfigError(msg, parameter="token")
    return token or None

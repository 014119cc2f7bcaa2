"""Options of the commands that serve or ask a server."""

from __future__ import annotations

__all__ = ("DEFAULT_PORT", "token_options")

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

DEFAULT_PORT: Final = 8083


def token_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the two options that say where the token is; a token itself is no argument."""
    by_name = click.option(
        "--token-env",
        metavar="NAME",
        help="Environment variable with the token.  [default: MDP_SERVER_TOKEN, if set]",
    )
    by_file = click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        help="File with the token.",
    )
    return by_name(by_file(command))

"""The HTTP application for servers such as `uvicorn market_data_pipeline.runners.api:app`.

It has a runtime of its own, takes its token from `MDP_SERVER_TOKEN`, and without one lets
in this machine only. Names besides addresses under which it is reached stand in
`MDP_SERVER_HOSTS`. `mdp serve` does the same and bounds slow clients besides.
"""

from __future__ import annotations

__all__ = ("HOSTS_VARIABLE", "app", "main")

import asyncio
import os
from typing import TYPE_CHECKING, Final

from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings
from market_data_pipeline.server.app import create_app
from market_data_pipeline.server.process import serve_until_stopped
from market_data_pipeline.server.settings import DEFAULT_PORT, ServerSettings
from market_data_pipeline.server.token import token_of

HOSTS_VARIABLE: Final = "MDP_SERVER_HOSTS"
"""Environment variable with the names under which clients reach it, with commas between."""

if TYPE_CHECKING:
    from fastapi import FastAPI

    app: FastAPI


def __getattr__(name: str) -> FastAPI:
    # Made when it is asked for, as it needs an extra.
    if name != "app":
        msg = f"module `{__name__}` has no attribute `{name}`"
        raise AttributeError(msg)
    token = token_of()
    # Where it listens is up to the server it is given to; with a token that may be anywhere.
    host = "127.0.0.1" if token is None else "0.0.0.0"  # noqa: S104 - nothing is bound here
    settings = ServerSettings(host=host, token=token, hosts=_hosts())
    runtime = PipelineRuntime(PipelineRuntimeSettings.load())
    made = create_app(runtime, settings, owns_runtime=True)
    globals()["app"] = made
    return made


def _hosts() -> tuple[str, ...]:
    given = os.environ.get(HOSTS_VARIABLE, "").split(",")
    return tuple(name.strip() for name in given if name.strip())


def main(host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        host: Address to listen on; any but a loopback address needs a token.
        port: Port to listen on.

    Raises:
        ConfigError: If it cannot listen there.
    """
    settings = ServerSettings(host=host, port=port, token=token_of(), hosts=_hosts())
    asyncio.run(serve_until_stopped(settings))


if __name__ == "__main__":
    main()

"""A server for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from market_data_pipeline.server.settings import ServerSettings
from support.live_server import TOKEN, LiveServer, live_server


@pytest.fixture(scope="module")
def guarded() -> Iterator[LiveServer]:
    """A server that wants a token, with short patience."""
    settings = ServerSettings(
        port=0,
        token=TOKEN,
        body_bytes=10_000,
        connections=20,
        header_timeout_s=0.5,
        body_timeout_s=0.5,
        hosts=("mdp.example",),
    )
    with live_server(settings) as server:
        yield server


@pytest.fixture(scope="module")
def open_server() -> Iterator[LiveServer]:
    """A server as it is started on a desk: this machine only, no token."""
    with live_server(ServerSettings(port=0, every_s=0.05)) as server:
        yield server

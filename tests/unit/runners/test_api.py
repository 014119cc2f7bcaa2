"""The application that a server of one's own can be given."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest

import market_data_pipeline.runners.api as api_module
from support.live_server import TOKEN


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as it is at its first import, with a token in the environment."""
    monkeypatch.setenv("MDP_SERVER_TOKEN", TOKEN)
    monkeypatch.setenv("MDP_SERVER_HOSTS", "mdp.example, other.example")
    module: Any = api_module
    names = module.__dict__
    names.pop("app", None)
    yield importlib.reload(api_module)
    names.pop("app", None)


async def asked(
    api: ModuleType, path: str, host: str = "localhost", client: str = "127.0.0.1"
) -> httpx.Response:
    transport = httpx.ASGITransport(api.app, client=(client, 1))
    headers = {"authorization": f"Bearer {TOKEN}", "host": host}
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as asking:
        return await asking.get(path, headers=headers)


def test_it_is_not_ready_before_it_is_started(api: ModuleType) -> None:
    """As in version 0.8: 503 before startup, then an empty list, and 503 once it is over."""

    async def life() -> list[int]:
        codes = [(await asked(api, "/metrics")).status_code]
        async with api.app.router.lifespan_context(api.app):
            codes += [(await asked(api, path)).status_code for path in ("/metrics", "/pipelines")]
        return [*codes, (await asked(api, "/pipelines")).status_code]

    assert asyncio.run(life()) == [503, 200, 200, 503]


@pytest.mark.parametrize(
    ("host", "status"),
    [("192.0.2.7:8083", 200), ("mdp.example", 200), ("other.example", 200), ("evil.example", 421)],
)
def test_with_a_token_it_is_reached_by_address_and_by_the_names_given(
    api: ModuleType, host: str, status: int
) -> None:
    """A server of one's own may listen anywhere once there is a token."""
    assert asyncio.run(asked(api, "/jobs", host, "198.51.100.9")).status_code == status


def test_without_a_token_others_are_refused(
    api: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever address a server of one's own listens on, it lets in this machine only."""
    monkeypatch.delenv("MDP_SERVER_TOKEN")
    api.__dict__.pop("app", None)
    assert asyncio.run(asked(api, "/jobs")).status_code == 200
    assert asyncio.run(asked(api, "/jobs", client="198.51.100.9")).status_code == 403


def test_app_is_made_once_and_nothing_else_is(api: ModuleType) -> None:
    """The name `app` is one application."""
    assert api.app is api.app
    with pytest.raises(AttributeError, match="apps"):
        api.apps  # noqa: B018

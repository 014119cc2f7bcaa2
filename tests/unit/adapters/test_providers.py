"""Providers by name: those of installed packages."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

import pytest

from market_data_pipeline.adapters.provider_source import ProviderSource
from market_data_pipeline.adapters.providers import provider_factory, provider_names
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError

CODE = """
from pydantic import BaseModel

nothing = 3

class Checked(BaseModel, extra="forbid"):
    account: int
    nested: dict[str, int] = {}

class Feed:
    def __init__(self, account):
        self.account = account
"""


def install(folder: Path, package: str, entries: str) -> None:
    """Put a package into a folder, with entry points."""
    (folder / f"{package}.py").write_text(CODE)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[market_data.providers]\n{entries}\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which packages can be installed."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_package_offers_a_provider_by_an_entry_point(folder: Path) -> None:
    """A callable that takes the settings; nothing is imported to list the names."""
    install(folder, "one_feed", "feed = one_feed:Feed")
    assert {"feed", "ibkr"} <= set(provider_names())
    assert provider_factory("feed", {"account": "t"})().account == "t"


def test_settings_may_stand_in_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline file need not hold what nobody may see."""
    install(folder, "env_feed", "env_feed = env_feed:Feed")
    source = ProviderSource("env_feed", ("A",), settings={"account": "${env:FEED_TOKEN}"})
    with pytest.raises(ConfigError, match="`FEED_TOKEN` is not set"):
        asyncio.run(source.open(NodeContext("feed")))
    monkeypatch.setenv("FEED_TOKEN", "hunter2")
    assert source._maker()().account == "hunter2"
    assert "hunter2" not in repr(source)


def test_settings_that_are_wrong_are_named_and_not_shown(folder: Path) -> None:
    """They may be secret, also in a setting that was misspelt; nor is there a cause that tells."""
    install(folder, "checked_feed", "checked = checked_feed:Checked")
    given = {"account": "hunter2", "pasword": "hunter2", "nested": {"key": "hunter2"}}
    with pytest.raises(ConfigError, match="`settings` of the provider `checked`: ") as caught:
        provider_factory("checked", given)()
    told = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in told
    for name in ("`account`: input should be", "`pasword`: extra inputs", "`nested.key`: "):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("absent_package:Feed", r"`bad` \(`absent_package:Feed`\) cannot be loaded"),
        ("bad_feed:Absent", "cannot be loaded"),
        ("bad_feed:nothing", "is nothing that can be called"),
    ],
)
def test_entry_point_that_leads_nowhere_is_told(entry: str, said: str, folder: Path) -> None:
    """With where it leads."""
    install(folder, "bad_feed", f"bad = {entry}")
    with pytest.raises(ConfigError, match=said):
        provider_factory("bad", {})


def test_name_of_two_packages_is_refused(folder: Path) -> None:
    """Which one was meant is not guessed; a built-in name cannot be taken over."""
    install(folder, "left_feed", "twice = left_feed:Feed\nibkr = left_feed:Feed")
    install(folder, "right_feed", "twice = right_feed:Feed")
    with pytest.raises(ConfigError, match="`twice` comes from two packages"):
        provider_factory("twice", {})
    made = provider_factory("ibkr", {})
    assert getattr(made, "func").__name__ == "make_ibkr_provider"  # noqa: B009 - a `partial`

"""A headless Chromium for tests of pages; skipped with the reason where there is none."""

from __future__ import annotations

__all__ = ("CHROMIUM", "Watched", "browser", "watched_page")

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.services import require

CHROMIUM: Final = os.environ.get("MDP_CHROMIUM") or next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    "/usr/bin/chromium",
)
_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Watched:
    """A page, and what went on in it that should not.

    Attributes:
        page: The page, of playwright.
        complaints: Errors and warnings of its console, and errors nobody caught.
        requests: Addresses it asked for.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[Any]:
    """Give a browser while the block runs."""
    require(Path(CHROMIUM).exists(), f"no Chromium at {CHROMIUM} (apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        require(None, "playwright is not installed (pip install playwright)")
        raise
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield started
        finally:
            started.close()


@contextmanager
def watched_page(started: Any, **options: Any) -> Iterator[Watched]:
    """Give a page of its own, with nothing of other pages in it.

    Args:
        started: The browser.
        **options: Of playwright's context, as `viewport`.
    """
    context = started.new_context(**options)
    try:
        watched = Watched(context.new_page())
        watched.page.set_default_timeout(20_000)

        def on_console(message: Any) -> None:
            if message.type in {"error", "warning"}:
                watched.complaints.append(message.text)

        watched.page.on("console", on_console)
        watched.page.on("pageerror", lambda err: watched.complaints.append(str(err)))
        watched.page.on("request", lambda request: watched.requests.append(request.url))
        yield watched
    finally:
        context.close()

"""The live page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from market_data_pipeline.flow import Dag
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.spec.loader import load_text
from support.browser import browser, watched_page
from support.live_server import TOKEN, LiveServer, live_server

FLOWING = """
name: flowing
nodes:
  ticks: {source: synthetic, rows: 100000000, rate: 20000, speed: 1.0, late: 0.01, late_by: 5s}
  clean: {operator: dedupe, from: ticks, key: [symbol, sequence]}
  bars: {operator: bars, from: clean, every: 1s}
  store: {sink: memory, from: bars}
  late: {sink: memory, from: bars.late}
"""
HOSTILE = "<img src=x onerror=alert(1)>"
PHONE = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with live_server(ServerSettings(port=0, every_s=0.1)) as started:
        yield started


def failing() -> Dag:
    def convert(_: Any) -> Any:
        raise LookupError(HOSTILE)

    dag = Dag("failing")
    ticks = dag.source(SyntheticSource(rows=1_000, symbols=3), name="ticks")
    ticks.map(convert, on="batches", name="convert").sink(MemorySink(), name="store")
    return dag


def start_flowing(server: LiveServer) -> None:
    server.call(lambda runtime: runtime.start(load_text(FLOWING)))


def rows_in(page: Any) -> int:
    """Return the rows that the table shows for the source."""
    cell = page.locator("#nodes tbody tr", has=page.get_by_role("rowheader", name="ticks"))
    title = cell.locator('td[data-label="in"]').get_attribute("title")
    return int((title or "0").replace(",", ""))


def test_page_moves_while_data_flows(chromium: Any, server: LiveServer) -> None:
    """The figures go up, the graph shows every node, and nothing is asked for elsewhere."""
    start_flowing(server)
    with watched_page(chromium) as watched:
        page = watched.page
        page.goto(server.url)
        page.locator("#link", has_text="live").wait_for()
        page.locator(".node", has_text="bars").wait_for()
        assert page.locator(".node").count() == 5
        first = rows_in(page)
        page.wait_for_function(
            "before => +document.querySelector('#nodes td[data-label=in]')"
            ".title.replaceAll(',', '') > before + 2000",
            arg=first,
        )
        page.locator(".flow[data-speed]").first.wait_for(state="attached")
        page.locator(".node .note", has_text="late").first.wait_for()
        page.locator("#chart .in-line").wait_for(state="attached")
        assert all(address.startswith(server.url) for address in watched.requests)
        assert watched.complaints == []


def test_page_shows_the_failed_node_and_its_message_as_text(
    chromium: Any, server: LiveServer
) -> None:
    """A failure stands out, with its node; a message cannot become a part of the page."""
    server.call(lambda runtime: runtime.start(failing()))
    with watched_page(chromium) as watched:
        page = watched.page
        page.goto(server.url)
        page.locator('.node[data-state="failed"]', has_text="convert").wait_for()
        alert = page.get_by_role("alert").filter(has_text="convert failed")
        alert.wait_for()
        assert HOSTILE in alert.inner_text()
        assert page.locator("main img").count() == 0
        assert re.search("failed", page.title())
        assert watched.complaints == []


def test_page_survives_the_restart_of_the_server(chromium: Any) -> None:
    """It says that it lost the server, and goes on by itself when there is one again."""
    settings = ServerSettings(port=0, every_s=0.1)
    with ExitStack() as pages:
        watched = pages.enter_context(watched_page(chromium))
        page = watched.page
        with live_server(settings) as first:
            start_flowing(first)
            page.goto(first.url)
            page.locator("#link", has_text="live").wait_for()
            page.locator(".node", has_text="bars").wait_for()
            port = first.port
        page.locator("#link", has_text="reconnecting").wait_for()
        with live_server(replace(settings, port=port)) as second:
            second.call(lambda runtime: runtime.start(load_text(FLOWING), key="after"))
            page.locator("#link", has_text="live").wait_for()
            page.locator("#name", has_text="after").wait_for()


@pytest.mark.parametrize(("wide", "scheme"), [(375, "light"), (375, "dark"), (320, "light")])
def test_page_fits_a_phone(chromium: Any, server: LiveServer, wide: int, scheme: str) -> None:
    """Nothing makes the page scroll sideways at this many pixels, nor a long name."""
    start_flowing(server)
    long = "x" * 120
    server.call(lambda runtime: runtime.start(load_text(FLOWING), key=long))
    phone = {**PHONE, "viewport": {"width": wide, "height": 812}}
    with watched_page(chromium, color_scheme=scheme, **phone) as watched:
        page = watched.page
        for key in ("flowing", long):
            page.goto(f"{server.url}/#{key}")
            page.locator(".node").first.wait_for()
            page.locator(".node").first.tap()
            page.locator("#detail dt").first.wait_for()
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= wide
            for box in page.locator("main button:visible").all():
                assert box.bounding_box()["height"] >= 40
        assert watched.complaints == []


def test_page_stops_and_starts_a_pipeline(chromium: Any, server: LiveServer) -> None:
    """Stopping asks back once; what was stopped can be started again."""
    start_flowing(server)
    with watched_page(chromium) as watched:
        page = watched.page
        page.goto(server.url)
        page.locator("#state", has_text="running").wait_for()
        page.get_by_role("button", name="Stop", exact=True).click()
        assert server.call(_state) == "running"
        page.get_by_role("button", name="Really stop?").click()
        page.locator("#state", has_text="stopped").wait_for()
        page.get_by_role("button", name="Start again").click()
        page.locator("#state", has_text="running").wait_for()
        assert server.call(_state) == "running"


async def _state(runtime: Any) -> str:
    state: str = runtime.status("flowing").state
    return state


def test_page_slows_a_source_down(chromium: Any, server: LiveServer) -> None:
    """A source with a provider has a slider; at 0 it is paused, and says so."""
    text = FLOWING.replace("speed: 1.0", "speed: 1.0, provider: lab")
    server.call(lambda runtime: runtime.start(load_text(text)))
    with watched_page(chromium) as watched:
        page = watched.page
        page.goto(server.url)
        page.locator("#state", has_text="running").wait_for()
        page.locator(".node", has_text="ticks").click()
        page.locator("#scale-input").fill("0")
        page.locator(".node .note", has_text="paused").wait_for()
        page.locator("#scale-shown", has_text="paused").wait_for()
        page.locator("#scale-input").fill("50")
        page.locator(".node .note", has_text="at 50 %").wait_for()
        page.locator(".node", has_text="bars").click()
        page.locator("#scale").wait_for(state="hidden")
        assert watched.complaints == []


def test_page_asks_for_the_token_and_keeps_none(chromium: Any) -> None:
    """With a token the page shows nothing before it is given, and stores nothing of it."""
    with (
        live_server(ServerSettings(port=0, token=TOKEN, every_s=0.1)) as server,
        watched_page(chromium) as watched,
    ):
        start_flowing(server)
        page = watched.page
        page.goto(server.url)
        page.get_by_label("Token", exact=True).fill("wrong-token")
        page.get_by_role("button", name="Open").click()
        page.locator("#wrong", has_text="not the token").wait_for()
        page.get_by_label("Token", exact=True).fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        page.locator("#link", has_text="live").wait_for()
        stored = page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
        assert TOKEN not in stored
        assert page.get_by_label("Token", exact=True).input_value() == ""


def test_page_can_be_used_by_keyboard(chromium: Any, server: LiveServer) -> None:
    """Every node is a button with a name that says its figures; Enter shows its details."""
    start_flowing(server)
    with watched_page(chromium) as watched:
        page = watched.page
        page.goto(server.url)
        node = page.get_by_role("button", name=re.compile("^bars, operator bars, running, "))
        node.focus()
        page.keyboard.press("Enter")
        page.locator("#detail h4", has_text="bars").wait_for()
        page.wait_for_timeout(500)
        assert page.evaluate("document.activeElement.dataset.node") == "bars"
        assert page.locator("main, nav, header, [role=status], table").count() >= 5

"""Make the picture of the live page that the docs show.

    python docs/live_page.py              writes docs/images/live-page.png
    python docs/live_page.py --serve      serves the same pipelines until Ctrl-C

It needs Chromium (`/usr/bin/chromium`, or where `MDP_CHROMIUM` says) and playwright.
"""

from __future__ import annotations

__all__ = ("main", "shown_runtime")

import asyncio
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import market_data_pipeline as mdp
from market_data_pipeline.orchestration import PipelineRuntime
from market_data_pipeline.server.app import create_app
from market_data_pipeline.server.listening import bound_socket, serve, served_url
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.spec.loader import load_text

_IMAGE: Final = Path(__file__).parent / "images" / "live-page.png"
_CHROMIUM: Final = os.environ.get("MDP_CHROMIUM", "/usr/bin/chromium")
_SETTLE_S: Final = 45.0
_EQUITIES: Final = """
name: equities
nodes:
  trades: {source: synthetic, rows: 1000000000, rate: 180000, speed: 1.0, symbols: 200,
           late: 0.002, late_by: 5s, disorder: 0.02, duplicates: 0.01}
  quotes: {source: synthetic, kind: quotes, rows: 1000000000, rate: 320000, speed: 1.0,
           symbols: 200, seed: 2}
  clean: {operator: dedupe, from: trades, key: [symbol, sequence]}
  priced: {operator: trades_with_quotes, from: {trades: clean, quotes: quotes}}
  bars: {operator: bars, from: clean, every: 1s}
  checked: {operator: quality, from: priced, price_band: {percent: 0.2}}
  store: {sink: memory, from: bars}
  late: {sink: memory, from: bars.late}
  tape: {sink: memory, from: checked}
"""
_CRYPTO: Final = """
name: crypto
nodes:
  ticks: {source: synthetic, rows: 1000000000, rate: 9000, speed: 1.0, symbols: 20,
          seed: 3, provider: exchange}
  bars: {operator: bars, from: ticks, every: 1s}
  store: {sink: memory, from: bars}
"""


def _broken() -> mdp.Dag:
    def convert(_: Any) -> Any:
        msg = "no exchange rate of JPY for 2024-01-02"
        raise LookupError(msg)

    dag = mdp.Dag("fx-rates")
    ticks = dag.source(mdp.SyntheticSource(rows=100_000, symbols=3), name="ticks")
    ticks.map(convert, on="batches", name="convert").sink(mdp.MemorySink(), name="store")
    return dag


@asynccontextmanager
async def shown_runtime(port: int = 0) -> AsyncIterator[str]:
    """Serve the pipelines of the picture; give the address."""
    settings = ServerSettings(port=port)
    async with PipelineRuntime() as runtime:
        listening = bound_socket(settings)
        async with serve(create_app(runtime, settings), settings, listening):
            for text in (_EQUITIES, _CRYPTO):
                await runtime.start(load_text(text))
            await runtime.start(_broken())
            yield served_url(settings, listening)
        for status in runtime.list():
            await runtime.stop(status.key, drain=False)


async def _serve() -> None:
    async with shown_runtime(8083) as url:
        print(url)
        await asyncio.Event().wait()


async def _picture(path: Path) -> None:
    """Put a desktop in the dark and a phone in the light on one picture."""
    from playwright.async_api import async_playwright

    async with shown_runtime() as url, async_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=flags)
        looks = {
            "desktop": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
            "phone": {"viewport": {"width": 390, "height": 860}, "color_scheme": "light"},
        }
        pages = {}
        for name, look in looks.items():
            page = await (await browser.new_context(**look)).new_page()
            await page.goto(f"{url}/#equities")
            pages[name] = page
        await asyncio.sleep(_SETTLE_S)
        shots = {name: await page.screenshot() for name, page in pages.items()}
        images = "".join(
            f'<img alt="{name}" src="data:image/png;base64,{b64encode(shot).decode()}">'
            for name, shot in shots.items()
        )
        sheet = await browser.new_page(viewport={"width": 1280 + 390 + 24, "height": 860})
        await sheet.set_content(
            "<style>body{margin:0;display:flex;gap:24px}img{border-radius:10px}</style>" + images
        )
        await sheet.screenshot(path=path, omit_background=True)
        await browser.close()


def main(arguments: list[str]) -> int:
    """Make the picture, or serve."""
    if arguments == ["--serve"]:
        asyncio.run(_serve())
    elif arguments:
        print("usage: python docs/live_page.py [--serve]", file=sys.stderr)
        return 2
    else:
        asyncio.run(_picture(_IMAGE))
        print(_IMAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`mdp top`: the figures of a server in a terminal."""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path
from typing import Any

import click

from market_data_pipeline.cli.output import print_json
from market_data_pipeline.cli.server_options import DEFAULT_PORT, token_options

_EPILOG = """\b
Exit codes:
  0    fine, or left with Ctrl-C
  1    nothing answers, or the token is wrong

\b
Examples:
  mdp top
  mdp top http://127.0.0.1:9000 --once
  mdp top https://mdp.example.com --token-file token.txt --json
"""


@click.command(epilog=_EPILOG, short_help="Show what the pipelines of a server are doing.")
@click.argument("url", default=f"http://127.0.0.1:{DEFAULT_PORT}")
@token_options
@click.option("--once", is_flag=True, help="Show it once and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, once.")
@click.option(
    "--every",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
def command(
    url: str,
    token_env: str | None,
    token_file: Path | None,
    once: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    every: float,
) -> None:
    """Show rates, lag, queues and failures of the pipelines that run at URL."""
    from market_data_pipeline.cli.top_client import TopClient
    from market_data_pipeline.server.token import token_of

    client = TopClient(url, token_of(token_env, token_file))
    if as_json:
        print_json(client.figures())
        return
    _show(client, None if once else every)


def _show(client: Any, every: float | None) -> None:
    import threading

    from rich.console import Console
    from rich.live import Live

    from market_data_pipeline.cli.top_view import TopView

    console, view = Console(), TopView()
    if every is None:
        console.print(view.shown(client.figures(), console.width))
        return
    first = view.shown(client.figures(), console.width)
    pause = threading.Event()
    with Live(first, console=console, screen=console.is_terminal, auto_refresh=False) as display:
        try:
            while not pause.wait(every):
                display.update(view.shown(client.figures(), console.width), refresh=True)
        except KeyboardInterrupt:
            return

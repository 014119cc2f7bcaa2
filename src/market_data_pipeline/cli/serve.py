"""`mdp serve`: many pipelines in one process, with an HTTP API and a live page."""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path

import click

from market_data_pipeline.cli.server_options import DEFAULT_PORT, token_options

_EPILOG = """\b
Exit codes:
  0    it was told to stop, and what was read went through
  2    it cannot listen, or a pipeline cannot run; nothing was run
  130  interrupted twice: it stopped at once

\b
It listens on 127.0.0.1 and lets in everyone on this machine. On another address it wants a
token, which clients bring as `Authorization: Bearer TOKEN`, and a browser is asked for.

\b
Examples:
  mdp serve pipeline.yaml
  mdp serve --data-root data/ --port 9000
  MDP_MAX_CONCURRENT_PIPELINES=50 mdp serve *.yaml
  MDP_SERVER_TOKEN=... mdp serve *.yaml --host 0.0.0.0 --allow-host mdp.example.com
"""


@click.command(epilog=_EPILOG, short_help="Run pipelines with an HTTP API and a live page.")
@click.argument("pipelines", nargs=-1, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port; 0 for a free one.",
)
@token_options
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which clients reach it; others are refused.",
)
@click.option(
    "--data-root",
    "data_roots",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder that pipelines given over HTTP may read and write; without one, none.",
)
@click.option(
    "--allow-target",
    "targets",
    multiple=True,
    metavar="HOST:PORT",
    help="A database or broker that pipelines given over HTTP may name.",
)
@click.option(
    "--settings",
    "runtime",
    type=click.Path(path_type=Path),
    help="Settings of the runtime, in YAML or JSON; those of the environment win.",
)
@click.option(
    "--tls-cert", type=click.Path(path_type=Path, exists=True), help="Certificate, for HTTPS."
)
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="Its key.")
def command(
    pipelines: tuple[Path, ...],
    host: str,
    port: int,
    token_env: str | None,
    token_file: Path | None,
    hosts: tuple[str, ...],
    data_roots: tuple[Path, ...],
    targets: tuple[str, ...],
    runtime: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Run the PIPELINES, and whatever is started over HTTP, until Ctrl-C or SIGTERM."""
    import asyncio
    import logging

    from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings
    from market_data_pipeline.server.process import serve_until_stopped
    from market_data_pipeline.server.settings import ServerSettings
    from market_data_pipeline.server.token import token_of
    from market_data_pipeline.telemetry.logs import configure_logs

    settings = ServerSettings(
        host=host,
        port=port,
        token=token_of(token_env, token_file),
        hosts=hosts,
        data_roots=data_roots,
        targets=targets,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )

    if not logging.getLogger().hasHandlers():
        # Nobody waits for what runs here: a failure must not be seen only by who asks.
        configure_logs(form="text", level="warning")

    def told(url: str) -> None:
        click.echo(f"live page and API: {url}", err=True)
        if settings.token is not None:
            click.echo("the page asks for the token", err=True)

    runtime_settings = PipelineRuntimeSettings.load(runtime)
    asyncio.run(
        serve_until_stopped(settings, pipelines, runtime_settings=runtime_settings, told=told)
    )

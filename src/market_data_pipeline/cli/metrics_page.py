"""Serve or send the metrics of a run for as long as it goes on."""

from __future__ import annotations

__all__ = ("TOKEN_VARIABLE", "address", "exporting", "serving")

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from market_data_pipeline.cli.progress import RunWatch

TOKEN_VARIABLE: Final = "MDP_METRICS_TOKEN"  # noqa: S105 - the name of a variable
_PORT_MAX: Final = 65_535


def address(text: str) -> tuple[str, int]:
    """Return host and port of what `--metrics` was given: a port means this machine.

    Raises:
        click.BadParameter: If it is no address.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= _PORT_MAX):
        msg = f"expected PORT or HOST:PORT, found `{text}`"
        raise click.BadParameter(msg)
    return host or "127.0.0.1", int(port)


@contextmanager
def serving(watch: RunWatch, where: tuple[str, int] | None) -> Iterator[None]:
    """Serve the metrics of the run that is watched while the context lasts.

    Args:
        watch: What follows the run.
        where: Host and port; None to serve nothing.

    Raises:
        ConfigError: If the address cannot be had, or others can reach it and there is no
            token.
    """
    if where is None:
        yield
        return
    from market_data_pipeline.telemetry.http import serve_metrics
    from market_data_pipeline.telemetry.prometheus import observe

    host, port = where
    token = os.environ.get(TOKEN_VARIABLE) or None
    with observe(watch.runs), serve_metrics(port, host, token=token) as found:
        shown = f"[{host}]" if ":" in host.strip("[]") else host
        click.echo(f"metrics: http://{shown}:{found}/metrics", err=True)
        yield


@contextmanager
def exporting(watch: RunWatch, *, on: bool) -> Iterator[None]:
    """Send the metrics of the run that is watched by OTLP while the context lasts.

    Args:
        watch: What follows the run.
        on: Whether to send anything.

    Raises:
        MissingDependencyError: If OpenTelemetry is not installed.
    """
    if not on:
        yield
        return
    from market_data_pipeline.telemetry.otel import observe_otel

    with observe_otel(watch.runs):
        yield

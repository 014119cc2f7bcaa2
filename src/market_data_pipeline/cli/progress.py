"""What is seen of a run while it goes on: a line on a terminal, nothing in a pipe."""

from __future__ import annotations

__all__ = ("RunWatch", "watching")

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from market_data_pipeline.cli.output import format_count, format_time

if TYPE_CHECKING:
    from market_data_pipeline.dag.runtime import Run

_TIME_MAX = (1 << 63) - 1
_TO_SECONDS = len("2024-05-06T09:30:00")


class RunWatch:
    """Follows a run; given to `run` as `progress`.

    Attributes:
        covered: Up to which event time the sources were read; None if nowhere. Bars up
            to here are whole even if the run was interrupted.
        run: The run, None before it has begun.
        is_expected: True if the run is stopped because it has had its time.
    """

    def __init__(self, display: Any = None) -> None:
        self.covered: int | None = None
        self.run: Run | None = None
        self.is_expected = False
        self._watermark: int | None = None
        self._display = display
        self._task = None if display is None else _task(display)
        self._told = False

    def __call__(self, run: Run) -> None:
        """Take a look at the run."""
        self.run = run
        mark = run.watermark()
        if mark is not None and mark < _TIME_MAX:
            self._watermark = mark
        self.covered = run.covered()
        if run.interrupted and not self._told and not self.is_expected:
            self._told = True
            note = "stopping: finishing what was read; Ctrl-C again stops at once"
            click.echo(note, err=True)
        if self._display is not None:
            self._show(run)

    def runs(self) -> list[Run]:
        """Return the run, once it has begun."""
        return [] if self.run is None else [self.run]

    def _show(self, run: Run) -> None:
        fraction = run.fraction()
        read = sum(
            a.rows_in for a in run.ledger().accounts if run.dag.nodes[a.node].kind == "source"
        )
        self._display.update(
            self._task,
            completed=read,
            total=None if not fraction else max(read, round(read / fraction)),
            rows=format_count(read),
            time=(format_time(self._watermark) or "")[:_TO_SECONDS],
            description="draining" if run.interrupted else "reading",
        )


def _task(display: Any) -> Any:
    return display.add_task("preparing", total=None, rows="0", time="")


@contextmanager
def watching() -> Iterator[RunWatch]:
    """Give a watch that shows the run on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield RunWatch()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.fields[rows]} rows"),
        TextColumn("[dim]{task.fields[time]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield RunWatch(display)

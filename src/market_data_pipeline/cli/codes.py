"""What a command's end is called: exit codes, and the one message of a failure."""

from __future__ import annotations

__all__ = (
    "FAILED",
    "FINE",
    "INTERRUPTED",
    "MISUSED",
    "exit_code_of",
    "kind_of",
    "message_of",
    "problems_of",
)

from typing import Final

import click

from market_data_pipeline.errors import (
    ColumnError,
    ConfigError,
    GraphError,
    MissingInputError,
    NodeError,
    OutputError,
    OutputExistsError,
    PipelineError,
    SpecError,
)

FINE: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130

# These say that another command line or another spec is needed, not that a run went wrong.
_MISUSE: Final = (
    click.UsageError,
    ConfigError,
    GraphError,
    MissingInputError,
    ColumnError,
    OutputExistsError,
)


def exit_code_of(err: BaseException) -> int:
    """Return the exit code of a command that ended with an error."""
    root = _root(err)
    if isinstance(root, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    # Outputs are looked at before anything runs; what fails later is raised by a node.
    early = isinstance(root, OutputError) and root is _leaf(err)
    return MISUSED if early or isinstance(root, _MISUSE) else FAILED


def kind_of(err: BaseException) -> str:
    """Return the name of an error's class, as printed with `--json`."""
    root = _root(err)
    # The library for commands has its own name for it.
    return "KeyboardInterrupt" if isinstance(root, click.Abort) else type(root).__name__


def message_of(err: BaseException) -> str:
    """Return what went wrong and where, in one message."""
    err = _leaf(err)
    root = _root(err)
    if isinstance(err, NodeError) and isinstance(root, PipelineError):
        return f"{root} (node `{err.node}`)"
    if isinstance(err, NodeError):
        return str(err)
    return _plain_message(root)


def problems_of(err: BaseException) -> dict[str, list[dict[str, object]]]:
    """Return what is wrong with a pipeline file, place by place, as printed with `--json`."""
    root = _root(err)
    if not isinstance(root, SpecError):
        return {}
    places = [
        {"file": p.file, "line": p.line, "column": p.column, "message": p.message}
        for p in root.problems
    ]
    return {"problems": places}


def _plain_message(err: BaseException) -> str:
    if isinstance(err, click.ClickException):
        return err.format_message()
    if isinstance(err, PipelineError):
        return str(err)
    if isinstance(err, KeyboardInterrupt | click.Abort):
        return "interrupted"
    if isinstance(err, OSError):
        what = err.strerror or str(err) or type(err).__name__
        return f"{err.filename}: {what}" if err.filename else what
    if isinstance(err, MemoryError):
        return "out of memory"
    return f"{type(err).__name__}: {err}"


def _leaf(err: BaseException) -> BaseException:
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    return err


def _root(err: BaseException) -> BaseException:
    """Look through groups and nodes for the error that tells what to do about it."""
    err = _leaf(err)
    while isinstance(err, NodeError) and err.__cause__ is not None:
        err = _leaf(err.__cause__)
    return err

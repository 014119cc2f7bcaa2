"""The command `mdp`: finds its subcommands when they are asked for, and ends them well.

Nothing heavy is imported here, so that `mdp --help` answers at once.
"""

from __future__ import annotations

__all__ = ("EndingGroup", "cli", "interrupt", "main")

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final, NoReturn

import click

from market_data_pipeline.cli.codes import FINE, exit_code_of, kind_of, message_of, problems_of
from market_data_pipeline.cli.output import print_json
from market_data_pipeline.errors import PipelineError, nearest
from market_data_pipeline.redaction import redacted

_COMMANDS: Final = {
    "bars": "Turn files of trades or quotes into bars.",
    "run": "Run a pipeline that is written down in YAML.",
    "serve": "Run pipelines with an HTTP API and a live page.",
    "top": "Show what the pipelines of a server are doing.",
    "checkpoint": "Look after the checkpoints of a pipeline.",
    "validate": "Check a pipeline without running it.",
    "verify": "Check that a pipeline always gives the same rows.",
    "graph": "Draw a pipeline.",
    "inspect": "Tell what is in files of trades or quotes, and what is wrong with it.",
    "check": "Check the quality of files of trades or quotes.",
    "diff": "Tell whether two files of bars differ, and where.",
    "why": "Explain the bar at a time, or why there is none.",
    "dlq": "Show rows that could not be taken, and give them back.",
    "replay": "Print the rows of a file as they came, at any speed.",
    "list": "List the sources, operators and sinks there are, or describe one.",
    "demo": "Show it all on a made-up market whose truth is known.",
    "doctor": "Check that everything needed is there.",
}

_EPILOG: Final = """\b
Exit codes:
  0    fine
  1    failed while running (and: the files given to `diff` differ, `why` finds no bar,
       `check` found what --fail-on names)
  2    wrong usage or config; nothing was run
  130  interrupted

\b
Errors are one message on standard error. With --json, commands that print a result
print it as one JSON object on the last line of standard output; where they fail it is
{"error": ..., "kind": ..., "exit_code": ...}. Progress is shown on terminals only.
Times are read and printed in UTC.
"""

_EXPECTED: Final = (PipelineError, click.ClickException, click.Abort, OSError)


class EndingGroup(click.Group):
    """A group that turns errors into exits, and ends well where nobody reads on."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end quietly where whoever read its output has had enough."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # As in `mdp replay ... | head`.
            _discard_stdout()
            ctx.exit(FINE)
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002, FBT001, FBT002
        **extra: Any,
    ) -> Any:
        """Run the group with arguments and exit."""
        arguments = list(sys.argv[1:] if args is None else args) or ["--help"]
        try:
            code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        except (Exception, KeyboardInterrupt) as err:  # noqa: BLE001 - the last place to tell of it
            code = _tell(err, arguments)
        sys.exit(code if isinstance(code, int) else FINE)


class _LazyGroup(EndingGroup):
    """A group that imports a subcommand when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"market_data_pipeline.cli.{cmd_name}")
        command: click.Command = module.command
        if not any(param.name == "debug" for param in command.params):
            command.params.append(_debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            msg = f"there is no command `{args[0]}`{nearest(args[0], _COMMANDS)}"
            ctx.fail(msg)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _tell(err: BaseException, arguments: Sequence[str]) -> int:
    """Print an error and return the exit code."""
    message, code = redacted(message_of(err)), exit_code_of(err)
    debug = "--debug" in arguments or bool(os.environ.get("MDP_DEBUG"))
    if debug:
        click.echo(redacted("".join(traceback.format_exception(err))), err=True, nl=False)
    click.echo(f"error: {message}", err=True)
    if not debug and not isinstance(err, _EXPECTED):
        click.echo("run it again with --debug to see where", err=True)
    if isinstance(err, click.UsageError) and err.ctx is not None:
        click.echo(f"try `{err.ctx.command_path} --help`", err=True)
    if "--json" in arguments:
        print_json({"error": message, "kind": kind_of(err), **problems_of(err), "exit_code": code})
    return code


def _discard_stdout() -> None:
    # Python flushes standard output once more at exit and would complain there.
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        help="Show where an error came from (or set MDP_DEBUG).",
    )


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(None, "--version", package_name="market-data-pipeline")
@click.option(
    "--log-format",
    type=click.Choice(["json", "text"]),
    envvar="MDP_LOG_FORMAT",
    show_envvar=True,
    help="Log to standard error, without secrets.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    envvar="MDP_LOG_LEVEL",
    show_envvar=True,
    help="The least that is logged.  [default: info]",
)
def cli(log_format: str | None, log_level: str | None) -> None:
    """Turn market-data feeds, live or recorded, into clean bars and events in your store."""
    if log_format is not None or log_level is not None:
        from market_data_pipeline.telemetry.logs import configure_logs

        configure_logs(form=log_format or "text", level=log_level or "info")


cli.params.append(_debug_option())


def main() -> None:
    """Run `mdp` with the arguments of this process and exit."""
    signal.signal(signal.SIGTERM, interrupt)
    cli.main(prog_name="mdp")


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Take SIGTERM as Ctrl-C is taken."""
    # So that SIGTERM, like Ctrl-C, leaves no temporary files behind.
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

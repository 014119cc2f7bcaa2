"""`mdp dlq`: what could not be taken, why, and how to get it back."""

from __future__ import annotations

__all__ = ("command",)

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from market_data_pipeline.cli.output import format_count, format_rows, format_table, format_time

if TYPE_CHECKING:
    from market_data_pipeline.letters import Letter

_EPILOG = """\b
Examples:
  mdp dlq list dlq/
  mdp dlq show dlq/ --reason late --limit 5
  mdp dlq replay dlq/ --reason late -o late.parquet
"""

_folder = click.argument("folder", type=click.Path(path_type=Path))
_reason = click.option("--reason", help="Only letters with this reason.")
_node = click.option("--node", help="Only letters of this node.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(epilog=_EPILOG, short_help="Show rows that could not be taken, and give them back.")
def command() -> None:
    """Show rows that could not be taken, and give them back.

    FOLDER is that of a `dead_letters` sink.
    """


@command.command("list")
@_folder
@_json
def list_letters(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """List how many rows there are, by node and reason."""
    from market_data_pipeline.cli.output import print_json

    groups: dict[tuple[str, str], list[Letter]] = {}
    for letter in _chosen(folder, None, None):
        groups.setdefault((letter.node, letter.reason), []).append(letter)
    rows = [
        {
            "node": node,
            "reason": reason,
            "letters": len(letters),
            "rows": sum(letter.rows for letter in letters),
            "first": format_time(min(letter.time_ns for letter in letters)),
            "last": format_time(max(letter.time_ns for letter in letters)),
        }
        for (node, reason), letters in groups.items()
    ]
    total = sum(letter.rows for letters in groups.values() for letter in letters)
    if as_json:
        print_json({"rows": total, "groups": rows})
    elif not rows:
        click.echo("no dead letters")
    else:
        head = tuple(rows[0])
        cells = [tuple(_cell(row[name]) for name in head) for row in rows]
        click.echo(format_table(head, cells))


@command.command("show")
@_folder
@_reason
@_node
@click.option("--letter", "name", help="Only this letter, as `17`.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many rows to show in all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, with the bodies.")
def show_letters(
    folder: Path,
    reason: str | None,
    node: str | None,
    name: str | None,
    limit: int,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show letters with their rows."""
    import json

    left, untold = limit, 0
    for letter in _chosen(folder, reason, node):
        if name not in {None, letter.name}:
            continue
        if left == 0:
            untold += letter.rows
            continue
        lines = _lines(letter)
        shown = lines[:left]
        left -= len(shown)
        untold += len(lines) - len(shown)
        told = {
            "letter": letter.name,
            "time": format_time(letter.time_ns),
            "node": letter.node,
            "reason": letter.reason,
            "place": letter.place,
            "detail": letter.detail,
            "rows": letter.rows,
        }
        if as_json:
            rows = [json.loads(line) for line in shown]
            click.echo(json.dumps({**told, "body": rows}, ensure_ascii=False))
            continue
        where = f" at {letter.place}" if letter.place else ""
        said = f": {letter.detail}" if letter.detail else ""
        click.echo(
            f"{letter.name}  {told['time']}  {letter.node}  {letter.reason}{where}{said}  "
            f"({format_rows(letter.rows)})"
        )
        for line in shown:
            click.echo(f"    {line}")
    if untold:
        click.echo(f"{format_rows(untold)} more; show them with `--limit`", err=True)


@command.command("replay")
@_folder
@click.option("-o", "--output", required=True, help="A .parquet, .csv, .jsonl or .duckdb file.")
@_reason
@_node
@click.option("--overwrite", is_flag=True, help="Replace the output if it is there.")
def replay_letters(
    folder: Path,
    output: str,
    reason: str | None,
    node: str | None,
    overwrite: bool,  # noqa: FBT001
) -> None:
    """Write the rows to a file, as they were.

    To feed them to a pipeline, use the source `dead_letters` instead. What is no row of
    ours, as batches that a store refused, goes to a .jsonl file.
    """
    letters = list(_chosen(folder, reason, node))
    if any(letter.form != "rows" for letter in letters) or not letters:
        rows = _write_lines(letters, output, overwrite=overwrite)
    else:
        rows = _write_rows(letters, output, overwrite=overwrite)
    click.echo(f"{output}: {format_rows(rows)} of {format_rows(len(letters), 'letter')}")


def _write_rows(letters: list[Letter], output: str, *, overwrite: bool) -> int:
    import asyncio

    from market_data_pipeline.cli.outputs import sink_for
    from market_data_pipeline.dag.nodes import NodeContext
    from market_data_pipeline.letters import rows_in

    sink = sink_for(output, overwrite=overwrite)
    context = NodeContext("dead letters")

    async def write() -> None:
        sink.check()
        writer = await sink.open(context, None)
        try:
            for letter in letters:
                await writer.write(rows_in(letter, context.symbols))
            await writer.finish()
        except BaseException:
            await writer.abort()
            raise

    asyncio.run(write())
    return sum(letter.rows for letter in letters)


def _write_lines(letters: list[Letter], output: str, *, overwrite: bool) -> int:
    from market_data_pipeline.errors import ConfigError
    from market_data_pipeline.sink.publish import Draft, check_vacant

    if not output.endswith(".jsonl"):
        what = "no row of ours is there" if letters else "there is no such letter"
        msg = f"{output}: {what}; name a .jsonl file, or choose by `--reason` and `--node`"
        raise ConfigError(msg, parameter="output")
    check_vacant(output, overwrite=overwrite)
    draft = Draft(output, overwrite=overwrite)
    try:
        with draft.temporary.open("w", encoding="utf-8") as file:
            for letter in letters:
                file.writelines(f"{line}\n" for line in _lines(letter))
        draft.publish_file()
    finally:
        draft.discard()
    return sum(letter.rows for letter in letters)


def _chosen(folder: Path, reason: str | None, node: str | None) -> Iterator[Letter]:
    from market_data_pipeline.letters import read_letters

    for letter in read_letters(folder):
        if reason in {None, letter.reason} and node in {None, letter.node}:
            yield letter


def _lines(letter: Letter) -> list[str]:
    """Return the rows of a letter as lines of JSON."""
    import base64
    import json

    if letter.form == "json":
        return letter.body.decode(errors="replace").splitlines()
    if letter.form == "bytes":
        return [json.dumps({"base64": base64.b64encode(letter.body).decode()})]
    from market_data_pipeline.arrow_text import json_text
    from market_data_pipeline.letters import rows_in
    from market_data_pipeline.sink.arrow_rows import ArrowRows
    from market_data_pipeline.symbols import SymbolTable

    batch = rows_in(letter, SymbolTable())
    table = ArrowRows(batch.schema, prices="decimal").table([batch])
    columns: list[Any] = [
        json_text(column.combine_chunks()).to_pylist() for column in table.columns
    ]
    names = [json.dumps(name) for name in table.column_names]
    return [
        "{" + ", ".join(f"{n}: {v}" for n, v in zip(names, values, strict=True)) + "}"
        for values in zip(*columns, strict=True)
    ]


def _cell(value: object) -> str:
    return format_count(value) if isinstance(value, int) else str(value)

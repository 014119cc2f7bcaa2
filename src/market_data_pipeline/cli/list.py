"""`mdp list`: which components there are, and what settings they take."""

from __future__ import annotations

__all__ = ("command",)

from textwrap import wrap
from typing import TYPE_CHECKING, Final, Literal, cast

import click

from market_data_pipeline.cli.output import format_table, print_json

if TYPE_CHECKING:
    from market_data_pipeline.spec.described import ComponentInfo

_KINDS: Final = ("sources", "operators", "sinks")
_WIDTH: Final = 88

_EPILOG = """\b
Examples:
  mdp list operators
  mdp list sinks parquet
  mdp list --json
"""


class _KindChoice(click.Choice[str]):
    """A kind in the plural, as it is listed, or in the singular, as files have it."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        plural = f"{value}s"
        return super().convert(plural if plural in _KINDS else value, param, ctx)


@click.command(epilog=_EPILOG, short_help="List the sources, operators and sinks there are.")
@click.argument("kind", type=_KindChoice(_KINDS), required=False)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(kind: str | None, name: str | None, as_json: bool) -> None:  # noqa: FBT001
    """List the sources, operators and sinks there are, or describe the one called NAME.

    These are the words a pipeline file may use: `source: replay`, `operator: bars`.
    """
    from market_data_pipeline.spec.described import describe, describe_all

    if kind is not None and name is not None:
        info = describe(_singular(kind), name)
        if as_json:
            print_json(info.to_dict())
        else:
            click.echo(_description(info))
        return
    found = {k: describe_all(_singular(k)) for k in ([kind] if kind else _KINDS)}
    if as_json:
        print_json({k: [info.to_dict() for info in infos] for k, infos in found.items()})
        return
    click.echo("\n\n".join(_listing(k, infos) for k, infos in found.items()))
    click.echo("\nsettings of one: mdp list KIND NAME")


def _singular(kind: str) -> Literal["source", "operator", "sink"]:
    return cast('Literal["source", "operator", "sink"]', kind.removesuffix("s"))


def _listing(kind: str, infos: list[ComponentInfo]) -> str:
    width = max(len(info.name) for info in infos)
    lines = [f"  {i.name.ljust(width)}  {i.problem or i.summary}".rstrip() for i in infos]
    return "\n".join([f"{kind}:", *lines])


def _description(info: ComponentInfo) -> str:
    lines = [f"{info.kind}: {info.name}", info.summary]
    if info.package != "market_data_pipeline":
        lines.append(f"from the package {info.package}")
    if not info.in_yaml:
        lines.append("can be made in Python only")
    if not info.settings:
        return "\n".join([*lines, "", "no settings"])
    rows = [(s.name, s.type, "needed" if s.required else s.default or '""') for s in info.settings]
    lines += ["", format_table(("setting", "type", "default"), rows)]
    for setting in info.settings:
        if setting.description:
            lines += ["", setting.name]
            lines += [f"    {line}" for line in wrap(setting.description, _WIDTH - 4)]
    return "\n".join(lines)

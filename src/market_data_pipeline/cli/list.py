"""`mdp list`: which components there are, and what settings they take."""

from __future__ import annotations

__all__ = ("command",)

from textwrap import wrap
from typing import TYPE_CHECKING, Final, Literal, cast

import click

from market_data_pipeline.cli.output import format_table, print_json
from market_data_pipeline.errors import nearest

if TYPE_CHECKING:
    from market_data_pipeline.spec.described import ComponentInfo

_KINDS: Final = ("sources", "operators", "sinks")
_KIND_WORDS: Final = ", ".join(f"`{kind}`" for kind in _KINDS)
_WIDTH: Final = 88

_EPILOG = """\b
Examples:
  mdp list operators
  mdp list parquet
  mdp list sinks parquet
  mdp list --json
"""


@click.command(epilog=_EPILOG, short_help="List the sources, operators and sinks there are.")
@click.argument("kind", metavar="[KIND|NAME]", required=False)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(kind: str | None, name: str | None, as_json: bool) -> None:  # noqa: FBT001
    """List the sources, operators and sinks there are, or describe the one called NAME.

    These are the words a pipeline file may use: `source: replay`, `operator: bars`. KIND is
    `sources`, `operators` or `sinks`.
    """
    from market_data_pipeline.spec.described import describe, describe_all

    kinds, name = _asked(kind, name)
    if name is not None:
        infos = [describe(_singular(one), name) for one in kinds]
        if as_json:
            print_json(infos[0].to_dict())
        else:
            click.echo("\n\n".join(map(_description, infos)))
        return
    found = {k: describe_all(_singular(k)) for k in kinds}
    if as_json:
        print_json({k: [info.to_dict() for info in infos] for k, infos in found.items()})
        return
    click.echo("\n\n".join(_listing(k, infos) for k, infos in found.items()))
    click.echo("\nsettings of one: mdp list NAME")


def _asked(kind: str | None, name: str | None) -> tuple[tuple[str, ...], str | None]:
    """Return the kinds that are meant, and the name of the component to describe.

    Raises:
        click.UsageError: If the first word is neither a kind nor a component.
    """
    from market_data_pipeline.spec.registry import names

    if kind is None:
        return _KINDS, None
    for plural in _KINDS:
        if kind in {plural, plural.removesuffix("s")}:
            return (plural,), name
    if name is None:
        found = tuple(plural for plural in _KINDS if kind in names(_singular(plural)))
        if found:
            return found, kind
    if name is not None:
        msg = f"`{kind}` is no kind{nearest(kind, _KINDS)} (kinds: {_KIND_WORDS})"
        raise click.UsageError(msg)
    known = [*_KINDS, *(word for plural in _KINDS for word in names(_singular(plural)))]
    hint = nearest(kind, known)
    msg = f"`{kind}` is neither a kind nor a component{hint} (kinds: {_KIND_WORDS})"
    raise click.UsageError(msg)


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

"""Write what is in the docs because it is in the code.

    python docs/generate.py            write `docs/reference/`, the schema and the timelines
    python docs/generate.py --check    write nothing; exit 1 and list the files that are stale

A page of `docs/reference/` describes one component; its text is the component's own
docstring, its table of settings the component's own fields. `cli.md` is the help of `mdp`.
A timeline in `docs/images/` shows what the engine made of a few rows.
"""

from __future__ import annotations

__all__ = ("main", "pages", "stale_files")

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from http_routes import routes_page
from pictures import pictures

from market_data_pipeline.cli.main import cli
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.described import ComponentInfo, Setting, describe
from market_data_pipeline.spec.json_schema import pipeline_schema_text
from market_data_pipeline.spec.registry import KINDS, Kind
from market_data_pipeline.telemetry.metric import Metric
from market_data_pipeline.telemetry.metrics import METRICS
from market_data_pipeline.telemetry.metrics_0_8 import METRICS_0_8

_DOCS: Final = Path(__file__).parent
_HELP_WIDTH: Final = 88
_SECTION: Final = re.compile(r"(Args|Attributes|Raises|Returns|Example|Examples):")
_REMARK: Final = re.compile(r"(Backpressure|Lateness|Delivery|Memory|Source): (.*)", re.DOTALL)
_GENERATED: Final = "<!-- Written by docs/generate.py from the code. -->"

# What the runtime gives every component of a kind; a component that differs says so.
_OF_KIND: Final[Mapping[Kind, Mapping[str, str]]] = {
    "source": {
        "Backpressure": "Waits while a channel behind it is full, unless that edge sheds rows.",
        "Delivery": "Every row once, each time the source is opened.",
    },
    "operator": {
        "Backpressure": "Holds no rows. While a channel behind it is full it takes no more.",
        "Delivery": "Every row once, in order.",
    },
    "sink": {
        "Backpressure": (
            "A thread of its own writes. At most 262,144 rows wait for it; then the channel in "
            "front fills up, and the policy of that edge applies."
        ),
        "Delivery": (
            "Nothing is to be seen under the final name before the run has come to its end; a "
            "run that fails leaves what was there before."
        ),
    },
}


def pages() -> dict[Path, str]:
    """Return the text of every generated file, by its path below `docs/`."""
    found = {Path("pipeline.schema.json"): pipeline_schema_text()}
    infos = [describe(kind, name) for kind in KINDS for name in registry.built_in(kind)]
    for info in infos:
        found[Path("reference", _file_name(info))] = _component_page(info)
    found[Path("reference", "cli.md")] = _cli_page()
    found[Path("reference", "http-routes.md")] = routes_page(_GENERATED)
    found[Path("reference", "metrics.md")] = _metrics_page()
    found[Path("reference", "index.md")] = _index_page(infos)
    return found | pictures()


def stale_files(folder: Path = _DOCS) -> list[str]:
    """Return the generated files that are missing, differ, or should not be there."""
    wanted = pages()
    stale = [str(path) for path, text in wanted.items() if _text_of(folder / path) != text]
    written = (*folder.glob("reference/*"), *folder.glob("images/timeline-*"))
    there = (path.relative_to(folder) for path in written)
    return sorted([*stale, *(str(path) for path in there if path not in wanted)])


def main(arguments: Sequence[str]) -> int:
    """Write the files, or check them; return the exit code."""
    if list(arguments) not in ([], ["--check"]):
        print("usage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    if arguments:
        stale = stale_files()
        for name in stale:
            print(f"stale: docs/{name}")
        if stale:
            print("write them anew with `make docs`")
        return 1 if stale else 0
    for name in stale_files():
        path = _DOCS / name
        text = pages().get(Path(name))
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"docs/{name}")
    return 0


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


# Components


def _file_name(info: ComponentInfo) -> str:
    return f"{info.kind}-{info.name}.md"


def _component_page(info: ComponentInfo) -> str:
    cls = registry.find(info.kind, info.name)
    text, remarks = _described(cls)
    parts = [
        f"# {info.kind}: {info.name}",
        _GENERATED,
        text,
        f"In Python `{_python_name(cls)}`; {_in_yaml(info)}.",
        "## Settings",
        _settings_table(info.settings) if info.settings else "It has none.",
    ]
    if info.kind != "sink":
        parts += ["## Outputs", _outputs(cls)]
    for heading, remark in {**_OF_KIND[info.kind], **remarks}.items():
        parts += [f"## {heading}", remark]
    return "\n\n".join(parts) + "\n"


def _described(cls: type[Any]) -> tuple[str, dict[str, str]]:
    """Return the paragraphs of a docstring, and those that have a heading of their own."""
    paragraphs: list[str] = []
    remarks: dict[str, str] = {}
    for paragraph in _paragraphs(inspect.getdoc(cls) or ""):
        found = _REMARK.fullmatch(paragraph)
        if found is None:
            paragraphs.append(paragraph)
        else:
            text = found.group(2)
            remarks[found.group(1)] = text[:1].upper() + text[1:]
    return "\n\n".join(paragraphs), remarks


def _paragraphs(doc: str) -> Iterator[str]:
    lines: list[str] = []
    for line in doc.splitlines():
        if _SECTION.fullmatch(line):
            break
        if (not line.strip() or _REMARK.match(line)) and lines:
            yield "\n".join(lines)
            lines = []
        if line.strip():
            lines.append(line)
    if lines:
        yield "\n".join(lines)


def _python_name(cls: type[Any]) -> str:
    import market_data_pipeline as mdp

    public = cls.__name__ in mdp.__all__
    return f"mdp.{cls.__name__}" if public else f"{cls.__module__}.{cls.__name__}"


def _in_yaml(info: ComponentInfo) -> str:
    return f"in YAML `{info.kind}: {info.name}`" if info.in_yaml else "not to be had in YAML"


def _settings_table(settings: Sequence[Setting]) -> str:
    rows = ["| setting | type | default | what it does |", "|---|---|---|---|"]
    for setting in settings:
        default = "must be given" if setting.required else f"`{setting.default or chr(34) * 2}`"
        note = "" if setting.in_yaml else " Python only."
        cells = (f"`{setting.name}`", setting.type, default, setting.description + note)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _outputs(cls: type[Any]) -> str:
    ports = getattr(cls, "outputs", ())
    if isinstance(ports, property):
        return "Its settings name them. Each must be read by somebody."
    lines = []
    for port in ports:
        side = port in cls.side_outputs
        fate = "may be left unread; its rows are counted all the same" if side else "the rows"
        lines.append(f"- `{port}`: {fate}")
    return "\n".join(lines)


# The command line


def _cli_page() -> str:
    parts = ["# Command line", _GENERATED, _help_block(cli, "mdp")]
    context = click.Context(cli, info_name="mdp")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None  # noqa: S101 - it was listed
        parts += [f"## mdp {name}", _help_block(command, f"mdp {name}")]
    return "\n\n".join(parts) + "\n"


def _help_block(command: click.Command, name: str) -> str:
    # `-h` comes from the settings of the group, which a subcommand takes over.
    context = click.Context(
        command,
        info_name=name,
        terminal_width=_HELP_WIDTH,
        help_option_names=["-h", "--help"],
    )
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"```text\n{text}\n```"


# Metrics


_METRICS_TEXT: Final = (
    "What `/metrics` exposes, and how to use it, is told in "
    "[Watch pipelines](../guide/observability.md). Over OpenTelemetry the names have dots: "
    "`mdp.node.rows_in`."
)
_METRICS_0_8_TEXT: Final = (
    "The same figures, for dashboards that query them. Those of sinks and stores for bars "
    "(`mdp_sink_...`) are exposed by these sinks themselves."
)


def _metrics_page() -> str:
    parts = [
        "# Metrics",
        _GENERATED,
        _METRICS_TEXT,
        _metrics_table(METRICS),
        "## By the names of version 0.8",
        _METRICS_0_8_TEXT,
        _metrics_table(METRICS_0_8),
    ]
    return "\n\n".join(parts) + "\n"


def _metrics_table(metrics: Sequence[Metric]) -> str:
    rows = ["| metric | kind | labels | what it is |", "|---|---|---|---|"]
    rows += [f"| `{m.exposed}` | {m.kind} | {', '.join(m.labels)} | {m.text} |" for m in metrics]
    return "\n".join(rows)


# The list of it all


def _index_page(infos: Sequence[ComponentInfo]) -> str:
    links = (
        "- [Command line](cli.md)\n"
        "- [HTTP routes](http-routes.md)\n"
        "- [Metrics](metrics.md)\n"
        "- [JSON Schema of the pipeline file](../pipeline.schema.json)\n"
        "- [Errors and exit codes](../concepts/errors.md)"
    )
    parts = ["# Reference", _GENERATED, links]
    for kind in KINDS:
        of_kind = [info for info in infos if info.kind == kind]
        rows = [f"| {kind} | what it does |", "|---|---|"]
        rows += [
            f"| [{info.name}]({_file_name(info)}) | {info.summary.replace('|', chr(92) + '|')} |"
            for info in of_kind
        ]
        parts += [f"## {kind.capitalize()}s", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

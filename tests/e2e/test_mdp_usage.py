"""What every command has in common: help, exit codes, messages, speed of the door."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Mdp = Callable[[str], Any]

COMMANDS = (
    "bars",
    "run",
    "validate",
    "graph",
    "inspect",
    "check",
    "diff",
    "replay",
    "list",
    "demo",
    "doctor",
)


def test_help_names_every_command_and_exit_code(mdp: Mdp) -> None:
    """`mdp --help` is where exit codes are documented."""
    shown = mdp("--help")
    assert shown.code == 0
    for word in (*COMMANDS, "130", "interrupted", "--json"):
        assert word in shown.out


def test_no_arguments_show_the_help(mdp: Mdp) -> None:
    """`mdp` alone is a question."""
    assert mdp("").out == mdp("--help").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(mdp: Mdp, name: str) -> None:
    """`--help` works for each command and shows `--debug`."""
    shown = mdp(f"{name} --help")
    assert shown.code == 0
    assert f"Usage: mdp {name}" in shown.out
    assert "--debug" in shown.out


def test_help_imports_nothing_heavy() -> None:
    """The door opens at once: no compiled or large package is imported for the help."""
    code = (
        "import sys; from market_data_pipeline.cli.main import cli\n"
        "try: cli.main(['--help'], prog_name='mdp')\n"
        "except SystemExit: pass\n"
        "print(sorted({'numba', 'pyarrow', 'pydantic', 'duckdb', 'numpy', 'rich', 'polars'}"
        " & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "[]"


def test_version_is_that_of_the_package(mdp: Mdp) -> None:
    """`mdp --version` names the product."""
    shown = mdp("--version")
    assert shown.code == 0
    assert shown.out.startswith("mdp, version ")


def test_unknown_command_names_the_nearest(mdp: Mdp) -> None:
    """A typo is answered with what was meant."""
    shown = mdp("brs ticks.csv")
    assert (shown.code, shown.out) == (2, "")
    assert "there is no command `brs`; did you mean `bars`?" in shown.err


def test_unknown_option_names_the_nearest(mdp: Mdp) -> None:
    """Options too."""
    shown = mdp("diff a.csv b.csv --limt 3")
    assert shown.code == 2
    assert "--limit" in shown.err
    assert "try `mdp diff --help`" in shown.err


def test_error_is_one_message_without_traceback(mdp: Mdp) -> None:
    """Nobody needs a traceback for a missing file."""
    shown = mdp("diff a.csv b.csv")
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == "error: a.csv: no such file\n"


def test_debug_shows_where_an_error_came_from(mdp: Mdp) -> None:
    """With --debug the traceback comes first, the message last."""
    shown = mdp("diff a.csv b.csv --debug")
    assert shown.code == 2
    assert shown.err.startswith("Traceback")
    assert shown.err.endswith("error: a.csv: no such file\n")


def test_debug_can_be_set_in_the_environment(mdp: Mdp, monkeypatch: pytest.MonkeyPatch) -> None:
    """MDP_DEBUG does the same."""
    monkeypatch.setenv("MDP_DEBUG", "1")
    assert mdp("diff a.csv b.csv").err.startswith("Traceback")


def test_error_with_json_is_the_last_line_of_standard_output(mdp: Mdp) -> None:
    """Programs read the result and the error in one place."""
    shown = mdp("diff a.csv b.csv --json")
    assert shown.json == {
        "error": "a.csv: no such file",
        "kind": "MissingInputError",
        "exit_code": 2,
    }
    assert shown.err == "error: a.csv: no such file\n"


@pytest.mark.parametrize(("door", "command"), [("main", "doctor"), ("pipelines", "schema")])
def test_reader_that_leaves_early_is_no_error(door: str, command: str) -> None:
    """`mdp ... | head` ends quietly, and so does `mdp-legacy`."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        ended = subprocess.run(
            [sys.executable, "-m", f"market_data_pipeline.cli.{door}", command],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_doctor_finds_this_machine_able(mdp: Mdp) -> None:
    """The tests run here, so pipelines can."""
    shown = mdp("doctor --json")
    assert shown.code == 0
    assert shown.json["able"] is True
    states = {finding["what"]: finding["state"] for finding in shown.json["findings"]}
    assert states["numba"] == "ok"
    assert {"python", "cores", "memory", "disk", "kernel cache"} <= set(states)


def test_doctor_names_the_extra_to_install(mdp: Mdp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional package that is absent is a note with the way out, not a failure."""
    from importlib import metadata

    known = metadata.version

    def version(name: str) -> str:
        if name == "polars":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", version)
    shown = mdp("doctor")
    assert shown.code == 0
    assert "pip install 'market-data-pipeline[polars]'" in shown.out


def test_doctor_fails_where_kernels_cannot_be_kept(
    mdp: Mdp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a place for compiled kernels the way out is named."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(file / "inside"))
    shown = mdp("doctor")
    assert shown.code == 1
    assert "NUMBA_CACHE_DIR" in shown.out


def test_the_package_runs_as_the_command() -> None:
    """`python -m market_data_pipeline` is `mdp`, where scripts are not on the path."""
    found = subprocess.run(
        [sys.executable, "-m", "market_data_pipeline", "brs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert "did you mean `bars`?" in found.stderr


def test_a_folder_as_input_is_another_command_line(mdp: Mdp, tmp_path: Path) -> None:
    """It says what to write instead."""
    (tmp_path / "ticks").mkdir()
    shown = mdp("bars ticks --every 1s -o bars.parquet")
    assert shown.code == 2
    assert "ticks: this is a directory; name a file in it, or a pattern" in shown.err


def test_a_component_is_listed_by_its_name_alone(mdp: Mdp) -> None:
    """Its kind need not be known; a typo is answered with what was meant."""
    assert mdp("list bars").out == mdp("list operator bars").out
    assert mdp("list parquet").out == mdp("list sinks parquet").out
    shown = mdp("list barz")
    assert shown.code == 2
    assert "`barz` is neither a kind nor a component; did you mean `bars`?" in shown.err
    shown = mdp("list sink bars")
    assert shown.code == 2
    assert "it is an operator" in shown.err
    shown = mdp("list operatr bars")
    assert shown.code == 2
    assert "`operatr` is no kind; did you mean `operators`?" in shown.err

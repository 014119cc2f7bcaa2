"""Pipelines in YAML from the command line: run, validate, graph, list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Mdp = Callable[[str], Any]

PIPELINE = """\
name: small
nodes:
  ticks: {source: replay, path: ticks.csv}
  bars:  {operator: bars, from: ticks, every: 1s}
  store: {sink: csv, from: bars, path: bars.csv}
"""
TICKS = """\
ts_event,symbol,price,size
2024-05-06T09:30:00Z,A,1.5,2
2024-05-06T09:30:01Z,A,1.75,1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline and its input."""
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "ticks.csv").write_text(TICKS)
    return tmp_path


def test_run_publishes_and_prints_the_ledger(mdp: Mdp, folder: Path) -> None:
    """The summary is the account of every node."""
    shown = mdp("run p.yaml")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("small: 2 rows in ")
    assert "balanced" in shown.out
    assert len((folder / "bars.csv").read_text().splitlines()) == 3


def test_run_with_settings_in_place_of_those_in_the_file(mdp: Mdp, folder: Path) -> None:
    """`--set` may be given several times."""
    shown = mdp("run p.yaml --set bars.every=1min --set store.path=other.csv --json")
    assert shown.code == 0
    assert (shown.json["rows_in"], shown.json["rows_out"]) == (2, 1)
    assert (folder / "other.csv").exists()
    assert not (folder / "bars.csv").exists()


def test_dry_run_checks_and_runs_nothing(mdp: Mdp, folder: Path) -> None:
    """It shows the graph; the output is not even begun."""
    shown = mdp("run p.yaml --dry-run")
    assert shown.code == 0
    assert "it could run; nothing was run" in shown.out
    assert sorted(path.name for path in folder.iterdir()) == ["p.yaml", "ticks.csv"]


@pytest.mark.usefixtures("folder")
def test_run_twice_refuses_to_replace(mdp: Mdp) -> None:
    """Also seen by `--dry-run` and `validate`, before anything runs."""
    assert mdp("run p.yaml").code == 0
    for line in ("run p.yaml", "run p.yaml --dry-run", "validate p.yaml"):
        shown = mdp(line)
        assert (shown.code, shown.out) == (2, "")
        assert "bars.csv: exists already" in shown.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "every: 1s",
            "evry: 1s",
            "p.yaml:4:40: `bars` has no setting `evry`; did you mean `every`?",
        ),
        ("every: 1s", "every: [1]", "p.yaml:4:"),
        ("from: ticks", "from: tick", "did you mean `ticks`?"),
        ("operator: bars", "operator: brs", "there is no operator `brs`; did you mean `bars`?"),
        ("path: ticks.csv", "path: nix.csv", "nix.csv: no such file"),
        ("nodes:", "nodes: {}\nnodes:", "nodes"),
        ("name: small", "nmae: small", "did you mean `name`?"),
        ("name: small", "name: [", "p.yaml:"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_wrong_file_is_told_with_its_place(
    mdp: Mdp, folder: Path, command: str, old: str, new: str, message: str
) -> None:
    """File, line, column, what was found and the nearest name; exit code 2."""
    (folder / "p.yaml").write_text(PIPELINE.replace(old, new, 1))
    shown = mdp(f"{command} p.yaml")
    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_problems_of_a_file_are_data_with_json(mdp: Mdp, folder: Path) -> None:
    """Each with its place, for editors."""
    (folder / "p.yaml").write_text(PIPELINE.replace("every: 1s", "evry: 1s"))
    problem = mdp("validate p.yaml --json").json["problems"][0]
    assert (problem["file"], problem["line"], problem["column"]) == ("p.yaml", 4, 40)


def test_alias_bomb_is_refused(mdp: Mdp, folder: Path) -> None:
    """A few lines of YAML must not become a billion."""
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12)]
    (folder / "p.yaml").write_text("\n".join(["l0: &l0 [x]", *levels]))
    shown = mdp("validate p.yaml")
    assert shown.code == 2
    assert "p.yaml:" in shown.err


@pytest.mark.usefixtures("folder")
def test_validate_says_what_there_is(mdp: Mdp) -> None:
    """And as data with `--json`."""
    shown = mdp("validate p.yaml")
    assert shown.out == "p.yaml: `small` is valid: 1 source, 1 operator, 1 sink\n"
    assert mdp("validate p.yaml --json").json["nodes"] == ["ticks", "bars", "store"]


def test_validate_of_the_file_alone_needs_no_inputs(mdp: Mdp, folder: Path) -> None:
    """`--no-inputs` is for machines that do not have them."""
    (folder / "ticks.csv").unlink()
    assert mdp("validate p.yaml").code == 2
    assert mdp("validate p.yaml --no-inputs").code == 0


def test_graph_is_drawn_without_its_inputs(mdp: Mdp, folder: Path) -> None:
    """In four forms; the extension of the output tells which."""
    (folder / "ticks.csv").unlink()
    assert "bars  [operator bars]" in mdp("graph p.yaml").out
    assert mdp("graph p.yaml --format mermaid").out.startswith("flowchart")
    assert mdp("graph p.yaml --format dot").out.startswith("digraph")
    assert mdp("graph p.yaml -o p.svg").code == 0
    assert (folder / "p.svg").read_text().startswith("<svg")
    again = mdp("graph p.yaml -o p.svg")
    assert (again.code, "--overwrite" in again.err) == (2, True)


def test_missing_pipeline_names_the_nearest(mdp: Mdp, folder: Path) -> None:
    """A typo in the name of the file."""
    (folder / "p.yaml").rename(folder / "pipeline.yaml")
    shown = mdp("run pipelin.yaml")
    assert shown.code == 2
    assert "did you mean `pipeline.yaml`?" in shown.err


def test_list_names_what_a_pipeline_may_use(mdp: Mdp) -> None:
    """By kind, or all; one of them with its settings."""
    shown = mdp("list")
    for word in ("sources:", "replay", "operators:", "bars", "sinks:", "parquet"):
        assert word in shown.out
    assert "replay" not in mdp("list sinks").out
    described = mdp("list operators bars")
    assert "every" in described.out
    assert mdp("list operators bars --json").json["settings"][0]["name"] == "every"
    assert mdp("list operators --json").json["operators"][0]["name"] == "asof_join"


def test_list_of_what_is_not_there_names_the_nearest(mdp: Mdp) -> None:
    """For kinds and names."""
    assert mdp("list sinks parqet").code == 2
    assert "did you mean `parquet`?" in mdp("list sinks parqet").err
    assert mdp("list things").code == 2


def test_verify_tells_that_a_pipeline_is_always_the_same(mdp: Mdp, tmp_path: Path) -> None:
    """It touches no output, and tells each way it was run."""
    (tmp_path / "pipeline.yaml").write_text(
        "name: steady\n"
        "nodes:\n"
        "  ticks: {source: synthetic, rows: 5000, symbols: 3}\n"
        "  bars: {operator: bars, from: ticks, every: 1s}\n"
        "  store: {sink: csv, from: bars, path: bars.csv}\n"
    )
    shown = mdp("verify pipeline.yaml --schedules 2 --restarts 2")
    assert shown.code == 0, shown.err
    assert "on 2 threads: the same" in shown.out
    assert shown.out.endswith("the same rows in all 12 runs\n")
    assert not (tmp_path / "bars.csv").exists()
    told = mdp("verify pipeline.yaml --schedules 0 --restarts 0 --json").json
    assert told["same"] is True
    assert told["rows"]["store"] > 0

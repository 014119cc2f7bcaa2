"""The docs are true: their code runs, their commands print what is shown, their links lead on.

A fenced block may have a mark in a comment on the line above it: `<!-- not run: REASON -->`,
`<!-- exits 2 -->` for commands that are to fail, `<!-- prints -->` for a `text` block that is
the output of the Python block before it, and `<!-- fails -->` for a pipeline that is refused.
In shown output `...` stands for anything.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from market_data_pipeline.cli.main import cli
from market_data_pipeline.cli.spec_files import pipeline_in
from market_data_pipeline.errors import SpecError
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.loader import load_text

REPO = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(REPO).as_posix() for path in (*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"))
)
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
TEST = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>\w+)`")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# What a newcomer types in the shell besides `mdp`; looked at, not run.
SHELL = ("git clone ", "cd ", "source ", "python docs/generate.py", "pytest ", "ruff ", "mypy ")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> Iterator[Block]:
    text = (REPO / page).read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(page, line, found["language"], found["mark"] or "", found["text"])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a fresh clone, as far as the docs name what is in it."""
    shutil.copytree(REPO / "docs" / "data", tmp_path / "docs" / "data")
    shutil.copytree(REPO / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if any(blocks_of(p))])
def test_code_of_page_does_what_is_said(
    page: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page run one after the other, as a reader would type them."""
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    printed = ""
    for block in blocks_of(page):
        if block.mark.startswith("not run: "):
            continue
        if block.language == "python":
            printed = run_python(block, module)
        elif block.language == "text" and block.mark == "prints":
            check_shown(block.text, printed, block.place)
        elif block.language == "yaml":
            check_pipeline(block, workplace)
        elif block.language == "console":
            run_commands(block)
        elif block.language == "toml":
            tomllib.loads(block.text)
        else:
            assert block.language == "text", f"{block.place}: nothing checks `{block.language}`"


def run_python(block: Block, module: ModuleType) -> str:
    """Run a block as a part of its page; return what it printed."""
    lines = "\n" * block.line + block.text
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(lines, block.page, "exec"), module.__dict__)  # noqa: S102 - our own docs
    return output.getvalue()


def check_pipeline(block: Block, folder: Path) -> None:
    """Load a graph or a spec; keep it under the name in its first line, for commands to come."""
    name = re.match(r"# (\S+\.yaml)\n", block.text)
    if name:
        (folder / name[1]).write_text(block.text, encoding="utf-8")
    if block.mark == "fails":
        with pytest.raises(SpecError):
            load_text(block.text)
    elif name is None or pipeline_in(folder / name[1]) is None:
        load_text(block.text, file=block.place)


def run_commands(block: Block) -> None:
    """Run the commands of a block that are ours and hold their output to what is shown."""
    wanted = int(block.mark.removeprefix("exits ")) if block.mark else 0
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        words = shlex.split(command, comments=True)
        if words[0] == "mdp":
            result = CliRunner().invoke(cli, words[1:], prog_name="mdp")
            told = f"{block.place}: `{command}` exited {result.exit_code}:\n{result.output}"
            assert result.exit_code == wanted, told
            check_shown(shown, result.output, f"{block.place}: `{command}`")
        elif words[0] == "make":
            check_targets(words[1:], block.place)
        elif words[:2] == ["python", "-m"]:
            assert (REPO / f"{words[2].replace('.', '/')}.py").is_file(), block.place
        else:
            assert command.startswith(SHELL), f"{block.place}: nothing checks `{command}`"


def check_targets(targets: list[str], place: str) -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    known = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert set(targets) <= set(known), f"{place}: no such target in the Makefile: {targets}"


def check_shown(shown: str, output: str, place: str) -> None:
    """Find the shown lines in the output, in their order."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in filter(None, (" ".join(line.split()) for line in shown.splitlines())):
        if line == "...":
            continue
        pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
        assert any(pattern.fullmatch(out) for out in lines), (
            f"{place}: shown, but not printed (in this order): {line}\nprinted:\n{output}"
        )


@pytest.mark.parametrize("page", PAGES)
def test_links_of_page_lead_somewhere(page: str) -> None:
    """A link to a file names one that is there, and a heading that is in it."""
    path = REPO / page
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    for found in LINK.finditer(text):
        link = found[1] or found[2]
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{page}: there is no {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{page}: there is no heading for {link}"


def anchors_of(path: Path) -> set[str]:
    headings = HEADING.findall(FENCED.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [p for p in PAGES if TEST.search((REPO / p).read_text("utf-8"))])
def test_tests_that_page_names_are_there(page: str) -> None:
    """`tests/FILE.py::NAME` is a test, so what it is said to hold is held by something."""
    for found in TEST.finditer((REPO / page).read_text(encoding="utf-8")):
        path = REPO / found["path"]
        assert path.is_file(), f"{page}: there is no {found['path']}"
        text = path.read_text(encoding="utf-8")
        defined = re.search(rf"^(?:async )?def {found['name']}\(", text, re.MULTILINE)
        assert defined, f"{page}: there is no {found[0]}"


def test_failures_of_others_are_all_answered() -> None:
    """Each line of the table has a test, or says why there is nothing to test."""
    text = (REPO / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\|([^|]*)\|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    for number, told in rows:
        assert TEST.search(told) or told.strip() == "no such part", f"line {number}: {told}"


def test_every_page_can_be_reached_from_the_index() -> None:
    """No page of the docs is an island."""
    start = REPO / "docs" / "index.md"
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for found in LINK.finditer(page.read_text(encoding="utf-8")):
            target = (page.parent / (found[1] or found[2]).partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in seen:
                seen.add(target)
                waiting.append(target)
    islands = {path.resolve() for path in REPO.glob("docs/**/*.md")} - seen
    assert not islands


@pytest.mark.parametrize("name", registry.built_in("operator"))
@pytest.mark.parametrize("remark", ["Backpressure", "Lateness", "Memory"])
def test_operator_says_what_it_does_to_load_and_late_rows(name: str, remark: str) -> None:
    """What an operator holds back, takes for late and keeps is said where it is defined."""
    doc = inspect.getdoc(registry.find("operator", name)) or ""
    said = re.search(rf"^{remark}: (.+)", doc, re.MULTILINE)
    assert said, f"the docstring of `{name}` has no paragraph that begins with `{remark}: `"
    page = (REPO / f"docs/reference/operator-{name}.md").read_text(encoding="utf-8")
    assert f"\n## {remark}\n" in page, "a blank line is missing in front of it; then `make docs`"


def test_generated_files_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference and timelines are what the code says and does now; `make docs` writes them."""
    monkeypatch.syspath_prepend(str(REPO / "docs"))
    spec = util.spec_from_file_location("generate", REPO / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale: list[str] = generate.stale_files()
    assert not stale, "run `make docs`"


@pytest.mark.parametrize("path", sorted(REPO.glob("docs/images/*.svg")), ids=lambda p: p.stem)
def test_picture_stands_alone_and_is_shown(path: Path) -> None:
    """A picture is XML, runs nothing, loads nothing, has a name, and is on some page."""
    names = {re.sub(r"^\{.*\}", "", node.tag) for node in ET.parse(path).iter()}  # noqa: S314 - our own
    assert names <= {"svg", "style", "rect", "path", "line", "circle", "text", "title", "g"}
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"href|url\(|@import|@font-face|\son\w+=", text)
    assert 'aria-label="' in text
    assert any(
        f"images/{path.name})" in (REPO / page).read_text(encoding="utf-8") for page in PAGES
    )


@pytest.mark.parametrize("path", sorted(REPO.glob("examples/[a-z]*.py")), ids=lambda p: p.stem)
def test_example_runs(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every example runs anywhere, prints something, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(REPO))
    module = util.find_spec(f"examples.{path.stem}")
    assert module is not None
    assert module.loader is not None
    example = util.module_from_spec(module)
    monkeypatch.setitem(sys.modules, module.name, example)
    module.loader.exec_module(example)
    example.main()
    assert capsys.readouterr().out.strip()
    assert not list(tmp_path.iterdir())

"""Rules of the code that no linter we use can see."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import market_data_pipeline

ROOT = Path(market_data_pipeline.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

_FORBIDDEN = {"pickle", "marshal", "dill", "cloudpickle", "jsonpickle", "shelve"}
_CODE = {"eval", "exec", "__import__"}


def _is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {ast.unparse(kind) for kind in kinds if kind is not None}
    return not names or bool(names & {"BaseException", "CancelledError", "asyncio.CancelledError"})


def _goes_on(handler: ast.ExceptHandler) -> bool:
    """Tell whether something is raised, or the error handed to somebody else."""
    inside = [node for part in handler.body for node in ast.walk(part)]
    return any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Name) and node.id == handler.name)
        for node in inside
    )


def _problems(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            if _is_broad(node) and not _goes_on(node):
                found.append((node.lineno, "a cancellation is swallowed"))
            if all(isinstance(part, ast.Pass) for part in node.body) and _is_silent(node):
                found.append((node.lineno, "an error is dropped without a word"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            call = node.func
            if call.attr in {"wait_for", "gather", "ensure_future"} and _is_asyncio(call):
                found.append((node.lineno, f"`asyncio.{call.attr}`"))
            if call.attr == "create_task" and _is_asyncio(call):
                found.append((node.lineno, "a task outside of a group"))
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found += [(node.lineno, f"`{name}`") for name in modules & _FORBIDDEN]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _CODE:
            found.append((node.lineno, f"`{ast.unparse(node.func)}`"))
    return [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in found]


def _is_asyncio(call: ast.Attribute) -> bool:
    return isinstance(call.value, ast.Name) and call.value.id == "asyncio"


def _is_silent(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_swallowed_and_no_task_is_lost(path: Path) -> None:
    """Cancellations and errors go on, tasks have an owner, data is never code."""
    assert _problems(path) == []

"""The public surface is what it says it is, and costs nothing to import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.errors import MissingDependencyError

ROOT = Path(mdp.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def has_code(path: Path) -> bool:
    """Tell whether there is more in a file than a docstring and imports of the future."""
    body = ast.parse(path.read_text(encoding="utf-8")).body[1:]
    return any(not (isinstance(s, ast.ImportFrom) and s.module == "__future__") for s in body)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py")) if has_code(path)}


@pytest.mark.parametrize("name", MODULES)
def test_all_of_module_names_what_is_there(name: str) -> None:
    """Every module has `__all__`, a tuple of names that exist, none of them twice."""
    try:
        module = importlib.import_module(name)
    except MissingDependencyError as err:
        pytest.skip(str(err))
    names = getattr(module, "__all__", None)
    assert isinstance(names, tuple), f"{name} has no `__all__`, or it is no tuple"
    assert not [found for found, count in Counter(names).items() if count > 1]
    assert not [found for found in names if not hasattr(module, found)]
    private = [found for found in names if found.startswith("_") and found != "__version__"]
    assert not private


@pytest.mark.parametrize("name", MODULES)
def test_all_stands_before_the_code(name: str) -> None:
    """`__all__` is the first statement after the docstring and the import of the future."""
    first = ast.parse(MODULES[name].read_text(encoding="utf-8")).body[2]
    assert isinstance(first, ast.Assign)
    assert ast.unparse(first.targets[0]) == "__all__"


def test_root_offers_what_is_importable() -> None:
    """Every name of `__all__` can be had from the package, and nothing else can."""
    for name in mdp.__all__:
        assert getattr(mdp, name) is not None
    assert set(mdp.__all__) <= set(dir(mdp))
    with pytest.raises(AttributeError, match="no attribute `Barss`"):
        getattr(mdp, "Barss")  # noqa: B009 - a type checker would refuse the attribute


def test_names_for_type_checkers_are_those_loaded_lazily() -> None:
    """The imports under `TYPE_CHECKING`, the lazy table and `__all__` say the same."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        f"{node.module}.{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {f"{mdp.__name__}.{module}.{name}" for name, module in mdp._HOME_OF.items()}
    assert seen == lazy
    assert {*mdp._HOME_OF, "__version__"} == set(mdp.__all__)


@pytest.mark.parametrize("module", ["market_data_pipeline", "market_data_pipeline.cli.main"])
def test_import_loads_nothing_heavy(module: str) -> None:
    """A program that only asks for the package or for help does not wait for the engine."""
    heavy = ("numba", "pyarrow", "polars", "pandas", "duckdb", "pydantic", "numpy")
    code = f"import sys, {module}; print(*(set(sys.modules) & set({heavy!r})))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []

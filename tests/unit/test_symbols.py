"""The symbol table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from market_data_pipeline.symbols import SymbolTable


@pytest.mark.parametrize("names", [[], ["EURUSD"], ["a", "", "é€", "BRK.B"]])
def test_names_as_arrow_are_the_names(names: list[str]) -> None:
    """An Arrow array holds the names in the order of their codes."""
    array = SymbolTable(names).arrow_names()
    array.validate(full=True)
    assert array.to_pylist() == names


def test_names_as_arrow_do_not_import_pandas() -> None:
    """A small file is read and written faster than pandas is imported."""
    code = (
        "import sys; from market_data_pipeline.symbols import SymbolTable; "
        "SymbolTable(['a']).arrow_names(); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The symbol table."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_table_taken_over_whole_is_as_one_filled_name_by_name() -> None:
    """Codes, key groups and what is added later do not depend on the way in."""
    theirs = SymbolTable(["a", "b", "c"])
    taken, filled = SymbolTable(), SymbolTable(["a", "b", "c"])
    assert taken.encode_table(theirs).tolist() == [0, 1, 2]
    for name in ("d", "e"):
        assert taken.code(name) == filled.code(name)
    codes = np.arange(5, dtype=np.int32)
    assert taken.names == filled.names
    assert taken.key_groups(codes).tolist() == filled.key_groups(codes).tolist()
    assert len(theirs) == 3


def test_a_table_is_translated_to_what_is_there() -> None:
    """Names that are known keep their codes, the others are added behind them."""
    symbols = SymbolTable(["c", "x"])
    assert symbols.encode_table(SymbolTable(["a", "c"])).tolist() == [2, 0]
    assert symbols.encode_table(SymbolTable()).tolist() == []


@given(st.lists(st.sampled_from(["", "A", "BB", "Ωmega", "a longer name", "𝄞"])))
def test_names_of_an_array_get_the_codes_of_a_list(names: list[str]) -> None:
    """In the order in which they first come."""
    one, other = SymbolTable(["known"]), SymbolTable(["known"])
    found = other.encode_texts(np.array(names, np.str_))
    assert found.dtype == np.int32
    assert found.tolist() == one.encode(names).tolist()
    assert other.names == one.names

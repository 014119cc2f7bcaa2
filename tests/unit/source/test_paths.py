from __future__ import annotations

from pathlib import Path

import pytest

from market_data_pipeline.errors import InputError, MissingInputError
from market_data_pipeline.source.paths import find_files


def names(folder: Path, *patterns: str) -> list[str]:
    found = find_files(str(folder / pattern) for pattern in patterns)
    return [path.relative_to(folder).as_posix() for path in found]


def test_files_of_a_pattern_go_by_name_and_patterns_as_listed(tmp_path: Path) -> None:
    """A file that is named twice is read once."""
    (tmp_path / "sub").mkdir()
    for name in ("b.csv", "a.csv", "c.txt", "sub/d.csv", "odd[1].csv"):
        (tmp_path / name).touch()
    assert names(tmp_path, "*.csv") == ["a.csv", "b.csv", "odd[1].csv"]
    assert names(tmp_path, "c.txt", "[ab].csv") == ["c.txt", "a.csv", "b.csv"]
    assert names(tmp_path, "b.csv", "*.csv") == ["b.csv", "a.csv", "odd[1].csv"]
    assert names(tmp_path, "**/d.csv") == ["sub/d.csv"]
    assert names(tmp_path, "odd[1].csv") == ["odd[1].csv"]


def test_what_names_no_file_is_refused(tmp_path: Path) -> None:
    """Each with what to do."""
    with pytest.raises(MissingInputError, match=r"\*\.csv: no file matches this pattern"):
        names(tmp_path, "*.csv")
    with pytest.raises(MissingInputError, match=r"a\.csv: no such file"):
        names(tmp_path, "a.csv")
    with pytest.raises(InputError, match=r"directory; name a file in it, or a pattern"):
        find_files([str(tmp_path)])
    with pytest.raises(MissingInputError, match="name at least one"):
        find_files([])

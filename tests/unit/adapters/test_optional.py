"""Packages that need not be there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from market_data_pipeline.adapters.optional import has_core, require_optional
from market_data_pipeline.errors import MissingDependencyError


def test_absent_package_is_missed_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message says what to type; the error is an `ImportError` as well."""
    monkeypatch.setitem(sys.modules, "market_data_store", None)
    with pytest.raises(
        MissingDependencyError, match=r"pip install 'market-data-pipeline\[store\]'"
    ) as caught:
        require_optional("market_data_store", extra="store")
    assert isinstance(caught.value, ImportError)
    assert (caught.value.package, caught.value.extra) == ("market_data_store", "store")


def test_module_of_absent_package_is_missed_by_the_name_of_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is to be installed is the package, whichever of its modules is asked for."""
    monkeypatch.setitem(sys.modules, "market_data_core", None)
    with pytest.raises(MissingDependencyError, match="`market_data_core` is not installed"):
        require_optional("market_data_core.errors", extra="core")


@pytest.mark.parametrize(
    "code", ["import surely_absent_dependency", "from json import surely_absent_name"]
)
def test_broken_package_does_not_read_as_missing(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is there and lacks something of its own is broken, not absent."""
    (tmp_path / "half_installed.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError) as caught:
        require_optional("half_installed", extra="core")
    assert not isinstance(caught.value, MissingDependencyError)


def test_package_of_another_edition_does_not_read_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that the package does not have is no absent package."""
    (tmp_path / "other_edition").mkdir()
    (tmp_path / "other_edition" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"other_edition\.errors") as caught:
        require_optional("other_edition.errors", extra="core")
    assert not isinstance(caught.value, MissingDependencyError)


def test_core_is_seen_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask whether it is there must not import it: it imports us."""
    monkeypatch.delitem(sys.modules, "market_data_core", raising=False)
    (tmp_path / "market_data_core.py").write_text("raise SystemError")
    monkeypatch.syspath_prepend(tmp_path)
    assert has_core()
    monkeypatch.setitem(sys.modules, "market_data_core", None)
    assert not has_core()

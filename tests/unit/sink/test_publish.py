"""Publishing in one step."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from market_data_pipeline.errors import OutputError, OutputExistsError
from market_data_pipeline.sink.publish import Draft, check_vacant, output_error


def test_draft_is_a_hidden_sibling(tmp_path: Path) -> None:
    """Patterns such as `*.parquet` do not match it, and a rename stays on one disk."""
    draft = Draft(f"{tmp_path}/bars.parquet", overwrite=False)
    assert draft.temporary.parent == tmp_path
    assert draft.temporary.name.startswith(".bars.parquet.")
    assert draft.temporary.suffix == ".tmp"


def test_two_drafts_of_one_output_do_not_meet(tmp_path: Path) -> None:
    """Two runs at once each write their own."""
    drafts = [Draft(f"{tmp_path}/a.csv", overwrite=True) for _ in range(2)]
    assert drafts[0].temporary != drafts[1].temporary


def test_longest_name_can_be_published(tmp_path: Path) -> None:
    """The draft's name is no longer than a name may be."""
    draft = Draft(f"{tmp_path}/{'x' * 251}.csv", overwrite=False)
    draft.temporary.write_text("x")
    draft.publish_file()
    assert (tmp_path / f"{'x' * 251}.csv").read_text() == "x"


def test_published_file_replaces_only_on_request(tmp_path: Path) -> None:
    """The file of somebody who was faster stays."""
    (tmp_path / "a.csv").write_text("old")
    draft = Draft(f"{tmp_path}/a.csv", overwrite=False)
    draft.temporary.write_text("new")
    with pytest.raises(OutputExistsError):
        draft.publish_file()
    assert (tmp_path / "a.csv").read_text() == "old"
    draft.discard()
    draft = Draft(f"{tmp_path}/a.csv", overwrite=True)
    draft.temporary.write_text("new")
    draft.publish_file()
    assert (tmp_path / "a.csv").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_folder_is_replaced_on_request(tmp_path: Path) -> None:
    """The old folder is gone once the new one is there."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.parquet").write_text("old")
    draft = Draft(f"{tmp_path}/out/", overwrite=True)
    draft.temporary.mkdir()
    (draft.temporary / "new.parquet").write_text("new")
    draft.publish_folder()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.parquet"]
    assert len(list(tmp_path.iterdir())) == 1


def test_discard_of_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    """It may be called at any time."""
    Draft(f"{tmp_path}/a.csv", overwrite=False).discard()


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (errno.ENOSPC, "no space is left"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EFBIG, "limit on file sizes"),
    ],
)
def test_error_names_the_path_and_the_way_out(number: int, wanted: str) -> None:
    """Whether the system's error comes as a number or in a library's text."""
    text = f"IO Error: could not write: {OSError(number, '').strerror or ''}"
    assert wanted in str(output_error(OSError(number, "x"), "out.csv"))
    text = "IO Error: could not write: " + __import__("os").strerror(number)
    found = output_error(text, "out.csv")
    assert isinstance(found, OutputError)
    assert wanted in str(found)
    assert found.path == "out.csv"


def test_unknown_error_is_passed_on() -> None:
    """What the system said is not hidden."""
    assert "odd thing" in str(output_error(OSError(errno.EIO, "odd thing"), "out.csv"))


def test_dangling_link_is_vacant(tmp_path: Path) -> None:
    """A link to nowhere is where its target will be."""
    (tmp_path / "a.csv").symlink_to(tmp_path / "b.csv")
    check_vacant(f"{tmp_path}/a.csv", overwrite=False)

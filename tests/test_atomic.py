"""Folders that can be made, and those that cannot."""

from pathlib import Path

import pytest

from sinwave.atomic import make_folder
from sinwave.errors import OutputError


def test_a_folder_is_made_with_all_that_leads_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "a/b/c"
    for _ in range(2):
        make_folder(folder)
        assert folder.is_dir()


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in {
        "file": "a file of that name is in the way",
        "file/a": "a file of that name is in the way",
        "null\0": "null",
        "x/" * 1900: r"(the path has 19\d\d parts|.*too long)",
    }.items():
        with pytest.raises(OutputError, match=f"the folder cannot be made .*{reason}"):
            make_folder(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]

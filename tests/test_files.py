"""Places for files and folders: what cannot be written is refused beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from limelight.errors import InputError
from limelight.files import folder_for, own_folder, write_text


def test_a_file_needs_a_folder_a_name_and_its_ending(tmp_path: Path) -> None:
    assert folder_for(tmp_path / "a.PNG", "picture", (".png", ".svg")) == tmp_path
    with pytest.raises(InputError, match=r"picture's name must end in \.png or \.svg; got 'a\.txt'"):
        folder_for(tmp_path / "a.txt", "picture", (".png", ".svg"))
    with pytest.raises(InputError, match="folder must exist"):
        folder_for(tmp_path / "none" / "a.png")
    with pytest.raises(InputError, match="is a folder"):
        folder_for(tmp_path)


def test_a_folder_is_not_where_a_file_is(tmp_path: Path) -> None:
    assert own_folder(tmp_path / "new" / "run", "A run") == tmp_path / "new" / "run"
    file = write_text(tmp_path / "file", "text")
    for path in (file, file / "run"):
        with pytest.raises(InputError, match=r"A run is kept in a folder; .*file is a file"):
            own_folder(path, "A run")
    assert file.read_text(encoding="utf-8") == "text"

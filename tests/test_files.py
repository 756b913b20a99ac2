"""Places for files and folders: what cannot be written is refused beforehand."""

from __future__ import annotations

import os
import stat
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


def test_a_device_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "one\n")
    assert os.read(reader, 99) == b"one\n"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    link, file = tmp_path / "link.txt", tmp_path / "kept" / "file.txt"
    file.write_text("old")
    link.symlink_to(file)
    write_text(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"

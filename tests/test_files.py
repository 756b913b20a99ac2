"""Places for files and folders: what cannot be written is refused beforehand."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from limelight.errors import InputError
from limelight.files import folder_for, new_folder, own_folder, replaceable, save_tensors, write_text


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


def test_a_new_folder_holds_nothing(tmp_path: Path) -> None:
    assert new_folder(tmp_path, "A data set") == tmp_path
    (tmp_path / "train.tsv").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"A data set is written to a new folder; .* holds train.tsv"):
        new_folder(tmp_path, "A data set")


def test_only_a_file_of_its_kind_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    for text in ("2 3\na 1 2 3\n", "17 5"):
        assert replaceable(file, "file of vectors", r"\d+ [1-9]\d*") == file
        file.write_text(text, encoding="utf-8")
    for text in ("a text of mine\n", "", "2 3 and more\n"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="vectors.txt, which is something else"):
            replaceable(file, "file of vectors", r"\d+ [1-9]\d*")
        assert file.read_text(encoding="utf-8") == text


def test_tensors_that_find_no_room_are_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file or directory: .*none/a.safetensors"):
        save_tensors({"a": torch.zeros(2)}, tmp_path / "none" / "a.safetensors")


def test_a_full_disk_is_told_with_the_file_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *args: object, **keywords: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")  # without a name, as write() has it

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_text(tmp_path / "page.html", "half")
    assert raised.value.filename == str(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []

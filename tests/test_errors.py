"""The tree of errors: drawn once, in a docstring that must be true."""

from __future__ import annotations

import builtins
import errno
import inspect
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from limelight import errors
from limelight.checked import checked
from limelight.errors import FileError, LimelightError, MissingExtraError, file_error, require

CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, LimelightError) and cls is not LimelightError
}


def drawn() -> dict[str, tuple[str, str | None]]:
    """Each error of the drawn tree: its parent in the drawing, and the builtin in parentheses."""
    found: dict[str, tuple[str, str | None]] = {}
    above = ["LimelightError"]
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"    ([│ ]*)[├└]── (\w+)(?: \((\w+)\))?", line)
        if branch:
            depth = len(branch[1]) // 4 + 1
            above[depth:] = [branch[2]]
            found[branch[2]] = (above[depth - 1], branch[3])
    return found


def test_the_drawing_names_every_error() -> None:
    assert set(drawn()) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_stands_where_the_drawing_has_it(name: str) -> None:
    parent, builtin = drawn()[name]
    bases = {base.__name__ for base in CLASSES[name].__bases__}
    assert bases == {parent, builtin} - {None}
    if builtin is not None:
        assert issubclass(CLASSES[name], getattr(builtins, builtin))


def test_require_imports_what_is_there() -> None:
    assert require("os.path", extra="plot", purpose="to test").join("a", "b")


def test_a_package_that_lacks_one_of_its_own_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "half_there.py").write_text("import no_such_package\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        require("half_there", extra="plot", purpose="Drawing")
    assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.slow
def test_the_tree_is_there_before_any_other_name_was_used() -> None:
    code = "import limelight as ll; print(ll.errors.InputError.__name__, ll.matrix.masks.causal())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split()[0] == "InputError"


def test_require_answers_a_missing_package_with_its_install_line() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("no_such_package.inner", extra="plot", purpose="Drawing")
    assert "Drawing needs the package 'no_such_package'" in str(caught.value)
    assert "pip install 'limelight[plot]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


# ── What the system says of a path ──


@checked
def write(path: str | Path, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


def test_what_the_system_says_of_a_path_is_both_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path, kind, way in (
        (tmp_path / "none" / "x", FileNotFoundError, "something that is there"),
        (tmp_path, IsADirectoryError, "the path of a file"),
        (tmp_path / "file" / "x", NotADirectoryError, "leads through folders"),
        (tmp_path / ("x" * 300), OSError, "a shorter path"),
    ):
        with pytest.raises(FileError) as caught:
            write(path, "x")
        error = caught.value
        assert isinstance(error, LimelightError) and isinstance(error, kind)
        assert error.filename == str(path) and str(error).startswith(f"{path}: ") and way in str(error)
        again = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert isinstance(again, kind) and (str(again), again.errno) == (str(error), error.errno)


def test_a_full_disk_names_no_file_and_is_one_too() -> None:
    @checked
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FileError, match=r"A file: No space left on device\. Make room"):
        full()


def test_other_errors_of_the_system_go_on_as_they_came() -> None:
    @checked
    def gone() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError) as caught:
        gone()
    assert not isinstance(caught.value, LimelightError)


def test_an_error_without_a_number_keeps_its_words() -> None:
    assert str(file_error(OSError("disk full."))).startswith("A file: disk full. ")
    error = file_error(PermissionError(errno.EACCES, "Permission denied", "a"))
    assert file_error(error) is error


def test_what_is_no_file_gets_no_advice_for_files() -> None:
    """A connection, or a library's own kind of OSError, goes on as it came."""

    class GoneError(OSError):
        def __init__(self, said: str) -> None:
            super().__init__(said)

    for error in (
        OSError("no connection"),
        TimeoutError("timed out"),
        ConnectionResetError(104, "reset"),
        GoneError("x"),
    ):
        assert not errors.tells_of_a_file(error)

    class LockedError(PermissionError):
        def __init__(self, said: str) -> None:
            super().__init__(13, said, "run/card.json")

    assert errors.tells_of_a_file(LockedError("locked"))
    made = errors.file_error(LockedError("locked"))
    assert (
        isinstance(made, PermissionError) and "run/card.json: locked." in str(made) and "chmod" in str(made)
    )

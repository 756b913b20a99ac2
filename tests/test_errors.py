"""The tree of errors: drawn once, in a docstring that must be true."""

from __future__ import annotations

import builtins
import inspect
import re

import pytest

from limelight import errors
from limelight.errors import LimelightError, MissingExtraError, require

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


def test_require_answers_a_missing_package_with_its_install_line() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("no_such_package.inner", extra="plot", purpose="Drawing")
    assert "Drawing needs the package 'no_such_package'" in str(caught.value)
    assert "pip install 'limelight[plot]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)

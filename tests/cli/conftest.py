"""What the tests of the commands share: a way to call them, and tiny models to call them with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from limelight.cli import app
from tests.recipes import small


@pytest.fixture
def limelight() -> Callable[..., object]:
    """limelight("look", text, …) → the result: exit_code, stdout, stderr. `given` comes through the pipe."""

    def call(*words: object, given: str | bytes | None = None):  # type: ignore[no-untyped-def]
        return CliRunner().invoke(app, [str(word) for word in words], input=given)

    return call


@pytest.fixture
def model() -> Callable[[str], str]:
    """The folder of a tiny run by its task: what `--model` takes."""
    return lambda task: str(small.trained(task)[2] / "out")


@pytest.fixture
def refused(limelight: Callable[..., object]) -> Callable[..., str]:
    """Call a command that must refuse: nothing on stdout, one line on stderr, exit code 2; gives the line."""

    def call(*words: object, given: str | bytes | None = None) -> str:
        result = limelight(*words, given=given)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        line = result.stderr
        assert line.startswith("limelight: ")
        assert line.count("\n") == 1, line
        assert line.endswith("\n")
        assert "\x1b" not in line
        return line

    return call

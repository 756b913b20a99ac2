"""What the tests of the command `python -m experiments` share: ways to call it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from experiments.__main__ import app


@pytest.fixture
def experiments() -> Callable[..., object]:
    """experiments("scope", "--out", …) → the result: exit_code, stdout, stderr."""

    def call(*words: object):  # type: ignore[no-untyped-def]
        return CliRunner().invoke(app, [str(word) for word in words], prog_name="experiments")

    return call


@pytest.fixture
def refused(experiments: Callable[..., object]) -> Callable[..., str]:
    """Call the command, which must refuse: nothing on stdout, one line on stderr, exit code 2; gives the line."""

    def call(*words: object) -> str:
        result = experiments(*words)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr

    return call

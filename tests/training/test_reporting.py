"""What a person reads of a run is what was said."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from limelight.errors import MissingExtraError
from limelight.training import reporting


def test_the_way_to_tensorboard_is_printed_with_its_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("pip install 'limelight[train]'.")

    monkeypatch.setattr(reporting, "require", missing)
    shown = io.StringIO()
    with reporting.Reporter(tmp_path, Console(file=shown, width=200)).training(3, 0):
        pass
    assert "limelight[train]" in shown.getvalue()

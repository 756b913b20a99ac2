"""The rollout benchmark runs, and notices a rollout that is not the product."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import rollout
from benchmarks.__main__ import main
from limelight.errors import InputError


@pytest.mark.slow
def test_rollout_measures_every_contestant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    sizes = [
        "--tokens",
        "97",
        "--layers",
        "2",
        "--heads",
        "2",
        "--width",
        "8",
        "--asked",
        "5",
        "--minutes",
        "0",
    ]
    with pytest.raises(SystemExit) as stopped:
        main(["rollout", *sizes, "--json", str(file)])
    assert stopped.value.code == 0
    result = json.loads(file.read_text())["result"]
    names = list(rollout.contestants(rollout.draw(2, 2, 97, 8, "cpu"), True, 5))
    assert [row["what"] for row in result["rows"]] == names * 2
    assert all(row["forwards"] > 0 and row["pairs"] == 1 for row in result["rows"])
    assert max(result["largest difference"].values()) < 1e-6
    assert "from the product stored in float64" in capsys.readouterr().out


def test_a_rollout_that_is_not_the_product_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = rollout.draw(2, 2, 61, 8, "cpu")
    assert rollout.difference(layers, causal=True) < 1e-6
    whole = rollout.rollout_of
    monkeypatch.setattr(rollout, "rollout_of", lambda layers, causal: whole(layers[::-1], causal))
    assert rollout.difference(layers, causal=True) > 1e-3


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        rollout.run(tokens=0)

"""The benchmarks run: the list, the JSON, and a comparison of a second with torch.nn.Transformer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import typer

from benchmarks.__main__ import command, found, main
from benchmarks.peers import FLOOR, largest_difference, smoothed, verdict
from limelight.errors import MissingExtraError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    numbers = random.Random(0)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    for part, count in (("train", 61), ("valid", 7)):
        rows = [[numbers.choice(words) for _ in range(numbers.randint(1, 9))] for _ in range(count)]
        lines = [f"{' '.join(row)}\t{' '.join(reversed(row))}\n" for row in rows]
        (tmp_path / f"{part}.tsv").write_text("".join(lines))
    return tmp_path


def peers(data: Path, *options: str) -> dict:
    small = ["--width", "16", "--layers", "1", "--vocabulary", "300", "--tokens", "97", "--turn", "3"]
    with pytest.raises(SystemExit) as stopped:
        main(["peers", "--data", str(data), *small, *options, "--json", str(data / "out.json")])
    assert stopped.value.code == 0
    return json.loads((data / "out.json").read_text())


@pytest.mark.slow
def test_peers_without_dropout_have_one_curve(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = peers(data, "--minutes", "0.01", "--dropout", "0", "--no-control")
    result = record["result"]
    assert record["benchmark"] == "peers"
    assert record["command"].startswith("python -m benchmarks")
    assert record["machine"]["torch"]
    assert result["updates"] % 3 == 0
    assert [len(curve) for curve in result["curves"].values()] == [result["updates"]] * 2
    assert all(model["CPU seconds"] >= 0.6 for model in result["models"])
    # The same function, and the same steps: only rounding parts them.
    assert result["largest relative difference"] < 1e-3
    ours, peer = (model["held-out loss"] for model in result["models"])
    assert ours == pytest.approx(peer, rel=0.01)
    assert result["curves"]["Limelight"][-1] < result["curves"]["Limelight"][0]
    printed = capsys.readouterr().out
    assert "torch.nn.Transformer" in printed
    assert result["verdict"][:40] in printed


@pytest.mark.slow
def test_peers_with_dropout_and_a_control(data: Path) -> None:
    result = peers(data, "--minutes", "0.003", "--norm", "post")["result"]
    names = [model["model"] for model in result["models"]]
    assert names == ["Limelight", "torch.nn.Transformer", "Limelight, other dropout"]
    first = [curve[0] for curve in result["curves"].values()]
    assert first[0] != first[2], "other dropout gave the same loss"
    assert result["largest relative difference of the control"] > 0


def test_verdicts_come_from_the_numbers() -> None:
    assert verdict(0.03, 0.02, 1.2).startswith("The same loss curve")
    assert verdict(0.05, 0.02, 1.2).startswith("NOT the same loss curve")
    assert verdict(FLOOR, None, 1.2).startswith("The same loss curve")
    assert verdict(FLOOR * 1.01, None, 1.2).startswith("NOT the same loss curve")
    assert "1.25 times" in verdict(0.0, None, 1.25)


def test_smoothing_by_hand() -> None:
    assert smoothed([4.0, 2.0, 3.0]) == pytest.approx([4.0, 3.0, 3.0])
    assert smoothed([1.0] * 300)[-1] == pytest.approx(1.0)
    assert largest_difference([1.0, 1.0], [1.0, 3.0]) == pytest.approx(0.5)


def test_the_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    printed = capsys.readouterr().out
    assert {"models", "peers"} <= set(found())
    assert all(name in printed for name in found())


@pytest.mark.slow
@pytest.mark.parametrize("name", found())
def test_every_benchmark_says_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert "--json" in capsys.readouterr().out


@pytest.mark.slow
def test_unknown_names_and_missing_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["speed"])
    with pytest.raises(SystemExit, match="2"):
        main(["peers", "--data", str(tmp_path)])
    assert "train.tsv" in capsys.readouterr().err


def test_what_stands_in_brackets_in_an_error_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> None:
        raise MissingExtraError("Training needs it: pip install 'limelight[train]'")

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(command("run", run))
    with pytest.raises(SystemExit):
        app([])
    assert "limelight[train]" in capsys.readouterr().err

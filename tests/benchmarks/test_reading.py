"""The contestants make the same numbers, no reduction is forgotten, memory is counted, the command ends."""

from __future__ import annotations

import inspect
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import contestants as entrants, memory, reading
from benchmarks.__main__ import main
from benchmarks.contestants import OTHERS, STANDARD, Contestant, Inputs, Setting, contestants
from limelight import matrix as heart
from limelight.matrix import masks, reference

FULL = Setting(192, 2, 16, "float32", causal=False)
CAUSAL = Setting(192, 2, 16, "float32", causal=True)


def made_by(name: str, setting: Setting) -> Any:
    (contestant,) = [each for each in contestants(setting) if each.name == name]
    return contestant.prepare(Inputs.of(setting))()


def truth(setting: Setting) -> torch.Tensor:
    inputs = Inputs.of(setting)
    mask = masks.causal() if setting.causal else None
    return reference.attention(inputs.query, inputs.key, mask=mask).weights_BHNM


@pytest.mark.parametrize("setting", [FULL, CAUSAL], ids=["full", "causal"])
def test_all_make_the_same_column_sums(setting: Setting) -> None:
    expected = truth(setting).sum(2)
    for name in ("Received", "Received, SDPA turned round", "Received, eager weights"):
        made = made_by(name, setting)
        received = made.raw if hasattr(made, "raw") else made[-1] if isinstance(made, list) else made
        torch.testing.assert_close(received.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("setting", [FULL, CAUSAL], ids=["full", "causal"])
def test_stored_weights_give_the_six_readings_that_we_give(setting: Setting) -> None:
    ours = dict(zip(STANDARD, made_by("six together", setting), strict=True))
    _, *stored = made_by("six together, eager weights", setting)
    theirs = dict(zip(STANDARD, stored, strict=True))
    pairs = [
        (ours["Entropy"], theirs["Entropy"]),
        (ours["ArgMax"].weights, theirs["ArgMax"].values),
        (ours["MeanDistance"].mean, theirs["MeanDistance"]),
        (ours["TopK(8)"].weights, theirs["TopK(8)"].values),
        (ours["Pool"], theirs["Pool"]),
    ]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_no_reduction_of_the_heart_is_forgotten() -> None:
    measured = {type(make(CAUSAL)) for make in (STANDARD | OTHERS).values()}
    exported = {
        value
        for name in heart.__all__
        if inspect.isclass(value := getattr(heart, name)) and hasattr(value, "update") and name != "Reduction"
    }
    assert measured == exported


def test_the_floor_takes_the_exponential_of_every_visible_score() -> None:
    """The last strip of the last head is held when it ends."""
    inputs = Inputs.of(CAUSAL)
    expected = torch.exp(inputs.query[0, -1, -entrants.STRIP :] @ inputs.key[0, -1].T)
    run = entrants._floor(inputs)
    run()
    held = inspect.getclosurevars(run).nonlocals["room"]
    torch.testing.assert_close(held[: expected.numel()].view_as(expected), expected)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak")
def test_memory_is_that_of_the_call_alone() -> None:
    size = 48 * 2**20

    def prepare(inputs: Inputs) -> Any:
        kept = torch.ones(size // 4)  # taken before the call, so not counted
        return lambda: torch.ones(2 * size // 4).sum() + kept[0]

    extra = memory._in_fork(Contestant("greedy", prepare), Inputs.of(CAUSAL), threads=1)
    assert 1.95 * size < extra < 2.2 * size


def test_a_failing_contestant_has_no_peak() -> None:
    def prepare(inputs: Inputs) -> Any:
        raise RuntimeError("no")

    assert memory._in_fork(Contestant("failing", prepare), Inputs.of(CAUSAL), threads=1) == -1


def test_the_deadline_ends_the_rounds() -> None:
    slow = Contestant("slow", lambda inputs: lambda: time.sleep(0.03))
    begun = time.monotonic()
    rows = reading.measure(CAUSAL, [slow, slow, slow], 2, deadline=begun + 0.02)
    assert len(rows) == 1
    assert rows[0]["pairs"] == 1
    assert rows[0]["seconds"] >= 0.03


@pytest.mark.slow
def test_the_command_prints_ratios_and_writes_them_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.json"
    options = ["--tokens", "128", "--dtype", "float32", "--heads", "1", "--minutes", "0.1", "--threads", "1"]
    with pytest.raises(SystemExit) as stopped:
        main(["reading", *options, "--only", "Received", "--no-memory", "--json", str(file)])
    assert stopped.value.code == 0
    rows = json.loads(file.read_text())["result"]["rows"]
    assert {(row["what"], row["causal"]) for row in rows} == {("Received", False), ("Received", True)}
    assert all(row["ratio"] > 0 and row["pairs"] >= 1 for row in rows)
    told = capsys.readouterr().out
    assert "128 × 1 causal" in told
    assert "processor time" in told


def test_tokens_that_are_no_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["reading", "--tokens", "many"])
    assert stopped.value.code == 2
    assert "got 'many'" in capsys.readouterr().err

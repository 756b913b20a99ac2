"""Efficiency: what is timed is what is named, and what is said follows the times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.common.contenders import TOLERANCE, parameters
from experiments.common.plan import Options
from experiments.efficiency import experiment
from experiments.efficiency.metrics import Measured, depth
from experiments.efficiency.processes import processes
from experiments.efficiency.report import result
from limelight.errors import InputError
from tests.experiments import made_up


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = replace(experiment.SHAPES["cpu"], width=16, feed_forward=32)
    monkeypatch.setattr(experiment, "SHAPES", {"cpu": shape})
    monkeypatch.setattr(experiment, "TOKENS", {"cpu": 29})
    monkeypatch.setattr(experiment, "LENGTHS", (7, 13))
    monkeypatch.setattr(experiment, "BATCHES", (1, 3))
    monkeypatch.setattr(experiment, "BATCHES_LENGTH", 5)
    monkeypatch.setattr(experiment, "VOCABULARY", 97)
    monkeypatch.setattr(experiment, "ROUNDS", 2)
    # Two threads that wait for one another on one free core take minutes.
    monkeypatch.setattr(experiment, "numbers_of_threads", lambda device: (1,))


@pytest.mark.usefixtures("tiny")
def test_everything_is_measured(tmp_path: Path) -> None:
    runs = {kind: experiment.measure(tmp_path, kind, "cpu") for kind in ("length", "batch", "decoding")}
    found = Measured.of(runs)
    assert found.rounds == experiment.ROUNDS
    assert {(place["length"], place["batch"]) for place in found.places("length")} == {(7, 4), (13, 2)}
    assert {place["batch"] for place in found.places("batch")} == {1, 3}
    shape = experiment.SHAPES["cpu"]
    # Keys and values of every layer grow with the context; what a cell remembers does not.
    per_token = 2 * shape.decoder_layers * shape.width * 4
    assert [found.kept("attention", length) for length in (7, 13)] == [7 * per_token, 13 * per_token]
    assert found.kept("lstm", 7) == found.kept("lstm", 13) > 0
    part = result(runs)
    assert all(len(row) == len(table.columns) for table in part.tables for row in table.rows)


@pytest.mark.usefixtures("tiny")
def test_a_training_step_trains() -> None:
    shape = experiment.SHAPES["cpu"]
    model = experiment.build(shape)
    before = [parameter.clone() for parameter in model.parameters()]
    experiment.step_of(model, model)(experiment.texts(2, 7, "cpu"))
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_rivals_have_one_size() -> None:
    counts = [parameters(experiment.build, rival.shape) for rival in experiment.rivals("cpu")]
    assert max(counts) - min(counts) <= TOLERANCE * counts[0]


def test_work_is_done_in_turns() -> None:
    done: list[str] = []
    seconds = experiment.in_turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, "cpu", 3)
    assert done == ["a", "b"] * 4
    assert {name: len(each) for name, each in seconds.items()} == {"a": 3, "b": 3}


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(InputError, match="device must be one of cpu, cuda"):
        experiment.plan(Options(device="abacus"))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="torch finds no such device"):
            experiment.plan(Options(device="cuda"))


def test_depth() -> None:
    assert depth({"architecture": "transformer", "decoder_layers": 3}, 101) == 3
    # Three layers over 101 tokens, as a wavefront: the first token of the third waits for two, the last for 103 - 1.
    assert depth({"architecture": "recurrent", "decoder_layers": 3}, 101) == 103


def test_what_is_said_follows_the_times() -> None:
    slow = {"attention": 1.0, "lstm": 0.25}
    said = " ".join(result(made_up.efficiency(slow, {"attention": 1.0, "lstm": 16.0})).sentences)
    assert "texts of 32 tokens, one thread: LSTM 2,048 and Attention 512 tokens a second" in said
    assert "LSTM is 4.0 times as fast as Attention" in said
    assert "texts of 512 tokens, one thread: Attention 512 and LSTM 128 tokens a second" in said
    assert "faster than LSTM at 512 tokens (up to 4.0 times as fast)" in said
    assert "slower than LSTM at 32 tokens (down to 0.25 times as fast)" in said
    assert "Attention 2.0 times and LSTM 2.0 times" in said
    assert "Attention 1.4 times and LSTM 1.4 times" in said
    assert "LSTM takes 4.0 times as long as Attention" in said
    other = " ".join(result(made_up.efficiency(slow, {"attention": 16.0, "lstm": 1.0})).sentences)
    assert "faster than" not in other
    assert "slower than LSTM at 32 to 512 tokens" in other
    even = " ".join(
        result(made_up.efficiency({"attention": 1.0, "lstm": 1.0}, dict.fromkeys(slow, 1.0))).sentences
    )
    assert "Between Attention and LSTM the rounds name no winner in training." in even
    assert "the rounds name no winner between the first two" in even


def test_no_winner_where_a_round_says_otherwise() -> None:
    made = made_up.efficiency({"attention": 1.0, "lstm": 1.0}, {"attention": 1.0, "lstm": 4.0})
    for place in made["efficiency-length"]["places"]:
        if place["rival"] == "lstm" and place["length"] == 32:
            place["seconds"] = [2.0, 2.0, 0.9]  # attention is faster, but for one round
    said = " ".join(result(made).sentences)
    assert (
        "faster than LSTM at 512 tokens (up to 4.0 times as fast); at 32 tokens the rounds name no winner."
        in said
    )
    assert "Attention 512 and LSTM 256 tokens a second; the rounds name no winner" in said


def test_pictures_of_different_parts_have_different_names() -> None:
    made = made_up.efficiency({"attention": 1.0, "lstm": 1.0}, {"attention": 1.0, "lstm": 2.0})
    on_a_gpu = {name: run | {"device": "cuda"} for name, run in made.items()}
    names = [picture.name for runs in (made, on_a_gpu) for picture in result(runs).pictures]
    assert len(set(names)) == len(names) == 4


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    places = processes(tmp_path, 1)
    assert {(place["rival"], place["processes"]) for place in places} == {
        (rival, count) for rival in ("attention", "lstm", "gru") for count in (1, 2)
    }
    assert all(seconds > 0 for place in places for seconds in place["seconds"])

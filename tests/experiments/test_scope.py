"""Scope: a network that knows the answer gets all points, one that guesses few; what is said follows the numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from experiments.common.plan import Options
from experiments.common.runner import Run
from experiments.scope import experiment, task
from experiments.scope.metrics import steps_between
from experiments.scope.report import result
from tests.experiments import made_up


class Knows(nn.Module):
    """Answers by a walk over the sequence, if the record is not farther than `sight`; else always with one value."""

    def __init__(self, sight: int) -> None:
        super().__init__()
        self.sight = sight

    def forward(self, ids_BN: Tensor) -> Tensor:
        scores = torch.zeros(*ids_BN.shape, task.VOCABULARY)
        for row, ids in enumerate(ids_BN.tolist()):
            key, answer = ids[-1] - task.FIRST_QUESTION, task.FIRST_VALUE
            for token in ids[-1 - self.sight : -1]:
                record = token - task.FIRST_RECORD
                if 0 <= record < task.KEYS * task.VALUES and record // task.VALUES == key:
                    answer = task.FIRST_VALUE + record % task.VALUES
            scores[row, -1, answer] = 50.0
        return scores


@pytest.mark.parametrize("records", [1, 7])
def test_who_knows_is_right_and_who_guesses_is_not(monkeypatch: pytest.MonkeyPatch, records: int) -> None:
    monkeypatch.setattr(experiment, "ENTRIES", 4096)
    assert experiment.accuracy(Knows(61), records, 61, seed=3) == (1.0, 67)
    right, asked = experiment.accuracy(Knows(60), records, 61, seed=3)
    assert asked == 67
    assert right < 0.2


def test_a_training_is_judged_by_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    knows, guesses = experiment.evaluated(Knows(496)), experiment.evaluated(Knows(0))
    assert knows.measures["accuracy"] == 1.0
    assert knows.score == pytest.approx(0.0, abs=1e-6)
    assert guesses.measures["accuracy"] < 0.2
    assert guesses.score < -10


class Fades(nn.Module):
    """The last token's vector, and that of every earlier one, times `keeps` for every token between."""

    def __init__(self, keeps: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(task.VOCABULARY, 5)
        self.output = nn.Linear(5, task.VOCABULARY)
        self.keeps = keeps

    def forward(self, ids_BN: Tensor) -> Tensor:
        x_BNE = self.embedding(ids_BN)
        ages_N = torch.arange(ids_BN.shape[1] - 1, -1, -1, dtype=x_BNE.dtype)
        x_BNE = (x_BNE * (self.keeps**ages_N)[:, None]).cumsum(1)
        return self.output(x_BNE)


@pytest.mark.parametrize("keeps", [1.0, 0.9])
def test_the_gradient_that_arrives(monkeypatch: pytest.MonkeyPatch, keeps: float) -> None:
    monkeypatch.setattr(experiment, "DISTANCES", (3, 37, 401))
    for place in experiment.gradients(Fades(keeps)):
        assert place["share"] == pytest.approx(keeps ** place["distance"], rel=1e-6)


def test_every_rival_has_as_many_trials_and_runs() -> None:
    def counted(runs: list[Run]) -> dict[str, int]:
        names = [run.options["rival"] for run in runs]
        assert len({run.name for run in runs}) == len(runs)
        return {name: names.count(name) for name in names}

    assert len(set(counted(experiment.trials(Options())).values())) == 1
    assert set(counted(experiment.plan(Options(seeds=2))).values()) == {2}
    assert {run.options["seconds"] for run in experiment.plan(Options(seconds=7.0))} == {7.0}
    # What the search tries are settings that the rivals' shapes have.
    for run in experiment.trials(Options()):
        assert run.options["choice"].keys() == {"rate", *experiment.OWN[run.options["rival"]][0]}


def test_what_is_said_follows_the_numbers() -> None:
    good, bad, middle = (0.99, 0.98), (0.07, 0.06), (0.50, 0.49)
    won = result(made_up.scope({"attention": good, "lstm": bad, "gru": middle}))
    lost = result(made_up.scope({"attention": bad, "lstm": good, "gru": middle}))
    assert all(
        "Attention is ahead by 48 points, in every seed" in sentence for sentence in won.sentences[1:5]
    )
    assert all("LSTM is ahead by 92 points, in every seed" in sentence for sentence in lost.sentences[1:5])
    assert "with 12 records Attention up to 4,096 tokens, LSTM at no distance" in won.sentences[0]
    assert "with 12 records Attention at no distance, LSTM up to 4,096 tokens" in lost.sentences[0]
    uneven = result(made_up.scope({"attention": (0.99, 0.89), "lstm": bad, "gru": good}))  # 94 % in the mean
    assert (
        "with 12 records Attention at no distance, LSTM at no distance and GRU up to" in uneven.sentences[0]
    )
    assert "none rose by more" in won.sentences[-1]
    risen = result(made_up.scope({"attention": good, "lstm": middle}, rise=0.3))
    assert "LSTM (+30 points)" in risen.sentences[-1]


def test_parts_of_the_runs_are_told_too() -> None:
    for rivals in (["lstm"], ["attention"], ["attention", "gru"]):
        part = result(made_up.scope(dict.fromkeys(rivals, (0.5,))))
        assert part.sentences
        assert all(len(row) == len(table.columns) for table in part.tables for row in table.rows)


def test_steps_between_two_tokens() -> None:
    assert steps_between({"shape": {"architecture": "transformer"}}, 37) == 1
    assert steps_between({"shape": {"architecture": "recurrent"}}, 37) == 37


@pytest.mark.slow
@pytest.mark.parametrize("rival", ["attention", "gru"])
def test_a_run_from_beginning_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rival: str) -> None:
    monkeypatch.setattr(experiment, "DISTANCES", (4, 61))
    monkeypatch.setattr(experiment, "RECORDS", (1, 3))
    monkeypatch.setattr(experiment, "ENTRIES", 512)
    run = next(run for run in experiment.plan(Options(seconds=1.0, seeds=1)) if run.options["rival"] == rival)
    measured = experiment.measure(tmp_path, **run.options)
    assert measured["CPU seconds"] == pytest.approx(1.0, rel=0.8)
    assert len(measured["grid"]) == 4
    assert measured == experiment.measure(tmp_path, **run.options) | {"CPU seconds": measured["CPU seconds"]}
    assert result({"one": measured}).sentences

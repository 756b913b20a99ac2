"""Associative recall: every question has its answer where it should be, and rivals are of one size."""

from __future__ import annotations

import pytest
import torch

from experiments.common.contenders import TOLERANCE, parameters
from experiments.scope import task
from experiments.scope.experiment import build, rivals
from experiments.scope.task import RecallExamples, asked_throughout, recall
from limelight.errors import InputError
from limelight.training.batches import IGNORE


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def answer_by_hand(ids: list[int], place: int) -> int:
    """The value of the record that the question at `place` asks for, by a walk over what stands before it."""
    key = ids[place] - task.FIRST_QUESTION
    [value] = [
        (token - task.FIRST_RECORD) % task.VALUES
        for token in ids[:place]
        if task.FIRST_RECORD <= token < task.FIRST_QUESTION
        and (token - task.FIRST_RECORD) // task.VALUES == key
    ]
    return task.FIRST_VALUE + value


@pytest.mark.parametrize("distance", [1, 4, 36])
def test_the_asked_record_is_as_far_as_was_said(distance: int) -> None:
    one = recall(13, 37, 7, chance(), distance)
    assert one.distances_B.tolist() == [distance] * 13
    for ids, answer in zip(one.ids_BN.tolist(), one.answers_B.tolist(), strict=True):
        assert answer_by_hand(ids, 36) == answer
        record = ids[36 - distance] - task.FIRST_RECORD
        assert record // task.VALUES == ids[36] - task.FIRST_QUESTION
        assert sum(task.FIRST_RECORD <= token < task.FIRST_QUESTION for token in ids) == 7


def test_every_question_on_the_way_is_answered_by_what_came_before() -> None:
    draws_BDN = torch.rand(13, 2, 53, generator=chance())
    ids_BN, labels_BN = asked_throughout(recall(13, 53, 5, chance()), draws_BDN, torch.full((13, 1), 0.5))
    asked = 0
    for ids, labels in zip(ids_BN.tolist(), labels_BN.tolist(), strict=True):
        for place, label in enumerate(labels):
            question = task.FIRST_QUESTION <= ids[place] < task.FIRST_NOISE
            assert question == (label != IGNORE)
            if question:
                assert answer_by_hand(ids, place) == label
                asked += 1
    assert asked > 13 * 5


def test_an_example_is_the_same_in_every_batch() -> None:
    examples = RecallExamples(101, 16, 61, 12)
    assert {min(examples.lengths()), max(examples.lengths())} == {(16,), (61,)}
    alone, together = examples.batch([17]), examples.batch([3, 17])
    length = alone.inputs["target"].shape[1]
    assert torch.equal(together.inputs["target"][1, :length], alone.inputs["target"][0])
    assert torch.equal(together.labels[1, :length], alone.labels[0])
    assert not together.inputs["target"][1, length:].any()


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(InputError, match="records must be from 1 to 16"):
        recall(1, 5, 5, chance())
    with pytest.raises(InputError, match="distance must be from 1 to 4"):
        recall(1, 5, 2, chance(), distance=5)


def test_rivals_have_as_many_parameters() -> None:
    counts = {rival.name: parameters(build, rival.shape) for rival in rivals()}
    assert counts.keys() == {"attention", "lstm", "gru"}
    assert counts["attention"] == sum(p.numel() for p in build(rivals()[0].shape).parameters())
    assert all(
        abs(count - counts["attention"]) <= TOLERANCE * counts["attention"] for count in counts.values()
    )

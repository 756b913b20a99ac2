"""The choice of heads finds the one that was built to align, and says on what it rests."""

from __future__ import annotations

import json

import pytest
import torch

from limelight.errors import InputError
from limelight.matrix import AttentionMatrix
from limelight.readings import AlignmentHeads, Example, Groups, choose_heads, shared_words

SHARED = [f"name{i}" for i in range(6)]
ALIGNS = (1, 2)
LAYERS, HEADS = 2, 3


def example(
    source: list[str], target: list[str], gold: list[int], constant: tuple[int, int] = (0, 0)
) -> Example:
    """One head looks at the gold word, one always at the first word, the others anywhere."""
    width = len(source) + 1
    matrices = []
    for layer in range(LAYERS):
        query = torch.randn(1, HEADS, len(target) + 1, width)
        if layer == ALIGNS[0]:
            query[0, ALIGNS[1], : len(target)] = 12 * torch.eye(width)[gold]
        if layer == constant[0]:
            query[0, constant[1]] = 20 * torch.eye(width)[0]
        key = torch.eye(width).expand(1, HEADS, -1, -1)
        matrices.append(AttentionMatrix(query, key, scale=1.0))
    return Example(matrices, Groups.tokens(target, after=1), Groups.tokens(source, after=1))


def with_names() -> list[Example]:
    """Pairs in which the names move to other places, and are the same on both sides."""
    pairs = []
    for _ in range(7):
        order = torch.randperm(len(SHARED)).tolist()
        target = ["das", *(SHARED[i] for i in order), "."]
        pairs.append(example(["the", *SHARED, "."], target, [0, *(1 + i for i in order), 7]))
    return pairs


def without_names() -> list[Example]:
    """Letters and sounds: V sounds a, W sounds b and so on, in words of any order."""
    pairs = []
    for _ in range(11):
        order = torch.randperm(5).tolist()
        source, target = (["".join(letters[i]) for i in order] for letters in ("abcde", "VWXYZ"))
        pairs.append(example(source, target, [0, 1, 2, 3, 4]))
    return pairs


def test_the_head_that_finds_the_names_is_chosen() -> None:
    found = choose_heads(with_names())
    assert found.heads == (ALIGNS,)
    assert found.score == 1.0
    assert found.links == 7 * len(SHARED)
    assert "layer 1 head 2" in found.how
    assert dict(found.scores)[ALIGNS] == 1.0
    assert len(found.scores) == LAYERS * HEADS
    assert max(score for head, score in found.scores if head != ALIGNS) < 0.9


def test_scores_are_the_share_of_names_found() -> None:
    pairs = with_names()
    scores = dict(choose_heads(pairs).scores)
    for layer, head in scores:
        hits = [
            int(pair.matrices[layer].dense()[0, head, t, :-1].argmax()) == s  # type: ignore[index]
            for pair in pairs
            for t, s in shared_words(pair.target, pair.source)
        ]
        assert scores[layer, head] == pytest.approx(sum(hits) / len(hits))


def test_a_wide_margin_takes_more_heads_only_if_their_mean_is_as_good() -> None:
    found = choose_heads(with_names(), margin=1.0, most=4)
    assert found.heads[0] == ALIGNS
    assert found.score == 1.0


def test_without_names_the_head_that_tells_words_apart_is_chosen() -> None:
    found = choose_heads(without_names())
    assert found.heads == (ALIGNS,)
    assert found.links == 0
    assert "by consistency" in found.how
    # Always looking at one word is as sharp as can be and tells nothing.
    assert dict(found.scores)[0, 0] == pytest.approx(0.0, abs=1e-3)
    assert found.score == pytest.approx(1.0, abs=0.01)


def test_a_head_that_looks_beside_the_letter_scores_lower() -> None:
    beside = []
    for pair in without_names():
        lagging = example(list(pair.source.names), list(pair.target.names), [0, 0, 1, 2, 3])
        both = {0: pair.matrices[ALIGNS[0]], 1: lagging.matrices[ALIGNS[0]]}  # type: ignore[index]
        beside.append(Example(both, pair.target, pair.source))
    scores = dict(choose_heads(beside).scores)
    assert scores[0, ALIGNS[1]] > 0.95
    assert scores[1, ALIGNS[1]] < 0.6


def test_consistency_is_what_its_formula_says() -> None:
    pairs = without_names()
    found = choose_heads(pairs)
    for (layer, head), score in found.scores:
        joint = torch.zeros(5, 5, dtype=torch.float64)
        for pair in pairs:
            weights = pair.matrices[layer].dense()[0, head, :-1, :-1].double()  # type: ignore[index]
            for t, target in enumerate(pair.target.names):
                for s, source in enumerate(pair.source.names):
                    joint["VWXYZ".index(target), "abcde".index(source)] += weights[t, s] / weights[t].sum()
        joint /= joint.sum()
        independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
        told = (joint * (joint / independent).log()).nansum()
        assert score == pytest.approx(float(told / torch.special.entr(joint.sum(1)).sum()), abs=1e-5)


def test_few_names_do_not_decide() -> None:
    few = with_names()[:2]
    assert "by consistency" in choose_heads(few).how
    assert "by consistency" not in choose_heads(few, least_links=12).how


def test_names_count_when_they_stand_once_on_either_side_and_are_words() -> None:
    target = Groups.tokens(["Datei", "a.txt", "x", "x", "42", ".", "y"])
    source = Groups.tokens(["y", "y", "42", "a.txt", "x", "."])
    assert shared_words(target, source) == [(1, 3), (4, 2)]


def test_examples_may_be_a_stream() -> None:
    pairs = with_names()
    assert choose_heads(pair for pair in pairs) == choose_heads(pairs)


def test_json() -> None:
    found = choose_heads(with_names())
    assert AlignmentHeads.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_nothing_to_choose_by() -> None:
    with pytest.raises(InputError, match="several different target words"):
        choose_heads([])
    with pytest.raises(InputError, match="several different target words"):
        choose_heads([example(["a"], ["b"], [0])])


def test_examples_of_two_models_are_refused() -> None:
    pair = without_names()[0]
    half = Example(pair.matrices[:1], pair.target, pair.source)  # type: ignore[index]
    with pytest.raises(InputError, match="one model"):
        choose_heads([pair, half])


def test_heads_that_give_words_nothing_and_empty_texts_score_nothing() -> None:
    pair = without_names()[0]
    blind = pair.matrices[0].shape[3]  # type: ignore[index]
    query = 1000 * torch.eye(blind)[[-1] * blind][None, None]  # everything to the end token
    alone = AttentionMatrix(query, torch.eye(blind)[None, None], scale=1.0)
    empty = Example(AttentionMatrix(query[:, :, :1], query[:, :, :1]), Groups((), (-1,)), Groups((), (-1,)))
    found = choose_heads([Example(alone, pair.target, pair.source), empty])
    assert dict(found.scores) == {(0, 0): 0.0}

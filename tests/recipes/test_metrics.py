"""The measures of the tasks: brute force, hand values, sacrebleu."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, strategies as st

from limelight.errors import InputError
from limelight.recipes.metrics import (
    accuracy,
    bleu,
    bleu_chance,
    chrf,
    edit_distance,
    macro_f1,
    pronunciation_errors,
    references_of,
)

SHORT = st.text("abc", max_size=5)


def brute_force(one: str, other: str) -> int:
    """Every way to turn one into the other, tried out."""
    if not one or not other:
        return len(one) + len(other)
    ways = [1 + brute_force(one[1:], other), 1 + brute_force(one, other[1:])]
    return min(*ways, (one[0] != other[0]) + brute_force(one[1:], other[1:]))


# ── Edit distance ──


@given(SHORT, SHORT)
def test_edit_distance_is_the_least_of_all_ways(one: str, other: str) -> None:
    assert edit_distance(one, other) == brute_force(one, other)


@given(SHORT, SHORT, SHORT)
def test_edit_distance_is_a_distance(one: str, other: str, third: str) -> None:
    assert (edit_distance(one, other) == 0) == (one == other)
    assert edit_distance(one, other) == edit_distance(other, one)
    assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)


def test_edit_distance_counts_whole_symbols() -> None:
    assert edit_distance(["AH", "B"], ["AY", "B", "D"]) == 2


# ── Pronunciation ──


def test_references_keep_every_pronunciation_of_a_word() -> None:
    rows = [("read", "R IY D"), ("tea", "T IY"), ("read", "R EH D")]
    assert references_of(rows) == {"read": ["R IY D", "R EH D"], "tea": ["T IY"]}


def test_any_pronunciation_counts_as_right() -> None:
    references = [["R IY D", "R EH D"], ["T IY"]]
    assert pronunciation_errors(["R EH D", "T IY"], references) == (0.0, 0.0)


def test_error_rates_by_hand() -> None:
    # The nearest of the first word's references is one phone off; the second word misses its only phone.
    answers, references = ["R EH T", ""], [["R IY D", "R EH D"], ["EY"]]
    assert pronunciation_errors(answers, references) == (1.0, 2 / 4)
    assert pronunciation_errors(["R IY D", "EY EY EY"], references) == (1 / 2, 2 / 4)


def test_of_equally_near_references_the_shorter_one_is_counted() -> None:
    assert pronunciation_errors(["A B"], [["A B C", "A"]]) == (1.0, 1 / 1)


# ── Translation ──

ANSWERS = ["Open the file and click Save .", "The cell is empty .", "Größe ändern"]
REFERENCES = ["Open the file, then click Save .", "This cell is not empty .", "Die Größe ändern"]


@pytest.mark.parametrize(("ours", "theirs"), [(bleu, "corpus_bleu"), (chrf, "corpus_chrf")])
def test_scores_are_sacrebleus(ours: Callable[..., float], theirs: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    score = ours(ANSWERS, REFERENCES)
    assert score == getattr(sacrebleu, theirs)(ANSWERS, [REFERENCES]).score
    assert 0 < score < 100
    assert ours(REFERENCES, REFERENCES) == pytest.approx(100)
    assert ours(["x y z w v"], ["a b c d e"]) == 0


@pytest.mark.slow
def test_chance_is_the_spread_over_draws_of_the_sentences() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    generator = random.Random(1)
    rights = [
        "Open the file, then click Save twice",
        "This cell is not empty at all",
        "Die Größe der Zeile ändern",
    ]
    given = [rights[0], "This cell is not full or bold", "Die Größe ändern"]
    answers, references = given * 20, rights * 20
    scores = []
    for _ in range(200):
        drawn = [generator.randrange(len(answers)) for _ in answers]
        some, right = [answers[at] for at in drawn], [references[at] for at in drawn]
        scores.append(sacrebleu.corpus_bleu(some, [right]).score)
    scores.sort()
    ours = bleu_chance(answers, references)
    assert ours == pytest.approx((scores[194] - scores[5]) / 2, rel=0.2)
    assert ours == bleu_chance(answers, references)
    # Four times as many sentences of the same kind: half as wide.
    assert bleu_chance(answers * 4, references * 4) == pytest.approx(ours / 2, rel=0.2)
    assert bleu_chance(["x y z w v"], ["a b c d e"]) == 0


# ── Classes ──


def test_accuracy_by_hand() -> None:
    assert accuracy(["a", "b", "b"], ["a", "b", "a"]) == pytest.approx(2 / 3)


def test_macro_f1_by_hand() -> None:
    #                 a: precision 2/2, recall 2/3       b: precision 1/2, recall 1/1
    answers, right = ["a", "a", "b", "b"], ["a", "a", "a", "b"]
    assert macro_f1(answers, right) == pytest.approx((2 * 1 * (2 / 3) / (5 / 3) + 2 / 3) / 2)


def test_macro_f1_weighs_a_rare_class_as_much_as_a_frequent_one() -> None:
    answers, right = ["a"] * 10, ["a"] * 9 + ["b"]
    assert accuracy(answers, right) == 0.9
    assert macro_f1(answers, right) == pytest.approx((18 / 19 + 0) / 2)


def test_macro_f1_of_a_class_that_no_reference_has() -> None:
    # An answer "c" costs "a" its recall; "c" itself is no class to average over.
    assert macro_f1(["a", "c"], ["a", "a"]) == pytest.approx(2 / 3)


# ── Doors ──


@pytest.mark.parametrize("measure", [bleu, chrf, accuracy, macro_f1])
@pytest.mark.parametrize(("answers", "references"), [(["a"], ["a", "b"]), ([], []), (["a", "b"], ["a"])])
def test_unequal_and_empty_lists_are_refused(
    measure: Callable[..., float], answers: Sequence[str], references: Sequence[str]
) -> None:
    with pytest.raises(InputError, match=f"got {len(answers)} answers and {len(references)} references"):
        measure(answers, references)


def test_pronunciations_of_unequal_number_are_refused() -> None:
    with pytest.raises(InputError, match="one answer for each reference"):
        pronunciation_errors(["A"], [["A"], ["B"]])

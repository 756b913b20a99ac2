"""Another number makes another sentence: who is ahead, by how much, and whether it is more than chance."""

from __future__ import annotations

import math

import pytest

from experiments.common.plan import Spread
from experiments.common.sentences import against, best, leading, margin, ranked, tallied, verdict


def test_a_spread_tells_its_seeds() -> None:
    some = Spread((0.25, 0.5, 0.9))
    assert (some.mean, some.lowest, some.highest) == (pytest.approx(0.55), 0.25, 0.9)
    assert some.text(".0%") == "55% (25%–90%)"
    assert Spread((0.5,)).text(".2f") == "0.50"
    assert Spread(()).text() == "—"
    assert math.isnan(Spread(()).mean)


@pytest.mark.parametrize(
    ("one", "other", "ahead", "apart"),
    [
        ((0.9, 0.8), (0.7, 0.6), "A", True),
        ((0.6, 0.7), (0.9, 0.8), "B", True),
        ((0.9, 0.6), (0.7, 0.7), "A", False),
        ((0.7, 0.7), (0.7, 0.6), "A", False),
    ],
)
def test_who_is_ahead(one: tuple[float, ...], other: tuple[float, ...], ahead: str, apart: bool) -> None:
    measure = {"A": Spread(one), "B": Spread(other)}
    found = verdict(measure, "A", "B")
    assert (found.ahead, found.apart) == (ahead, apart)
    assert found == verdict(measure, "B", "A")
    # Of errors fewer are better: the same numbers, the other winner.
    errors = verdict(measure, "A", "B", higher=False)
    assert {errors.ahead, ahead} == {"A", "B"}
    assert best(measure) == ahead
    assert best(measure, higher=False) != ahead


def test_the_sentence_follows_the_numbers() -> None:
    def said(one: tuple[float, ...], other: tuple[float, ...]) -> str:
        return against("Right", {"A": Spread(one), "B": Spread(other)}, "A", "B", ".0%")

    assert said((0.9, 0.8), (0.2, 0.1)).endswith("A is ahead by 70 points, in every seed.")
    assert said((0.1, 0.2), (0.8, 0.9)).endswith("B is ahead by 70 points, in every seed.")
    assert said((0.9, 0.1), (0.3, 0.2)).endswith("but the seeds overlap: no winner.")
    assert said((0.9,), (0.2, 0.1)).endswith("(one seed).")
    assert said((0.901,), (0.9,)).endswith("there is no difference.")
    assert said((0.5,), (0.4, 0.6)).endswith("there is no difference.")
    assert said((0.5,), (0.3, 0.6)).endswith("but that may be chance: no winner (one seed).")


def test_what_other_items_could_turn_round_is_no_lead() -> None:
    def measure(chance: float) -> dict[str, Spread]:
        return {"A": Spread((26.0,), chance), "B": Spread((25.0,), chance), "C": Spread((20.0,), chance)}

    # 1.0 apart: more than √2 · 0.7, less than √2 · 0.8.
    sure, unsure = measure(0.7), measure(0.8)
    assert against("BLEU", sure, "B", "A") == (
        "BLEU: B 25.0 ±0.7, A 26.0 ±0.7; A is ahead by 1.0 points (one seed)."
    )
    assert against("BLEU", unsure, "B", "A") == (
        "BLEU: B 25.0 ±0.8, A 26.0 ±0.8; A has the better value, by 1.0 points, but that may be chance: no winner "
        "(one seed)."
    )
    assert (leading(sure, ".1f"), leading(unsure, ".1f")) == (
        "A, 26.0 ±0.7",
        "no winner between A, 26.0 ±0.8 and B, 25.0 ±0.8",
    )
    assert ranked("BLEU", sure, ".1f") == "BLEU: A 26.0 ±0.7, B 25.0 ±0.7, C 20.0 ±0.7 (one seed)."
    assert ranked("BLEU", unsure, ".1f") == (
        "BLEU: A 26.0 ±0.8, B 25.0 ±0.8, C 20.0 ±0.8; no winner between A and B (one seed)."
    )
    # Of errors the lower is the better one, by as much.
    assert verdict(sure, "B", "A", higher=False).apart
    assert not verdict(unsure, "B", "A", higher=False).apart


def test_margins_are_those_of_what_is_written() -> None:
    measure = {"A": Spread((0.9649, 0.9650)), "B": Spread((0.9551, 0.9552))}
    assert "A 96.5% (96.5%–96.5%), B 95.5% (95.5%–95.5%); A is ahead by 1.0 points" in against(
        "Right", measure, "A", "B", ".1%"
    )
    alike = {"A": Spread((20.04, 20.03)), "B": Spread((20.01, 20.0))}
    assert against("BLEU", alike, "A", "B").endswith("there is no difference.")
    assert leading(alike, ".1f").startswith("no winner between A, 20.0")
    assert "no winner between A and B" in ranked("BLEU", alike, ".1f")


def test_a_margin_has_its_sign_and_its_verdict() -> None:
    some = {"A": Spread((0.9, 0.8)), "B": Spread((0.5, 0.4)), "C": Spread((0.9, 0.5)), "D": Spread((0.9,))}
    assert margin(some, "A", "B", ".0%", Spread((0.4, 0.4))) == "+40 (+40 to +40), ahead in every seed"
    assert margin(some, "B", "A", ".0%", Spread((-0.4, -0.004))) == "-40 (-40 to 0), behind in every seed"
    assert margin(some, "C", "A", ".0%", unit=" points") == "-15 points, no winner"
    assert margin(some, "A", "A", ".1%") == "0.0, no difference"
    assert margin(some, "D", "B", ".0%", Spread((0.4,))) == "+45, one seed"


def test_several_comparisons_are_counted() -> None:
    high, low = Spread((0.9, 0.8)), Spread((0.5, 0.4))
    told = tallied("A against B", {"x": (high, low), "y": (low, high), "z": (high, high)}, ".0%")
    assert told == (
        "A against B: ahead in every seed in 1 of 3 comparisons (x), behind in 1 (y), no winner in 1; from -40 "
        "points (y) to +40 points (x)."
    )
    many = tallied("A against B", dict.fromkeys("vwxy", (high, low)), ".0%")
    assert "in 4 of 4 comparisons, behind in none, no winner in none" in many
    assert "ahead (one seed) in 1 of 1" in tallied("A against B", {"x": (Spread((2.0,)), Spread((1.0,)))})

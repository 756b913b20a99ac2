"""What generalisation makes of made-up numbers: margins and verdicts in its tables, the question answered first."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from experiments.common.plan import Panel, Part, Spread, Table
from experiments.generalisation.metrics import WORDS_ALONE, best_and_words, gain
from experiments.generalisation.report import result

LABELS = {"attention": "Transformer", "lstm": "LSTM", "words": WORDS_ALONE}
RIGHT = {
    ("attention", "general"): 0.9,
    ("attention", "scratch"): 0.8,
    ("lstm", "general"): 0.7,
    ("lstm", "scratch"): 0.75,
}
BY_RIVAL = "Right answers from the language model and from scratch"
READ_ON = "Right answers from the language model read on and from scratch"


def classifier(task: str, rival: str, start: str, labels: int, seed: int, right: float) -> dict[str, Any]:
    return {
        "task": task,
        "rival": rival,
        "label": LABELS[rival],
        "start": start,
        "labels": labels,
        **({} if rival == "words" else {"longest": 31}),
        "seed": seed,
        "test": 503,
        "accuracy": right,
        "macro F1": right / 2,
        "most frequent": 0.6,
    }


def general() -> dict[str, dict[str, Any]]:
    """Two tasks, two rivals, two seeds: general training helps the one and harms the other."""
    runs = {
        f"{task}-{count}-{rival}-{start}-{seed}": classifier(
            task, rival, start, count, seed, RIGHT[rival, start] + seed / 100
        )
        for task, count, (rival, start), seed in product(("spam", "help-topics"), (100, 1000), RIGHT, (1, 2))
    }
    model = {"parameters": 11, "updates": 7, "CPU seconds": 60.0, "perplexity": 9.5}
    return runs | {"lm": {"label": "LSTM", "rival": "lstm", **model}}


def everything() -> dict[str, dict[str, Any]]:
    """The same and what has read on, and the words alone for one of the tasks."""
    runs = general()
    runs |= {
        f"{name}-adapted": run | {"start": "adapted", "accuracy": 0.95}
        for name, run in runs.items()
        if run.get("start") == "general"
    }
    runs |= {
        f"words-{count}-{seed}": classifier("spam", "words", "scratch", count, seed, right)
        for (count, right), seed in product(((100, 0.96), (1000, 0.8)), (1, 2))
    }
    read = {"updates": 7, "CPU seconds": 120.0, "before": 58.0, "after": 36.0}
    return runs | {"read on": {"task": "spam", "label": "LSTM", **read}}


def table(part: Part, title: str) -> Table:
    [found] = [each for each in part.tables if each.title == title]
    return found


def test_a_table_says_what_a_beginning_is_worth() -> None:
    part = result(general())
    rows = table(part, BY_RIVAL).rows
    assert [row[:3] for row in rows[:2]] == [("Spam", "100", "Transformer"), ("Spam", "100", "LSTM")]
    assert len(rows) == 8
    first, second = rows[0], rows[1]
    assert [cell.text(".1%") for cell in first[3:5] if isinstance(cell, Spread)] == [
        "81.5% (81.0%–82.0%)",
        "91.5% (91.0%–92.0%)",
    ]
    assert first[5] == "+10.0 (+10.0 to +10.0), ahead in every seed"
    assert second[5] == "-5.0 (-5.0 to -5.0), behind in every seed"
    assert first[6] == Spread(())
    for each in part.tables:
        assert all(len(row) == len(each.columns) == len(each.forms) for row in each.rows)


def test_the_question_is_answered_first() -> None:
    part = result(general())
    assert part.sentences[: len(part.answer)] == part.answer
    assert part.answer == (
        "Spam with 1,000 labels, right answers from the language model against from scratch: Transformer 91.5% "
        "(91.0%–92.0%) against 81.5% (81.0%–82.0%), +10.0 points (+10.0 to +10.0), ahead in every seed; LSTM 71.5% "
        "(71.0%–72.0%) against 76.5% (76.0%–77.0%), -5.0 points (-5.0 to -5.0), behind in every seed.",
        part.answer[0].replace("Spam", "Topics"),
    )
    everywhere = (
        "Right answers over all tasks and numbers of labels, from the language model against from scratch: "
    )
    [tally] = [sentence for sentence in part.sentences if sentence.startswith(everywhere)]
    assert "ahead in every seed in 4 of 8 comparisons, behind in 4, no winner in none" in tally
    assert tally.endswith(
        "from -5.0 points (Spam with 100 labels, LSTM) to +10.0 points (Spam with 100 labels, Transformer)."
    )
    assert any(
        "Transformer against LSTM, both from the language model: ahead" in each for each in part.sentences
    )


def test_what_knows_most_comes_first_and_words_alone_stand_beside_it() -> None:
    part = result(everything())
    assert [each.title for each in part.tables[:4]] == [READ_ON, BY_RIVAL, "Spam", "Topics"]
    row = table(part, READ_ON).rows[0]
    assert row[5:] == ("+13.5 (+13.0 to +14.0), ahead in every seed", Spread((0.96, 0.96)))
    spam, topics, over_words = part.answer
    assert all("right answers from the language model read on against" in each for each in (spam, topics))
    assert over_words == (
        "Spam with 1,000 labels, right answers of the best on the test of 6 networks and of what has none: "
        "Transformer from the language model read on 95.0% (95.0%–95.0%), Words alone 80.0% (80.0%–80.0%); "
        "Transformer from the language model read on is ahead by 15.0 points, in every seed."
    )
    [tally] = [each for each in part.sentences if "the best network on the test against words alone" in each]
    assert "in 1 of 2 comparisons (Spam with 1,000 labels), behind in 1 (Spam with 100 labels)" in tally
    assert ("Words alone", "no network") in [row[:2] for row in table(part, "Spam").rows]
    assert len(table(part, "Spam").rows) == 7
    assert part.tables[-1].rows == (("LSTM", "Spam", 7, 2.0, 58.0, 36.0),)


def test_margins_are_of_the_same_seed() -> None:
    runs = [
        classifier("spam", "lstm", "scratch", 100, 1, 0.5),
        classifier("spam", "lstm", "scratch", 100, 2, 0.9),
        classifier("spam", "lstm", "general", 100, 2, 0.95),
        classifier("spam", "lstm", "general", 100, 1, 0.6),
        classifier("spam", "lstm", "general", 100, 3, 0.7),
    ]
    assert sorted(gain(runs, 100, "LSTM", "general").values) == pytest.approx([0.05, 0.1])
    assert best_and_words(runs, 100) == {}  # no words
    [row] = result({str(number): run for number, run in enumerate(runs)}).tables[0].rows
    assert row[5] == "+5.0 (+5.0 to +10.0), no winner"


def test_each_rival_has_axes_of_its_own() -> None:
    part = result(everything())
    panels = [each for each in part.pictures[0].panels if isinstance(each, Panel)]
    assert [each.title for each in panels] == [
        "Spam, Transformer",
        "Spam, LSTM",
        "Topics, Transformer",
        "Topics, LSTM",
    ]
    assert [line.style for line in panels[0].lines] == ["--", ":", "-", "-"]
    assert [line.label for line in panels[0].lines][-1] == "words alone"
    assert {line.rival for line in panels[1].lines} == {"lstm", "words"}
    assert [line.style for line in panels[2].lines] == ["--", ":", "-"]  # no words there
    assert all(each.marks == (("most frequent class", 0.6),) for each in panels)


def test_it_does_with_what_is_there() -> None:
    assert result({}).tables == ()
    fresh = {name: run for name, run in general().items() if run.get("start") == "scratch"}
    part = result(fresh)
    assert part.short == ()
    assert [each.title for each in part.tables] == ["Spam", "Topics"]
    method = " ".join(result(everything()).method)
    assert "Of a text the first 31 tokens are read." in method
    assert "Words alone: logistic regression" in method

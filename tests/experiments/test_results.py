"""What the parts make of made-up numbers: who is ahead is named, losses too, and what is missing is left out."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from experiments.accuracy import report
from experiments.accuracy.tasks import CONTESTS, LABELS
from experiments.alignment import report as alignment_report
from experiments.common import curves
from experiments.common.plan import Line, Panel, Part, Spread

BLEU = {"lstm": 7.0, "luong": 26.0, "attention": 21.0}


def accuracy_run(task: str, rival: str, kind: str, seed: int) -> dict[str, Any]:
    contest = CONTESTS[task]
    value = BLEU[rival] + seed / 8 if task == "translate" else (40.0 - BLEU[rival]) / 100
    other = "chrF" if task == "translate" else "phoneme error rate"
    scores = {"sources": 31, contest.score: value, other: value / 2}
    return {
        "task": task,
        "rival": rival,
        "label": LABELS[rival],
        "kind": kind,
        "seed": seed,
        "rate": 1e-3,
        "parameters": 1000 + len(rival),
        "updates": 100,
        "epochs": 2.5,
        "CPU seconds": 900.0,
        "settled": rival == "lstm",
        "level seconds": 600.0,
        "shape": {"dropout": 0.1},
        "machine": {"instructions": "AVX2", "training": "float32"},
        "curve": [{"step": n, "CPU seconds": 300.0 * n, contest.score: value * n / 3} for n in (1, 2, 3)],
        "test": scores,
        **({"clean": scores} if task == "translate" else {}),
        "by length": [
            {
                "from": least,
                "to": None,
                **scores,
                contest.score: value * (1 - number / 8 * (rival == "luong")),
            }
            for number, least in enumerate(contest.lengths)
        ],
    }


def plain(part: Part) -> str:
    return "\n".join(part.sentences)


def test_accuracy_names_whoever_is_ahead() -> None:
    runs = {
        f"{task}-{rival}-{kind}-{seed}": accuracy_run(task, rival, kind, seed)
        for task, rival, (kind, seed) in product(CONTESTS, LABELS, [("short", 1), ("short", 2), ("long", 1)])
    }
    part = report.result(json.loads(json.dumps(runs)))
    told = plain(part)
    assert "LSTM with attention is ahead by 19.0 points" in told
    assert "LSTM with attention is ahead by 5.0 points" in told
    assert (
        "Translation, LSTM without attention: the rate stayed level for 10 of 15 CPU-minutes, since it then had "
        "brought nothing better for a while; its best BLEU on held-out rows until then, 4.8, came after 10; while "
        "the rate fell it came to 7.1."
    ) in told
    assert (
        "Translation, Transformer: the rate stayed level for 10 of 15 CPU-minutes, since its time was up"
        in told
    )
    assert part.tables[0].title == "Pronunciation after 15 CPU-minutes"
    assert len(part.tables) == 8
    for table in part.tables:
        assert all(len(row) == len(table.columns) == len(table.forms) for row in table.rows)
    # In short: the order of all rivals on each task, after the short time and after the long one.
    assert len(part.answer) == 4
    assert part.answer[0].startswith(
        "Pronunciation, words with an error on the test after 15 CPU-minutes: LSTM with"
    )
    assert part.answer[0].endswith("in this order in every seed.")
    long = part.answer[1::2]
    assert all("after the long run of 15 CPU-minutes" in sentence for sentence in long)
    assert all(sentence.endswith("(one seed).") for sentence in long)
    # 31 words are too few to tell 14% from 19%, or 19% from 33%; of translation's chance these runs say nothing.
    assert "Translation's long runs are given 80% of the time that the longest are given." in part.method
    assert long[0].endswith(
        "LSTM with attention 14.0% ±12.2%, Transformer 19.0% ±13.8%, LSTM without attention 33.0% ±16.6%; no winner "
        "between LSTM with attention and Transformer, nor between Transformer and LSTM without attention (one seed)."
    )
    assert "LSTM with attention is ahead by 19.0 points (one seed)" in told
    assert part.tables[2].rows[1][-2] == Spread((0.14,), pytest.approx(0.122, abs=5e-4))
    assert all("dropout 0.1, on AVX2 with products in float32." in table.note for table in part.tables[::2])
    for run in runs.values():
        if run["rival"] == "luong":
            run["machine"] = {"instructions": "AVX512", "training": "bf16", "before": [run["machine"]]}
    note = report.result(runs).tables[0].note
    assert "not alike" in note
    assert "LSTM with attention: AVX512 with products in bf16 and AVX2 with products in float32" in note
    curve = part.pictures[1].panels[0]
    assert isinstance(curve, Panel)
    assert curve.lines[1].x[0] == pytest.approx(5.0)
    assert curve.lines[1].y[-1] == pytest.approx(26.1875)
    assert (curve.lines[1].low[-1], curve.lines[1].high[-1]) == (26.125, 26.25)


def test_where_seeds_overlap_no_winner_is_named() -> None:
    runs = {}
    for rival, seed in product(LABELS, (1, 2, 3)):
        run = accuracy_run("translate", rival, "short", seed)
        value = {"lstm": 7.0, "luong": 26.0, "attention": 25.5}[rival] + seed / 2
        run["test"]["BLEU"] = value
        run["curve"] = [{"step": 1, "CPU seconds": 300.0, "BLEU": value}]
        for scores in run["by length"]:
            scores["BLEU"] = value
        runs[f"{rival}-{seed}"] = run
    [lengths] = [told for told in report.result(runs).sentences if "by the length" in told]
    [way] = [told for told in report.result(runs).sentences if "on the way" in told]
    both = "no winner between LSTM with attention, 27.0 (26.5–27.5) and Transformer, 26.5 (26.0–27.0)"
    assert lengths.count(both) == 4
    assert way.count(both) == 3
    assert "(3 seeds)" in lengths


def test_accuracy_does_with_what_is_there() -> None:
    one = accuracy_run("translate", "attention", "short", 1)
    part = report.result({"a": one})
    assert len(part.tables) == 2
    assert "Transformer" in plain(part)
    assert part.answer == ("Translation, BLEU on the test after 15 CPU-minutes: Transformer 21.1.",)  # alone
    assert report.result({}) == Part("accuracy", (), (), (), ())


def test_curves_meet_in_time() -> None:
    two = [accuracy_run("translate", "lstm", "short", seed) for seed in (1, 2)]
    two[1]["curve"] = [{"CPU seconds": 500.0, "BLEU": 3.0}]
    assert curves.times(two) == [500.0]
    assert curves.times([two[0]], points=3) == [300.0, 600.0, 900.0]
    assert curves.over(two, 1e9, "BLEU") == Spread((7.125, 3.0))
    assert isinstance(curves.line(two, "BLEU"), Line)
    alone = curves.line(two[:1], "BLEU")  # as it was evaluated, nothing between
    assert (alone.x, alone.y[-1]) == ((5.0, 10.0, 15.0), 7.125)


def head(layer: int, number: int, row: str, rate: float) -> dict[str, Any]:
    scores = {"links": 97, "sure": 53, "precision": 1 - rate, "recall": 0.5, "error rate": rate}
    return {"layer": layer, "head": number, "row": row, "valid": scores, "test": scores}


def test_alignment_names_the_best_head_and_the_aligner() -> None:
    heads = [
        head(layer, number, row, 0.9 - 0.1 * layer - 0.02 * number - 0.01 * (row == "has read"))
        for layer, number, row in product(range(2), range(3), ("predicts", "has read"))
    ]
    runs = {
        "t": {
            "rival": "attention",
            "label": "Transformer",
            "CPU seconds": 60.0,
            "parameters": 10_007,
            "curve": [{"BLEU": 7.5}, {"BLEU": 9.25}, {"BLEU": 8.0}],
            "verses": {"valid": 53, "test": 101},
            "heads": heads,
            "chosen": {
                "heads": [[1, 2]],
                "test": dict.fromkeys(("predicts", "has read"), heads[0]["test"]),
            },
        },
        "a": {
            "aligner": "eflomal",
            "label": "eflomal",
            "CPU seconds": 30.0,
            "verses": {"all": 1009, "test": 101},
            "links": 7001,
            "test": {
                way: heads[0]["test"] | {"error rate": rate}
                for way, rate in (("joined", 0.4), ("to target", 0.3))
            },
        },
    }
    part = alignment_report.result(json.loads(json.dumps(runs)))
    told = plain(part)
    assert (
        "Transformer: layer 1 head 2, by the row that has read the word, has the lowest error rate on the 53 verses "
        "for validation, of 6 heads by 2 rows; on the test 75.0%"
    ) in told
    assert "none is lower on the test" in told
    assert "the best of the aligners' 2 ways: Transformer, best head 75.0%, eflomal, to target 30.0%" in told
    assert "the last of the aligners' 2 ways: Transformer, best head 75.0%, eflomal, joined 40.0%" in told
    assert [sentence for sentence in part.sentences if "to target is ahead by 45.0" in sentence] == [
        *part.answer
    ]
    assert [row[0] for row in part.tables[0].rows[:2]] == ["eflomal, to target", "eflomal, joined"]
    assert part.tables[0].rows[0][-3:] == (0.5, None, None)
    assert part.tables[0].rows[2] == ("Transformer, best head", 0.25, 0.5, 0.75, 1.0, 10_007, 9.25)
    assert "The best of the 2 is named by the same links that judge it" in " ".join(part.method)
    assert part.pictures[0].title == "Transformer: every head's error rate"
    assert len(part.tables[1].rows) == 6
    assert "7,001 phrases" in " ".join(part.method)
    # The head is chosen on other verses, whatever the test says of it.
    heads[0]["test"] = heads[0]["test"] | {"error rate": 0.1}
    assert "on the test 75.0%" in (told := plain(alignment_report.result(runs)))
    assert "the lowest of all on the test is 10.0%" in told
    assert alignment_report.result({"a": json.loads(json.dumps(runs["a"]))}).pictures == ()

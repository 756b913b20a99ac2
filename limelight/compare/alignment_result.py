"""What alignment gave: tables, pictures and sentences, from the runs' dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limelight.compare.plan import Cell, Grid, Part, Picture, Spread, Table
from limelight.compare.sentences import against, best
from limelight.readings.reading import name_heads

Run = Mapping[str, Any]
MEASURES = ("precision", "recall", "error rate")
READ = {"predicts": "the row that predicts it", "has read": "the row that has read it"}
"""Which row of the cross-attention is a word's, in words."""


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    aligners = [run for run in results.values() if "aligner" in run]
    translators = [run for run in results.values() if "heads" in run]
    methods = _methods(aligners, translators)
    compared = tuple(_compared(methods, aligners, translators))
    return Part(
        "alignment",
        (*map(_best_head, translators), *compared),
        (*([_overview(methods)] if methods else []), *(_heads(run) for run in translators)),
        tuple(_picture(run) for run in translators),
        _method(aligners, translators),
        compared,
    )


def chosen_head(run: Run) -> Mapping[str, Any]:
    """The head and row with the lowest error rate on the verses held out for validation."""
    head: Mapping[str, Any] = min(run["heads"], key=lambda head: head["valid"]["error rate"])
    return head


def _methods(
    aligners: Sequence[Run], translators: Sequence[Run]
) -> dict[str, tuple[Mapping[str, float], float]]:
    """Each method's scores on the test, and its processor time."""
    found: dict[str, tuple[Mapping[str, float], float]] = {}
    for run in aligners:
        for way, scores in run["test"].items():
            found[f"{run['label']}, {way}"] = scores, run["CPU seconds"]
    for run in translators:
        found[f"{run['label']}, best head"] = chosen_head(run)["test"], run["CPU seconds"]
        for row, scores in run["chosen"]["test"].items():
            found[f"{run['label']}, heads chosen without links, {READ[row]}"] = scores, run["CPU seconds"]
    return found


# ---- sentences ----------------------------------------------------------------------------------------


def _best_head(run: Run) -> str:
    head = chosen_head(run)
    scores = head["test"]
    return (
        f"{run['label']}: of all heads {name_heads([(head['layer'], head['head'])])}, by {READ[head['row']]}, "
        f"has the lowest error rate on other verses; on the test {scores['error rate']:.1%}, with a precision of "
        f"{scores['precision']:.1%} and a recall of {scores['recall']:.1%}."
    )


def _compared(
    methods: Mapping[str, tuple[Mapping[str, float], float]],
    aligners: Sequence[Run],
    translators: Sequence[Run],
) -> list[str]:
    """The best head against the best aligner, and against the other translator's."""
    rates = {name: Spread((scores["error rate"],)) for name, (scores, _) in methods.items()}
    statistical = {
        name: rates[name]
        for name in rates
        if any(name == f"{r['label']}, {w}" for r in aligners for w in r["test"])
    }
    heads = {f"{run['label']}, best head": rates[f"{run['label']}, best head"] for run in translators}
    told = []
    if heads and statistical:
        first, second = best(heads, higher=False), best(statistical, higher=False)
        told.append(against("Error rate of the alignment", rates, first, second, ".1%", higher=False))
    if len(heads) > 1:
        first, second = sorted(heads, key=lambda name: heads[name].mean)[:2]
        told.append(against("Error rate of the alignment", rates, first, second, ".1%", higher=False))
    return told


# ---- tables and pictures --------------------------------------------------------------------------------


def _overview(methods: Mapping[str, tuple[Mapping[str, float], float]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, *(scores[measure] for measure in MEASURES), seconds / 60)
        for name, (scores, seconds) in sorted(methods.items(), key=lambda each: each[1][0]["error rate"])
    ]
    return Table(
        "Word alignment, the lowest error rate first",
        ("method", *MEASURES, "CPU minutes"),
        tuple(rows),
        ("", ".1%", ".1%", ".1%", ".1f"),
        "A translator's minutes are those of its training to translate; it was never told of a word.",
    )


def _heads(run: Run) -> Table:
    rows: dict[tuple[int, int], list[Cell]] = {}
    for head in run["heads"]:
        rows.setdefault((head["layer"], head["head"]), []).extend(
            head["test"][measure] for measure in MEASURES
        )
    names = tuple(dict.fromkeys(head["row"] for head in run["heads"]))
    columns = tuple(f"{measure}, {row}" for row in names for measure in MEASURES)
    return Table(
        f"{run['label']}: every head of the cross-attention",
        ("layer", "head", *columns),
        tuple((layer, head, *cells) for (layer, head), cells in rows.items()),
        ("d", "d", *[".1%"] * len(columns)),
        f"Counted from 0. Predicts: {READ['predicts']}; has read: {READ['has read']}.",
    )


def _picture(run: Run) -> Picture:
    layers = sorted({head["layer"] for head in run["heads"]})
    heads = sorted({head["head"] for head in run["heads"]})
    rates = {(each["row"], each["layer"], each["head"]): each["test"]["error rate"] for each in run["heads"]}
    panels = tuple(
        Grid(
            words,
            "head",
            "layer",
            tuple(map(str, heads)),
            tuple(map(str, layers)),
            tuple(tuple(rates.get((row, layer, head)) for head in heads) for layer in layers),
            "alignment error rate",
        )
        for row, words in READ.items()
    )
    caption = f"{run['label']}: alignment error rate of every head on the test, in percent; less is better."
    return Picture(f"alignment-{run['rival']}", run["label"], panels, caption)


def _method(aligners: Sequence[Run], translators: Sequence[Run]) -> tuple[str, ...]:
    told = [
        "The links are people's: phrases of the King James Bible and of the Reina-Valera of 1909 that carry the same "
        "Strong's number, which stands once in the verse on either side. One word linked to one word is sure, all "
        "words of two linked phrases are possible (Och and Ney 2003); nothing but these judges.",
    ]
    if aligners:
        verses, links = aligners[0]["verses"], aligners[0]["links"]
        told.append(
            f"{links:,} phrases are linked in {verses['all']:,} verses, of which {verses['test']:,}, in chapters of "
            f"their own, are the test, with {next(iter(aligners[0]['test'].values()))['sure']:,} sure links. An "
            "aligner learns from all verses without their links, the test's too, as is usual."
        )
    if translators:
        told.append(
            "A translator learns at the rate that the search for accuracy found for translation, and has not seen "
            "the test. It is made to write the translation that is there, and each of its words is linked to the "
            "source word that a head attends to most. The best head is chosen on the verses for validation; the "
            "heads chosen without links are those that Limelight aligns with by itself."
        )
    return tuple(told)

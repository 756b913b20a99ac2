"""What alignment gave: tables, pictures and sentences, from the runs' dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.common.plan import Cell, Grid, Part, Picture, Spread, Table
from experiments.common.run_kinds import of_kind
from experiments.common.sentences import against
from limelight.readings.reading import name_heads

Run = Mapping[str, Any]
Scores = Mapping[str, float]
MEASURES = ("precision", "recall", "error rate")
READ = {"predicts": "the row that predicts the word", "has read": "the row that has read the word"}
"""Which row of the cross-attention is a word's, in words."""


@dataclass(frozen=True)
class Method:
    """One way to link words, and how right it is on the test.

    kind  "aligner" (one for each way of it), "best head", or "without links"
    """

    kind: str
    name: str
    run: Run
    scores: Scores

    @property
    def rate(self) -> float:
        return self.scores["error rate"]


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    aligners, translators = (of_kind(each, results.values()) for each in ("aligner", "translator"))
    methods = sorted(_methods(aligners, translators), key=lambda each: each.rate)
    over_aligners, over_heads = _over_aligners(methods), _over_heads(methods)
    return Part(
        "alignment",
        (*map(_best_head, translators), *over_aligners, *over_heads),
        (*([_overview(methods)] if methods else []), *(_heads(run) for run in translators)),
        tuple(_picture(run) for run in translators),
        _method(aligners, translators),
        (*over_aligners[:1], *over_heads),
    )


def chosen_head(run: Run) -> Mapping[str, Any]:
    """The head and row with the lowest error rate on the verses held out for validation."""
    head: Mapping[str, Any] = min(run["heads"], key=lambda head: head["valid"]["error rate"])
    return head


def _methods(aligners: Sequence[Run], translators: Sequence[Run]) -> list[Method]:
    found = [
        Method("aligner", f"{run['label']}, {way}", run, scores)
        for run in aligners
        for way, scores in run["test"].items()
    ]
    for run in translators:
        found.append(Method("best head", f"{run['label']}, best head", run, chosen_head(run)["test"]))
        found += [
            Method("without links", f"{run['label']}, heads chosen without links, {READ[row]}", run, scores)
            for row, scores in run["chosen"]["test"].items()
        ]
    return found


# ---- sentences ----------------------------------------------------------------------------------------


def _best_head(run: Run) -> str:
    """How the head was chosen, and what it is worth on the test."""
    head, lowest = chosen_head(run), min(each["test"]["error rate"] for each in run["heads"])
    name, scores = name_heads([(head["layer"], head["head"])]), head["test"]
    below = f"the lowest of all on the test is {lowest:.1%}"
    if scores["error rate"] == lowest:
        below = "none is lower on the test"
    return (
        f"{run['label']}: {name}, by {READ[head['row']]}, has the lowest error rate on the "
        f"{run['verses']['valid']:,} verses for validation, of {_choices(run)}; on the test "
        f"{scores['error rate']:.1%}, with a precision of {scores['precision']:.1%} and a recall of "
        f"{scores['recall']:.1%}; {below}."
    )


def _choices(run: Run) -> str:
    """What a head was chosen of."""
    heads = len({(head["layer"], head["head"]) for head in run["heads"]})
    rows = len({head["row"] for head in run["heads"]})
    return f"{heads} {'head' if heads == 1 else 'heads'} by {rows} {'row' if rows == 1 else 'rows'}"


def _over_aligners(methods: Sequence[Method]) -> list[str]:
    """The best head against the best way of the aligners, and against their last: the test's links rank them."""
    heads, ways = _of("best head", methods), _of("aligner", methods)
    if not heads or not ways:
        return []
    best = f"the best head and the best of the aligners' {len(ways)} ways"
    last = f"the best head and the last of the aligners' {len(ways)} ways"
    return [
        _compared(best, heads[0], ways[0]),
        *([_compared(last, heads[0], ways[-1])] if len(ways) > 1 else []),
    ]


def _over_heads(methods: Sequence[Method]) -> list[str]:
    """The best head against the other translator's."""
    heads = _of("best head", methods)
    return [_compared("the translators", *heads[:2])] if len(heads) > 1 else []


def _of(kind: str, methods: Sequence[Method]) -> list[Method]:
    return [each for each in methods if each.kind == kind]


def _compared(what: str, one: Method, other: Method) -> str:
    rates = {each.name: Spread((each.rate,)) for each in (one, other)}
    return against(f"Error rate of the alignment, {what}", rates, one.name, other.name, ".1%", higher=False)


# ---- tables and pictures --------------------------------------------------------------------------------


def _overview(methods: Sequence[Method]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            each.name,
            *(each.scores[measure] for measure in MEASURES),
            each.run["CPU seconds"] / 60,
            each.run.get("parameters"),
            max((record["BLEU"] for record in each.run.get("curve", ())), default=None),
        )
        for each in methods
    ]
    return Table(
        "Word alignment, the lowest error rate first",
        ("method", *MEASURES, "CPU minutes", "parameters", "BLEU"),
        tuple(rows),
        ("", ".1%", ".1%", ".1%", ".1f", ",d", ".1f"),
        "A translator's minutes are those of its training to translate; it was never told of a word. BLEU is its "
        "best on held-out verses while it learned: the weights of that evaluation are the ones that align.",
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
    title = f"{run['label']}: every head's error rate"
    return Picture(f"alignment-{run['rival']}", title, panels, caption)


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
        ways = list(dict.fromkeys(way for run in aligners for way in run["test"]))
        several = sum(len(run["test"]) for run in aligners)
        told.append(
            f"An aligner links in several ways ({', '.join(ways)}). The best of the {several} is named by the same "
            "links that judge it: what is kept are counts over all verses, so none can be set aside to choose by. "
            "The last of them is compared too."
        )
    if translators:
        told.append(
            "A translator learns at the rate that the search for accuracy found for translation, and has not seen "
            "the test. It is made to write the translation that is there, and each of its words is linked to the "
            "source word that a head attends to most. Each translator's best head is chosen by the links of the "
            "verses for validation; the heads chosen without links are those that Limelight aligns with by itself."
        )
    return tuple(told)

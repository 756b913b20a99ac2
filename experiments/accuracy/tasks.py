"""The two tasks on which accuracy is compared, who takes part, and how their answers are judged, by length.

    lstm       recurrence without attention: all the decoder knows of the source is one state
    luong      recurrence with attention (Luong et al. 2015)
    attention  attention alone: the Transformer, with rotary positions

All have as many parameters, the same tokenizers and the same embeddings; recurrence has `RECURRENT_LAYERS` on
either side and is as wide as the parameters allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.common.contenders import Rival, as_large, parameters
from limelight.errors import InputError
from limelight.modules.model_io import SavedModel, architecture, build
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import TransformerConfig
from limelight.recipes.metrics import (
    bleu,
    bleu_chance,
    chrf,
    pronunciation_errors,
    references_of,
)
from limelight.recipes.recipe import load_recipe
from limelight.recipes.task import TASKS, PairTask, Rows

LABELS = {"lstm": "LSTM without attention", "luong": "LSTM with attention", "attention": "Transformer"}
"""The rivals' names, from the oldest to the youngest."""
RECURRENT_LAYERS = 2
EVALUATIONS = {"short": 12, "long": 40}
PATIENCE = {"short": 0, "long": 6}
"""The long run's rate falls after so many evaluations that were no better; the short one's when time is up."""
CHANCE = "{} by chance"
"""A measure's half-width over other test sources, where only the answers can say it."""


@dataclass(frozen=True)
class Contest:
    """One task.

    recipe     whose text and search are taken
    folder     where its rows are, below that of all data
    reference  the Transformer whose parameters all have
    tokens     a batch's
    judged     held-out sources that are judged on the way
    lengths    where the classes of length begin, in `unit`s of the source
    score      the measure that the learning curves show, and whether more of it is better
    long       the share of the time of a run to convergence that it has
    """

    recipe: str
    folder: str
    reference: TransformerConfig
    tokens: int
    judged: int
    lengths: tuple[int, ...]
    unit: str
    score: str
    higher: bool
    long: float = 1.0

    def length(self, source: str) -> int:
        """How many letters or words a source has."""
        return len(source) if self.unit == "letters" else len(source.split())

    def measures(self, answers: Sequence[str], references: Sequence[list[str]]) -> dict[str, float]:
        """The task's measures of some answers; where there are none, only that."""
        if not answers:
            return {"sources": 0}
        if self.recipe == "pronounce":
            wer, per = pronunciation_errors(answers, references)
            return {"sources": len(answers), "word error rate": wer, "phoneme error rate": per}
        first = [each[0] for each in references]
        return {
            "sources": len(answers),
            "BLEU": bleu(answers, first),
            "chrF": chrf(answers, first),
            CHANCE.format("BLEU"): bleu_chance(answers, first),
        }


CONTESTS = {
    "pronounce": Contest(
        "pronounce",
        "pronounce",
        TransformerConfig(128, 4, 512, 3, 3),
        tokens=1400,
        judged=1000,
        lengths=(1, 6, 9, 12),
        unit="letters",
        score="word error rate",
        higher=False,
    ),
    "translate": Contest(
        "translate",
        "translate-en-de",
        TransformerConfig(256, 4, 1024, 2, 2),
        tokens=1200,
        judged=300,
        lengths=(1, 6, 11, 21),
        unit="words",
        score="BLEU",
        higher=True,
        long=0.8,  # its three runs fit in three hours of two cores
    ),
}


def rivals(
    contest: Contest, sources: int, targets: int, shared: bool, dropout: float = 0.0
) -> dict[str, Rival]:
    """Attention, and recurrence with and without it, for vocabularies of these sizes."""
    make = maker(sources, targets, shared)
    reference = replace(contest.reference, dropout=dropout)
    wanted = parameters(make, reference)
    plain = RecurrentConfig(encoder_layers=RECURRENT_LAYERS, decoder_layers=RECURRENT_LAYERS, dropout=dropout)
    shapes: dict[str, TransformerConfig | RecurrentConfig] = {
        "lstm": as_large(make, plain, wanted),
        "luong": as_large(make, replace(plain, attention="luong"), wanted),
        "attention": reference,
    }
    return {name: Rival(name, LABELS[name], shape) for name, shape in shapes.items()}


def maker(sources: int, targets: int, shared: bool) -> Callable[[Any], nn.Module]:
    """What builds an encoder-decoder of any shape for these vocabularies."""
    return lambda shape: build(architecture("pairs", shape), shape, sources, targets, shared, 0)


def entered(contest: Contest, rows: Rows, rival: str, seed: int, dropout: float) -> SavedModel:
    """A fresh model of this rival, with tokenizers for these training rows.

    Raises InputError for a rival that does not take part.
    """
    if rival not in LABELS:
        raise InputError(f"rival must be one of {', '.join(LABELS)}; got {rival!r}.")
    saved = job_of(contest).new(rows)
    sizes = len(saved.source), len(saved.target), saved.shared
    torch.manual_seed(seed)
    model = maker(*sizes)(rivals(contest, *sizes, dropout)[rival].shape)
    return replace(saved, model=model)


def job_of(contest: Contest) -> PairTask:
    """The contest's recipe, bound to what it needs."""
    recipe = load_recipe(contest.recipe)
    task = TASKS[recipe.task](replace(recipe, model=contest.reference))
    assert isinstance(task, PairTask)
    return task


def spread_over(rows: Rows, sources: int) -> Rows:
    """About so many of the sources, evenly spread over the rows, with all their targets.

    >>> spread_over([("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("d", "5")], 2)
    [('a', '1'), ('a', '2'), ('c', '4')]
    """
    every = list(dict.fromkeys(source for source, _ in rows))
    kept = set(every[:: max(1, len(every) // sources)][:sources])
    return [row for row in rows if row[0] in kept]


def scored(contest: Contest, data: Path, answered: dict[str, str]) -> dict[str, Any]:
    """The answers to the test's sources, judged as a whole, without what training resembles, and by length."""
    task, folder = job_of(contest), data / contest.folder
    references = references_of(task.read(folder, "test"))

    def on(taken: Callable[[str], bool]) -> dict[str, float]:
        some = [source for source in references if taken(source)]
        return contest.measures([answered[each] for each in some], [references[each] for each in some])

    found: dict[str, Any] = {"test": on(lambda source: True)}
    if (folder / "test-clean.tsv").is_file():
        found["clean"] = on({source for source, _ in task.read(folder, "test-clean")}.__contains__)
    ends: list[int | None] = [*(least - 1 for least in contest.lengths[1:]), None]
    found["by length"] = [
        {"from": least, "to": most} | on(partial(_within, contest, least, most))
        for least, most in zip(contest.lengths, ends, strict=True)
    ]
    return found


def _within(contest: Contest, least: int, most: int | None, source: str) -> bool:
    length = contest.length(source)
    return length >= least and (most is None or length <= most)

"""Alignment: does the attention between two languages find the links that people set?

A translator learns from one Bible to the other, nobody tells it of words. Then it is given verses with their
translation, and for every target word the source word is taken that a head attends to most. gold.py judges
these links, head by head; beside them stand statistical aligners (aligners.py), which do nothing else.

Row i of the cross-attention predicts target token i, and row i + 1 has read it; both are judged (the second is
the better one in some layers: Chen et al. 2020, arXiv:2004.14837). The head to name is chosen on the verses held
out for validation, and judged on those of the test.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from torch import Tensor

from experiments.accuracy.tasks import LABELS, Contest, entered, job_of, spread_over
from experiments.alignment.aligners import MODELS, aligned
from experiments.alignment.gold import Gold, Link, Score, gold, score
from experiments.alignment.report import result
from experiments.common.plan import Options
from experiments.common.runner import Run, tell
from experiments.common.search import found
from experiments.common.timed_training import curve, train_for
from experiments.data.bibles import LinkedVerse, read_links
from limelight.looking.look import word_groups
from limelight.modules.model_io import SavedModel, save_model
from limelight.modules.transformer import TransformerConfig
from limelight.predicting.predictor import Prediction, Predictor
from limelight.readings.alignment_heads import Example, choose_heads
from limelight.readings.reading import Head
from limelight.readings.words import pooled
from limelight.text.segmentation import Span, words
from limelight.text.segments import Segments
from limelight.training.loop import TrainConfig

__all__ = ["align", "measure", "plan", "result"]

SECONDS = 1800.0
"""Processor time of a translator's training."""
CONTEST = Contest(
    recipe="translate",
    folder="bible-en-es",
    reference=TransformerConfig(256, 4, 1024, 3, 3),
    tokens=1200,
    judged=100,
    lengths=(1, 21),
    unit="words",
    score="BLEU",
    higher=True,
)
RATES = {"luong": 1e-3, "attention": 1.5e-3}
"""The two rivals that have anything to align with, and the rates that they learn at where nothing was found for the
translation of accuracy/experiment.py, which is the same network but for a layer."""
ROWS = ("predicts", "has read")
"""Which row of the cross-attention is a target token's."""
TRAINING = TrainConfig(
    steps=1,
    warmup=500,
    smoothing=0.1,
    weight_decay=0.01,
    average=0.999,
    precision="auto",
    checkpoint_every=200,
)
DROPOUT = 0.15
TRAINED = 0.9


def plan(options: Options) -> list[Run]:
    """One translator of each kind with attention, and the aligners."""
    seconds = options.seconds or SECONDS
    translators = [
        Run(
            f"alignment-{rival}",
            "experiments.alignment.experiment:measure",
            {
                "rival": rival,
                "data": options.data,
                "seconds": seconds,
                "rate": float(found("accuracy", f"translate/{rival}").get("rate", rate)),
            },
        )
        for rival, rate in RATES.items()
    ]
    aligners = [
        Run(
            f"alignment-{name}",
            "experiments.alignment.experiment:align",
            {"name": name, "data": options.data},
        )
        for name in MODELS
    ]
    return [*aligners, *translators]


def measure(folder: Path, rival: str, data: str, seconds: float, rate: float) -> dict[str, Any]:
    """Train one translator for so many processor seconds, keep it in `model`, and judge all of its heads."""
    job, corpus = job_of(CONTEST), Path(data) / CONTEST.folder
    rows, held_out = job.read(corpus, "train"), spread_over(job.read(corpus, "valid"), CONTEST.judged)
    saved = entered(CONTEST, rows, rival, 1, DROPOUT)
    settings = replace(TRAINING, tokens=CONTEST.tokens, rate=rate)
    timed = train_for(
        seconds,
        saved.model,
        job.examples(saved, rows),
        settings,
        folder,
        lambda model: job.judge(replace(saved, model=model), held_out),
        evaluations=6,
        share=TRAINED,
    )
    trained = replace(saved, model=timed.outcome.model.eval())
    save_model(trained, folder / "model")
    tell(folder, TRAINED, "aligning")
    verses = {part: read_links(corpus / f"links-{part}.jsonl") for part in ("valid", "test")}
    forced = {part: list(force(trained, some)) for part, some in verses.items()}
    chosen = without_links(trained, verses["valid"])
    return {
        "rival": rival,
        "label": LABELS[rival],
        "rate": rate,
        "shape": asdict(saved.model.shape),  # type: ignore[call-overload]
        "parameters": saved.parameters,
        "updates": timed.outcome.progress.step,
        "CPU seconds": timed.seconds,
        "curve": curve(folder),
        "verses": {part: len(some) for part, some in verses.items()},
        "heads": judged_heads(forced),
        "chosen": {
            "heads": [list(head) for head in chosen],
            "test": {row: of_heads(forced["test"], chosen, row).to_json() for row in ROWS},
        },
    }


def align(folder: Path, name: str, data: str) -> dict[str, Any]:
    """Let a statistical aligner learn from all verses, without any link, and judge it on the test."""
    corpus = Path(data) / CONTEST.folder
    parts = {part: read_links(corpus / f"links-{part}.jsonl") for part in ("train", "valid", "test")}
    verses = [verse for part in parts.values() for verse in part]
    start = time.process_time()
    links = aligned(
        name,
        [(_names(verse.source.text), _names(verse.target.text)) for verse in verses],
        range(len(verses) - len(parts["test"]), len(verses)),
        lambda share: tell(folder, share, "learning"),
    )
    spent = time.process_time() - start
    golds = [gold(verse, words(verse.target.text), words(verse.source.text)) for verse in parts["test"]]
    return {
        "aligner": name,
        "label": name,
        "CPU seconds": spent,
        "verses": {"all": len(verses), "test": len(golds)},
        "links": sum(len(verse.links) for verse in verses),
        "test": {way: sum(map(score, each, golds), Score()).to_json() for way, each in links.items()},
    }


def _names(text: str) -> list[str]:
    return [text[start:end].lower() for start, end in words(text)]


# ---- what a translator's heads link ---------------------------------------------------------------------


@dataclass(frozen=True)
class Forced:
    """A verse with the translation that the model was made to write.

    words_HPQ  for each row of `ROWS`: how much each target word attends to each source word, head by head
    """

    gold: Gold
    heads: tuple[Head, ...]
    words_HPQ: dict[str, Tensor]


def judged_heads(forced: Mapping[str, Sequence[Forced]]) -> list[dict[str, Any]]:
    """Every head by both rows: its scores on either part."""
    [first, *_] = forced["test"]
    return [
        {"layer": head[0], "head": head[1], "row": row}
        | {part: of_heads(some, [head], row).to_json() for part, some in forced.items()}
        for head, row in product(first.heads, ROWS)
    ]


def of_heads(forced: Sequence[Forced], heads: Sequence[Head], row: str) -> Score:
    """How right the links of these heads' mean are."""
    total = Score()
    for each in forced:
        numbers = [each.heads.index(head) for head in heads]
        total += score(peaks(each.words_HPQ[row][numbers].mean(0)), each.gold)
    return total


def peaks(words_PQ: Tensor) -> list[Link]:
    """The source word that each target word attends to most; none where all of it goes to tokens of no word."""
    most, places = words_PQ.max(-1)
    return [
        (target, source)
        for target, (source, weight) in enumerate(zip(places.tolist(), most.tolist(), strict=True))
        if weight > 0
    ]


def without_links(saved: SavedModel, verses: Sequence[LinkedVerse]) -> tuple[Head, ...]:
    """The heads that Limelight aligns with where nobody has linked a word (readings/alignment_heads.py)."""
    predictor = Predictor(saved)
    examples = []
    for verse in verses:
        trace = predictor.trace(_prediction(saved, verse))
        assert trace.target is not None
        sides = word_groups(trace.target, after=1), word_groups(trace.source, after=1)
        examples.append(Example(trace.layers("cross"), *sides))
    return choose_heads(examples).heads


def force(saved: SavedModel, verses: Sequence[LinkedVerse]) -> Iterator[Forced]:
    """Make the model write each verse's translation, and read what its words attend to."""
    predictor = Predictor(saved)
    for verse in verses:
        trace = predictor.trace(_prediction(saved, verse))
        assert trace.target is not None
        source = word_groups(trace.source, after=1)
        layers = trace.layers("cross")
        predicts, heads = pooled(layers, word_groups(trace.target, after=1), source, None, 0)
        has_read, _ = pooled(layers, word_groups(trace.target, before=1), source, None, 0)
        tables = dict(zip(ROWS, (predicts[..., :-1], has_read[..., :-1]), strict=True))
        yield Forced(gold(verse, _held(trace.target), _held(trace.source)), heads, tables)


def _prediction(saved: SavedModel, verse: LinkedVerse) -> Prediction:
    source, target = verse.source.text, verse.target.text
    return Prediction(
        source, target, math.nan, saved.source.encode(source).ids, saved.target.encode(target).ids
    )


def _held(segments: Segments) -> list[Span]:
    """Where the words stand that have a token of their own, as `Groups` numbers them."""
    return [(unit.start, unit.end) for unit in segments.units("word") if unit.first_token >= 0]

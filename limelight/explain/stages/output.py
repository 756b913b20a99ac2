"""The last stages: the vector that leaves the last layer → scores → probabilities → the answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limelight.explain.explanation import TOLERANCE, Numbers, Stage, compare, number_text, table
from limelight.explain.paired_run import PairedRun
from limelight.explain.selection import Selection, written, written_id
from limelight.explain.tables import named, ranked, shapes, strip
from limelight.modules.transformer import Classifier, LanguageModel
from limelight.predicting.search import NEVER
from limelight.text.tokenizers import END

CANDIDATES = 10


def scores_of(walk: PairedRun, choice: Selection) -> tuple[Tensor, Tensor]:
    """The scores that the chosen token is drawn from, (V,) or (classes,): the model's own, and in float64."""
    if isinstance(walk.model, Classifier):
        return walk.live.output[0], walk.plain.scores[0]
    return walk.live.output[0, choice.step], walk.plain.scores[0, choice.step]


def outcome(walk: PairedRun, choice: Selection) -> tuple[list[str], int]:
    """The names of all candidates, and which of them it became."""
    if isinstance(walk.model, Classifier):
        classes = list(walk.predictor.saved.classes)
        return classes, classes.index(walk.prediction.text)
    target = walk.predictor.saved.target
    return [target.token(each) for each in range(len(target))], written_id(walk, choice.step)


def answer_stages(walk: PairedRun, choice: Selection, part: str) -> list[Stage]:
    stages = [_last_norm(walk, choice, part)] if walk.model.shape.norm == "pre" else []
    stages += [_logits(walk, choice, part), _probabilities(walk, choice, part)]
    return [*stages, _whole_answer(walk, part)]


def _last_norm(walk: PairedRun, choice: Selection, part: str) -> Stage:
    name = "encoder" if isinstance(walk.model, Classifier) else "decoder"
    row, side, run = choice.rows[name], walk.side(name), walk.run(name)
    return Stage(
        part,
        "Last norm",
        "(x − mean) / √(variance + ε) · g + b",
        "Xiong et al. 2020",
        shapes(x_BNE=run.out_BNE),
        f"Where norms stand before each sublayer, one more closes the stack. Here for {named(side.labels, row)}.",
        (strip(f"“{side.labels[row]}”", {"out": run.out_BNE[0, row]}),),
        compare(
            "the last vectors of all tokens, with the model's own",
            (walk.live.out[f"{name}.norm"], run.out_BNE),
            tolerance=TOLERANCE,
        ),
    )


def _logits(walk: PairedRun, choice: Selection, part: str) -> Stage:
    names, became = outcome(walk, choice)
    _, scores_V = scores_of(walk, choice)
    best = scores_V.topk(min(CANDIDATES, len(scores_V))).indices
    if isinstance(walk.model, Classifier):
        formula = "scores = mean(x)·Wᵀ + b"
        text = f"The mean of all {len(walk.side('encoder').ids)} last vectors gives one score a class."
    else:
        formula = "scores = x·Tableᵀ"
        text = f"The last vector meets every row of the embedding table: one score for each of {len(names)} tokens."
    text += f" Their mean is {number_text(scores_V.mean())}; “{names[became]}” has {number_text(scores_V[became])}."
    return Stage(
        part,
        "Scores of the candidates",
        formula,
        "§3.4",
        shapes(scores=walk.plain.scores),
        text,
        (
            ranked(
                f"The highest of {len(names)} scores, low to high",
                [names[int(each)] for each in best],
                {"score": scores_V[best]},
                by="score",
                marked=(best == became).nonzero().flatten().tolist(),
            ),
        ),
        compare(
            "all scores, with those of the model's own forward",
            (walk.live.output, walk.plain.scores),
            tolerance=TOLERANCE,
        ),
    )


def _probabilities(walk: PairedRun, choice: Selection, part: str) -> Stage:
    names, became = outcome(walk, choice)
    live_V, plain_V = scores_of(walk, choice)
    p_V = plain_V.softmax(-1)
    best = p_V.topk(min(CANDIDATES, len(p_V))).indices
    rank = int((p_V > p_V[became]).sum()) + 1
    if isinstance(walk.model, Classifier):
        text = f"The answer is “{names[became]}”"
    else:
        assert walk.decoder is not None
        text = f"After {named(walk.decoder.labels, choice.step)} comes “{written(walk, choice.step)}”"
    entropy = torch.special.entr(p_V).sum()
    return Stage(
        part,
        "Probabilities",
        "p = softmax(scores)",
        "§3.4",
        shapes(p_V=p_V),
        f"{text}, with the probability {number_text(p_V[became])}, rank {rank} of {len(names)}. The entropy of all "
        f"candidates is {number_text(entropy)} nats.",
        (
            ranked(
                "The likeliest candidates, low to high",
                [names[int(each)] for each in best],
                {"probability": p_V[best], "nats": p_V[best].log()},
                by="probability",
                marked=(best == became).nonzero().flatten().tolist(),
                unit="probability",
            ),
        ),
        compare(
            "all probabilities, with those of the model's own forward; and their sum, with 1",
            (live_V.softmax(-1), p_V),
            (p_V.sum(), torch.ones(())),
            tolerance=TOLERANCE,
        ),
    )


def _whole_answer(walk: PairedRun, part: str) -> Stage:
    """The log-probability of the answer, step by step, against the one that the search found with its caches."""
    found = torch.tensor(walk.prediction.log_probability)
    if isinstance(walk.model, Classifier):
        became = walk.predictor.saved.classes.index(walk.prediction.text)
        names, logs = [walk.prediction.text], walk.plain.scores[0].log_softmax(-1)[became, None]
    else:
        assert walk.decoder is not None
        first = walk.prompt if isinstance(walk.model, LanguageModel) else 0
        ids = [*walk.prediction.target_ids, *([END] if walk.prediction.complete else [])]
        scores_NV = walk.plain.scores[0].clone()
        scores_NV[:, list(NEVER)] = -math.inf
        logs_NV = scores_NV.log_softmax(-1)[first : first + len(ids)]
        logs = logs_NV[torch.arange(len(ids)), ids]
        names = [walk.predictor.saved.target.token(each) for each in ids]
    total = logs.sum()
    shown = f"“{walk.prediction.text}”" if walk.prediction.text else "an empty text"
    return Stage(
        part,
        "The whole answer",
        "ln p(y) = Σ_i ln p(y_i | y_1 … y_i−1, source)",
        "§3.1",
        (("steps", (len(names),)),),
        f"The answer is {shown}: {float(total):.5g} nats in all, a probability of {number_text(total.exp())}.",
        (
            Numbers(
                "Each step, in order",
                "bars",
                tuple(names),
                ("probability", "nats"),
                table(torch.stack((logs.exp(), logs), 1)),
                unit="probability",
            ),
        ),
        compare(
            "its log-probability, with the one that prediction found", (found, total), tolerance=TOLERANCE
        ),
    )

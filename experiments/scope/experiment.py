"""Scope: how far, and through how many records, can a network relate two tokens?

Every rival is trained on associative recall for the same processor time, on sequences of up to `LONGEST` tokens,
and then asked at every distance of `DISTANCES` among every number of records in `RECORDS`, some of them farther
than it ever was trained for. Beside the accuracy stand two numbers of the kind that the paper's Table 1 has:
how many steps lie between the two tokens, and how much of the gradient arrives. report.py tells what it gave.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.common.contenders import Rival, as_large, parameters
from experiments.common.plan import Options
from experiments.common.runner import Run, tell
from experiments.common.search import found, trial_of
from experiments.common.timed_training import curve, train_for
from experiments.scope.report import result
from experiments.scope.task import VOCABULARY, Recall, RecallExamples, recall
from limelight.modules.recurrent import RecurrentConfig, RecurrentLanguageModel
from limelight.modules.transformer import LanguageModel, TransformerConfig
from limelight.training.loop import Evaluation, TrainConfig

__all__ = ["measure", "plan", "result", "trials"]

SHORTEST, LONGEST = 16, 512
RECORDS = (1, 2, 4, 8, 12)
DISTANCES = (4, 16, 64, 256, 512, 1024, 2048, 4096)
SECONDS, TRIAL_SECONDS = 65.0, 60.0
"""Processor time of a run's training, and of a trial of the search."""
ENTRIES = 2**16
"""Tokens that are asked about for each place of the grid, and at most …"""
MOST, LEAST, AT_A_TIME = 512, 32, 2**15
"""… so many sequences where they are short, so few where they are long; tokens in one forward."""
EVALUATIONS = 12
JUDGED = (4, 12), (16, 96, 496)
"""Records and distances by which a training is judged; the longest of these texts are as long as training's."""
SEQUENCES = 2000
"""So many a second are ready to be read."""
TRAINING = TrainConfig(
    steps=1, tokens=4000, warmup=100, weight_decay=0.01, average=0.99, checkpoint_every=200
)
ATTENTION = TransformerConfig(width=64, heads=4, feed_forward=128, decoder_layers=2, dropout=0.0)
RECURRENT = RecurrentConfig(decoder_layers=2, dropout=0.0)

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
OWN: dict[str, tuple[dict[str, Any], ...]] = {
    "attention": ({"positions": "rotary"}, {"positions": "none"}, {"positions": "sinusoidal"}),
    "lstm": ({"forget_bias": 1.0}, {"forget_bias": 2.0}, {"forget_bias": 5.0}),
    "gru": ({"forget_bias": 1.0}, {"forget_bias": 2.0}, {"forget_bias": 5.0}),
}
"""What the search tries: every rate with three choices of each rival's own. Forget biases from 2 to 8 were tried
before, and 2 was best."""


def build(shape: TransformerConfig | RecurrentConfig) -> nn.Module:
    """A language model over the tokens of associative recall."""
    if isinstance(shape, RecurrentConfig):
        return RecurrentLanguageModel(shape, VOCABULARY)
    return LanguageModel(shape, VOCABULARY)


def rivals() -> list[Rival]:
    """Attention, and two kinds of recurrence with as many parameters."""
    wanted = parameters(build, ATTENTION)
    return [
        Rival("attention", "Attention", ATTENTION),
        Rival("lstm", "LSTM", as_large(build, RECURRENT, wanted)),
        Rival("gru", "GRU", as_large(build, replace(RECURRENT, cell="gru"), wanted)),
    ]


def plan(options: Options) -> list[Run]:
    """One run a rival and seed, with what the search has found for it."""
    return [
        _run(
            f"scope-{rival.name}-{seed}",
            rival.name,
            options.seconds or SECONDS,
            seed,
            _chosen(rival.name),
            True,
        )
        for seed in range(options.seeds)
        for rival in rivals()
    ]


def trials(options: Options) -> list[Run]:
    """As many for each rival: `RATES` times what stands in `OWN`."""
    return [
        _run(
            f"scope-{rival.name}-trial-{number}",
            rival.name,
            options.seconds or TRIAL_SECONDS,
            1000,
            choice,
            False,
        )
        for rival in rivals()
        for number, choice in enumerate(
            {"rate": rate, **own} for rate, own in product(RATES, OWN[rival.name])
        )
    ]


def _chosen(rival: str) -> dict[str, Any]:
    return found("scope", rival) or {"rate": RATES[1], **OWN[rival][0]}


def _run(name: str, rival: str, seconds: float, seed: int, choice: dict[str, Any], ask: bool) -> Run:
    options = {"rival": rival, "seconds": seconds, "seed": seed, "choice": choice, "ask": ask}
    return Run(name, "experiments.scope.experiment:measure", options)


def measure(
    folder: Path, rival: str, seconds: float, seed: int, choice: dict[str, Any], ask: bool
) -> dict[str, Any]:
    """Train one rival for so many seconds of processor time and, with `ask`, ask it everywhere on the grid; without
    it this is a trial."""
    chosen = {each.name: each for each in rivals()}[rival]
    train = partial(_trained, folder, chosen, seconds, seed, choice, ask)
    return train() if ask else trial_of(rival, chosen.label, choice, train)


def _trained(
    folder: Path, chosen: Rival, seconds: float, seed: int, choice: dict[str, Any], ask: bool
) -> dict[str, Any]:
    own = {word: value for word, value in choice.items() if word != "rate"}
    shape: Any = replace(chosen.shape, **own)
    torch.manual_seed(seed)
    model = build(shape)
    fresh = deepcopy(model)
    settings = replace(TRAINING, rate=choice["rate"], seed=seed)
    share = 0.7 if ask else 1.0  # of the work; asking takes the rest
    timed = train_for(
        seconds, model, _examples(seconds, seed), settings, folder, evaluated, EVALUATIONS, share=share
    )
    progress, trained = timed.outcome.progress, timed.outcome.model.eval()
    measured = {
        "rival": chosen.name,
        "label": chosen.label,
        "seed": seed,
        "choice": choice,
        "shape": asdict(shape),
        "parameters": parameters(build, shape),
        "updates": progress.step,
        "epochs": progress.epoch,
        "questions": progress.tokens,
        "CPU seconds": timed.seconds,
        "score": progress.best_score,
        "judged": {"records": JUDGED[0], "distances": JUDGED[1]},
        "curve": [{name: record[name] for name in ("CPU seconds", "accuracy")} for record in curve(folder)],
    }
    if not ask:
        return measured
    grid = []
    for place, (records, distance) in enumerate(product(RECORDS, DISTANCES)):
        tell(folder, share + (1 - share) * place / (len(RECORDS) * len(DISTANCES)), f"asking at {distance:,}")
        right, asked = accuracy(trained, records, distance, seed)
        grid.append({"records": records, "distance": distance, "accuracy": right, "asked": asked})
    shares = {"fresh": gradients(fresh), "trained": gradients(trained)}
    return measured | {"longest": LONGEST, "grid": grid, "gradients": shares}


def _examples(seconds: float, seed: int) -> RecallExamples:
    """More sequences than a run of so many seconds reads on today's machines."""
    return RecallExamples(4096 + int(SEQUENCES * seconds), SHORTEST, LONGEST, max(RECORDS), seed)


def asked_at(count: int, records: int, distance: int, generator: torch.Generator) -> Recall:
    """The test: one question, its record `distance` tokens before, and a little room before that for others."""
    return recall(count, distance + 1 + max(records, 8), records, generator, distance)


@torch.no_grad()
def accuracy(model: nn.Module, records: int, distance: int, seed: int) -> tuple[float, int]:
    """The share of right answers, and how many were asked."""
    count = max(LEAST, min(MOST, ENTRIES // distance))
    own = 7919 + 2**20 * seed + 64 * distance + records  # questions of its own for every seed and place
    one = asked_at(count, records, distance, torch.Generator().manual_seed(own))
    answers = torch.cat([scores.argmax(-1) for scores in _answers(model, one)])
    return float((answers == one.answers_B).float().mean()), count


def _answers(model: nn.Module, one: Recall) -> list[Tensor]:
    """The scores at the last token, some sequences at a time."""
    return [model(ids)[:, -1] for ids in one.ids_BN.split(max(1, AT_A_TIME // one.ids_BN.shape[1]))]


@torch.no_grad()
def evaluated(model: nn.Module) -> Evaluation:
    """How a training is judged: over distances and records that it is trained on, with questions of their own.

    The score is minus the loss, in nats, since near chance it tells more than the share of right answers.
    """
    right, nats = [], []
    for records, distance in product(*JUDGED):
        one = asked_at(64, records, distance, torch.Generator().manual_seed(104_729 + distance + records))
        scores = torch.cat(_answers(model, one))
        right.append(float((scores.argmax(-1) == one.answers_B).float().mean()))
        nats.append(float(cross_entropy(scores, one.answers_B)))
    score = -math.fsum(nats) / len(nats)
    return Evaluation({"accuracy": math.fsum(right) / len(right), "nats": -score}, score)


def gradients(model: nn.Module) -> list[dict[str, float]]:
    """How much of the answer's gradient arrives at the record: its norm, relative to that at the question itself.

    Mean over some sequences with one record, in float64, so that little is not nothing.
    """
    exact = deepcopy(model).double()
    counts = {distance: max(1, min(8, DISTANCES[-1] // distance)) for distance in DISTANCES}
    return [{"distance": d, "share": _arrives(exact, d, count)} for d, count in counts.items()]


def _arrives(model: nn.Module, distance: int, count: int) -> float:
    one = asked_at(count, 1, distance, torch.Generator().manual_seed(distance))
    embedding = next(module for module in model.modules() if isinstance(module, nn.Embedding))
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: Any, out: Tensor) -> None:
        out.retain_grad()
        kept.append(out)

    with embedding.register_forward_hook(keep):
        scores = model(one.ids_BN)[:, -1].log_softmax(-1)
    scores.gather(1, one.answers_B[:, None]).sum().backward()
    model.zero_grad()
    assert kept[0].grad is not None
    norms_BN = kept[0].grad.norm(dim=-1)
    return float((norms_BN[:, -1 - distance] / norms_BN[:, -1]).mean())

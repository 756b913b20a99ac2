"""Scope: how far, and through how many records, can a network relate two tokens?

Every rival is trained on associative recall for the same processor time, on sequences of up to `LONGEST` tokens,
and then asked at every distance of `DISTANCES` among every number of records in `RECORDS`, most of them farther
than it ever was trained for. Beside the accuracy stand two numbers of the kind that the paper's Table 1 has:
how many steps lie between the two tokens, and how much of the gradient arrives.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limelight.compare.budget import updates_within
from limelight.compare.recall import VALUES, VOCABULARY, Recall, RecallExamples, recall
from limelight.compare.rivals import Rival, as_large, parameters
from limelight.compare.runs import Run, StatusReporter, tell
from limelight.modules.recurrent import Recurrence, RecurrentLanguageModel
from limelight.modules.transformer import LanguageModel, Shape
from limelight.training.loop import Evaluation, Settings, train

SHORTEST, LONGEST = 16, 512
RECORDS = (1, 2, 4, 8, 12)
DISTANCES = (4, 16, 64, 256, 512, 1024, 2048, 4096)
CHANCE = 1 / VALUES
ENTRIES = 2**18
"""Tokens that are measured at a time and for each place of the grid."""
MOST, LEAST = 512, 64
"""Sequences a place of the grid: so many where they are short, so few where they are long."""
TRAINING = Settings(
    steps=1, tokens=4000, rate=3e-3, warmup=100, schedule="cosine", weight_decay=0.01, average=0.99
)
ATTENTION = Shape(width=64, heads=4, feed_forward=128, decoder_layers=2, positions="rotary", dropout=0.0)


def build(shape: Shape | Recurrence) -> nn.Module:
    """A language model over the tokens of associative recall."""
    if isinstance(shape, Recurrence):
        return RecurrentLanguageModel(shape, VOCABULARY)
    return LanguageModel(shape, VOCABULARY)


def rivals() -> list[Rival]:
    """Attention, and two kinds of recurrence with as many parameters."""
    wanted = parameters(build, ATTENTION)
    recurrent = Recurrence(decoder_layers=2, dropout=0.0, forget_bias=2.0)
    return [
        Rival("attention", "Attention", ATTENTION),
        Rival("lstm", "LSTM", as_large(build, recurrent, wanted)),
        Rival("gru", "GRU", as_large(build, replace(recurrent, cell="gru"), wanted)),
    ]


def runs(seconds: float, seeds: int) -> list[Run]:
    """One run a rival and seed."""
    work = f"{__name__}:measure"
    return [
        Run(f"scope-{rival.name}-{seed}", work, {"rival": rival.name, "seconds": seconds, "seed": seed})
        for seed in range(seeds)
        for rival in rivals()
    ]


def measure(folder: Path, rival: str, seconds: float, seed: int) -> dict[str, Any]:
    """Train one rival for so many seconds of processor time, and ask it everywhere on the grid."""
    chosen = {each.name: each for each in rivals()}[rival]
    torch.manual_seed(seed)
    model = build(chosen.shape)
    fresh = gradients(model)
    examples = RecallExamples(2**20, SHORTEST, LONGEST, max(RECORDS), seed)
    steps = _kept(folder / "steps", lambda: updates_within(seconds, model, examples, TRAINING))
    settings = replace(TRAINING, steps=steps, seed=seed, evaluate_every=steps, checkpoint_every=200)
    share = 0.8  # of the work; asking takes the rest
    outcome = train(model, examples, settings, folder, _within, StatusReporter(folder, share))
    trained = outcome.model.eval()
    grid = []
    for place, (records, distance) in enumerate((r, d) for r in RECORDS for d in DISTANCES):
        tell(folder, share + (1 - share) * place / (len(RECORDS) * len(DISTANCES)), "asking")
        right, asked = accuracy(trained, records, distance, seed)
        grid.append({"records": records, "distance": distance, "accuracy": right, "asked": asked})
    return {
        "rival": rival,
        "label": chosen.label,
        "seed": seed,
        "shape": asdict(chosen.shape),
        "parameters": parameters(build, chosen.shape),
        "updates": steps,
        "CPU seconds": outcome.progress.cpu_seconds - outcome.progress.judging_seconds,
        "grid": grid,
        "gradients": {"fresh": fresh, "trained": gradients(trained)},
    }


def asked_at(count: int, records: int, distance: int, generator: torch.Generator) -> Recall:
    """The test: one question, its record `distance` tokens before, and a little room before that for others."""
    return recall(count, distance + 1 + max(records, 8), records, generator, distance)


@torch.no_grad()
def accuracy(model: nn.Module, records: int, distance: int, seed: int) -> tuple[float, int]:
    """The share of right answers, and how many were asked."""
    generator = torch.Generator().manual_seed(seed + 7919)
    count = max(LEAST, min(MOST, ENTRIES // distance))
    one = asked_at(count, records, distance, generator)
    at_a_time = max(1, ENTRIES // 8 // one.ids_BN.shape[1])
    right = sum(
        int((model(ids)[:, -1].argmax(-1) == answers).sum())
        for ids, answers in zip(one.ids_BN.split(at_a_time), one.answers_B.split(at_a_time), strict=True)
    )
    return right / count, count


def gradients(model: nn.Module, count: int = 8) -> list[dict[str, float]]:
    """How much of the answer's gradient arrives at the record: its norm, relative to that at the question itself.

    Mean over `count` sequences with one record, in the model as it is.
    """
    return [{"distance": distance, "share": _arrives(model, distance, count)} for distance in DISTANCES]


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
    return float((norms_BN[:, -1 - distance] / norms_BN[:, -1].clamp_min(1e-30)).mean())


def _within(model: nn.Module) -> Evaluation:
    """How a run is judged while it is trained: over the distances that it is trained on."""
    shares = [accuracy(model, records, distance, 1)[0] for records in (4, 12) for distance in (16, 256)]
    mean = math.fsum(shares) / len(shares)
    return Evaluation({"accuracy": mean}, mean)


def _kept(file: Path, find: Any) -> int:
    """A number that a run finds once and keeps, since it may go on another day."""
    if not file.is_file():
        file.write_text(str(find()))
    return int(file.read_text())

"""Our encoder-decoder against the same shape from torch.nn.Transformer: loss curves and speed.

    python -m benchmarks peers --data CORPUS [--minutes 10] [--dropout 0.1] [--no-control] [--json FILE]

Both begin with the same weights and see the same batches in the same order, by turns, a few updates at a time in
one process. What stays different is chance: where dropout falls. So a third run, ours once more with other dropout,
says how far two runs of one and the same model part; with `--dropout 0` nothing should part them but rounding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import nn

from benchmarks.tables import print_rows
from benchmarks.torch_peer import peer_of
from limelight.errors import TextError
from limelight.modules.transformer import Transformer, TransformerConfig
from limelight.text.readers import read_pairs
from limelight.text.tokenizers import Tokenizer
from limelight.training.batches import Batch, BatchSampler, Pairs
from limelight.training.loop import loss_of
from limelight.training.schedule import learning_rate

RATE, WARMUP, SMOOTHING, CLIP = 1e-3, 500, 0.1, 1.0
MEMORY = 0.98
"""Share of the past in each point of a smoothed curve: it looks back over about fifty updates."""
FLOOR = 0.01
"""Curves that part by less than this are the same, whatever the control says."""
HELD_OUT = 500
"""So many held-out pairs are enough to compare two losses."""


@dataclass
class Contestant:
    """One of the models: its optimizer, its losses a label update by update, its time on the processor."""

    name: str
    model: nn.Module
    chance: int
    losses: list[float] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)

    def train(self, batches: list[Batch]) -> None:
        """One update a batch. Dropout depends on `chance` and the number of the update alone."""
        self.model.train()
        torch.manual_seed(1_000_003 * self.chance + len(self.losses))
        start = time.process_time()
        for batch in batches:
            step = len(self.losses) + 1
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate("paper", RATE, step, step, WARMUP)
            loss = loss_of(self.model(**batch.inputs), batch.labels, SMOOTHING) / batch.tokens
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.losses.append(loss.item())
        seconds = time.process_time() - start
        self.seconds += seconds
        self.speeds.append(sum(map(tokens_of, batches)) / seconds)

    @torch.no_grad()
    def held_out(self, batches: list[Batch]) -> float:
        """Mean loss a label without smoothing and dropout, in nats."""
        self.model.eval()
        total = sum(loss_of(self.model(**batch.inputs), batch.labels).item() for batch in batches)
        return total / sum(batch.tokens for batch in batches)


def tokens_of(batch: Batch) -> int:
    """Source and target tokens, without padding."""
    return int(batch.inputs["source_lengths"].sum()) + batch.tokens


def endless(examples: Pairs, tokens: int, seed: int) -> Iterator[Batch]:
    """All batches of all epochs."""
    order, epoch = BatchSampler(examples.lengths(), tokens, seed), 0
    while True:
        yield from map(examples.batch, order.epoch(epoch))
        epoch += 1


def corpus(data: Path, vocabulary: int) -> tuple[Pairs, Pairs, int]:
    """Training and held-out pairs of the folder as token ids, and the size of the vocabulary they share."""
    parts = []
    for part in ("train", "valid"):
        if not (data / f"{part}.tsv").is_file():
            raise TextError(
                f"--data must be a folder with train.tsv and valid.tsv; {data} has no {part}.tsv."
            )
        parts.append(read_pairs(data / f"{part}.tsv"))
    tokenizer = Tokenizer.train([text for pair in parts[0] for text in pair], "bpe", vocabulary)

    def encoded(rows: list[tuple[str, str]]) -> Pairs:
        sides = (
            [each.ids for each in tokenizer.encode_batch(list(texts))] for texts in zip(*rows, strict=True)
        )
        return Pairs(*sides)

    return encoded(parts[0]), encoded(parts[1][:HELD_OUT]), len(tokenizer)


def smoothed(losses: list[float]) -> list[float]:
    """Each loss and those before it, older ones for less; the mean of all as long as there are few."""
    curve: list[float] = []
    for number, loss in enumerate(losses):
        memory = min(MEMORY, number / (number + 1))
        curve.append(loss if not curve else memory * curve[-1] + (1 - memory) * loss)
    return curve


def largest_difference(one: list[float], other: list[float]) -> float:
    """Of two smoothed curves, relative to the second."""
    pairs = zip(smoothed(one), smoothed(other), strict=True)
    return max((abs(a - b) / b for a, b in pairs), default=0.0)


def alike(difference: float, control: float | None) -> bool:
    """Whether two curves are the same within chance, which a control run has shown."""
    return difference <= (FLOOR if control is None else max(FLOOR, 2 * control))


def verdict(difference: float, control: float | None, ratio: float) -> str:
    """One line: are the curves the same within chance, and which is faster?"""
    same = "The same loss curve" if alike(difference, control) else "NOT the same loss curve"
    yardstick = (
        f"without a control run, {FLOOR:.0%} is allowed"
        if control is None
        else f"two runs of ours with other dropout by {control:.2%}"
    )
    speed = f"Limelight trains {ratio:.2f} times as many tokens a CPU-second."
    return f"{same}: the smoothed curves part by at most {difference:.2%}, {yardstick}. {speed}"


def run(
    data: Annotated[Path, typer.Option(help="A folder with train.tsv and valid.tsv (pairs).")],
    minutes: Annotated[float, typer.Option(help="CPU-minutes that each model is trained at least.")] = 10.0,
    dropout: float = 0.1,
    control: Annotated[bool, typer.Option(help="Train ours a second time, with other dropout.")] = True,
    norm: Annotated[str, typer.Option(help="pre or post")] = "pre",
    width: int = 256,
    layers: Annotated[int, typer.Option(help="Of the encoder, and of the decoder.")] = 3,
    vocabulary: int = 6000,
    tokens: Annotated[int, typer.Option(help="Of a batch, padding included.")] = 1200,
    turn: Annotated[
        int, typer.Option(help="Updates that one model makes before the next has its turn.")
    ] = 10,
    seed: int = 0,
) -> dict[str, Any]:
    """Train ours and PyTorch's side by side until each has had its minutes; compare curves and speed."""
    console = Console()
    train, valid, size = corpus(data, vocabulary)
    longest = max(map(max, (*train.lengths(), *valid.lengths())))
    shape = TransformerConfig(
        width, 4, 4 * width, layers, layers, None, "sinusoidal", norm, "relu", dropout, 0.0, True, longest
    )
    torch.manual_seed(seed)
    ours = Transformer(shape, size, size, share=True)
    contestants = [Contestant("Limelight", ours, 1), Contestant("torch.nn.Transformer", peer_of(ours), 1)]
    if control:
        contestants.append(Contestant("Limelight, other dropout", deepcopy(ours), 2))

    batches = endless(train, tokens, seed)
    warm_up(contestants, next(endless(train, tokens, seed)))
    while min(contestant.seconds for contestant in contestants) < 60 * minutes:
        some = [next(batches) for _ in range(turn)]
        for contestant in contestants:
            contestant.train(some)
        update = len(contestants[0].losses)
        if update % (50 * turn) == 0 and not console.is_terminal:
            console.print(f"update {update}, {contestants[0].seconds:.0f} CPU-seconds", highlight=False)

    held_out = [valid.batch(rows) for rows in BatchSampler(valid.lengths(), tokens).epoch(0)]
    result = summary(contestants, held_out)
    show(result, console)
    return result


def warm_up(contestants: list[Contestant], batch: Batch) -> None:
    """One forward and backward each, which is not counted: the first one loads code and takes memory."""
    for contestant in contestants:
        loss_of(contestant.model(**batch.inputs), batch.labels).backward()
        contestant.optimizer.zero_grad(set_to_none=True)


def summary(contestants: list[Contestant], held_out: list[Batch]) -> dict[str, Any]:
    """All numbers of the comparison as plain values."""
    ours, peer, *control = contestants
    difference = largest_difference(ours.losses, peer.losses)
    chance = largest_difference(ours.losses, control[0].losses) if control else None
    ratio = median(a / b for a, b in zip(ours.speeds, peer.speeds, strict=True))
    return {
        "updates": len(ours.losses),
        "curves": {each.name: smoothed(each.losses) for each in contestants},
        "largest relative difference": difference,
        "largest relative difference of the control": chance,
        "models": [
            {
                "model": each.name,
                "training loss": smoothed(each.losses)[-1],
                "held-out loss": each.held_out(held_out),
                "CPU seconds": each.seconds,
                "tokens a CPU-second": median(each.speeds),
            }
            for each in contestants
        ],
        "speed ratio": ratio,
        "verdict": verdict(difference, chance, ratio),
        "failed": not alike(difference, chance),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The curves at some updates, the models, the verdict."""
    updates = result["updates"]
    points = sorted({round(updates * share / 12) for share in range(1, 13)} - {0})
    curves = list(result["curves"].values())
    rows = []
    for point in points:
        losses = {name: curve[point - 1] for name, curve in result["curves"].items()}
        rows.append(
            {"update": point, **losses, "difference": curves[0][point - 1] / curves[1][point - 1] - 1}
        )
    formats = dict.fromkeys(result["curves"], ".4f") | {"update": ",", "difference": "+.2%"}
    print_rows("Training loss, smoothed, nats a label", rows, formats, console)
    formats = {
        "training loss": ".4f",
        "held-out loss": ".4f",
        "CPU seconds": ",.0f",
        "tokens a CPU-second": ",.0f",
    }
    print_rows(f"After {updates:,} updates", result["models"], formats, console)
    console.print(result["verdict"], highlight=False, soft_wrap=True)

"""Efficiency: how fast are training and decoding, and what does length cost?

Language models of one size do the same work in turns, in one process: a training step over texts of many lengths and
batches, with one thread and with two; the same in two processes; and writing one token after a context. Times are
by the clock, so nothing else should run. report.py tells what it gave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.common.contenders import Rival, as_large, parameters
from experiments.common.plan import Options
from experiments.common.runner import Run, cores, tell
from experiments.efficiency.report import result
from limelight.errors import InputError
from limelight.modules.recurrent import RecurrentConfig, RecurrentLanguageModel
from limelight.modules.transformer import LanguageModel, TransformerConfig
from limelight.predicting.decoders import (
    Decoder,
    LanguageDecoder,
    RecurrentLanguageDecoder,
    language_decoder,
)
from limelight.training.loop import loss_of

__all__ = ["measure", "plan", "result"]

VOCABULARY = 2000
LENGTHS = tuple(2**power for power in range(5, 14))
BATCHES = (1, 4, 16, 64)
BATCHES_LENGTH = 128
"""How long the texts are where the batch is what changes."""
SHAPES = {
    "cpu": TransformerConfig(width=128, heads=4, feed_forward=512, decoder_layers=2, dropout=0.0),
    "cuda": TransformerConfig(width=512, heads=8, feed_forward=2048, decoder_layers=4, dropout=0.0),
}
TOKENS = {"cpu": 4096, "cuda": 65_536}
"""Tokens of a training step, whatever the length; one text at least."""
ROUNDS, WRITTEN = 5, 8
"""How often each is timed, after one time that is not counted; tokens that are written after a context."""
RATE = 1e-4


def rivals(device: str) -> list[Rival]:
    """Attention, and two kinds of recurrence with as many parameters and layers."""
    shape = SHAPES[device]
    wanted = parameters(build, shape)
    recurrent = RecurrentConfig(decoder_layers=shape.decoder_layers, dropout=0.0)
    return [
        Rival("attention", "Attention", shape),
        Rival("lstm", "LSTM", as_large(build, recurrent, wanted)),
        Rival("gru", "GRU", as_large(build, replace(recurrent, cell="gru"), wanted)),
    ]


def build(shape: TransformerConfig | RecurrentConfig) -> nn.Module:
    """A language model."""
    if isinstance(shape, RecurrentConfig):
        return RecurrentLanguageModel(shape, VOCABULARY)
    return LanguageModel(shape, VOCABULARY)


def plan(options: Options) -> list[Run]:
    """One run a question. Raises InputError for a device that is not there."""
    if options.device not in SHAPES:
        raise InputError(f"device must be one of {', '.join(SHAPES)}; got {options.device!r}.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device is cuda, but torch finds no such device here. Take cpu, or a machine that has one."
        )
    kinds = ["length", "batch", "decoding"]
    if options.device == "cpu" and cores() > 1:
        kinds.append("processes")
    return [
        Run(
            f"efficiency-{options.device}-{kind}",
            "experiments.efficiency.experiment:measure",
            {"kind": kind, "device": options.device},
        )
        for kind in kinds
    ]


def measure(folder: Path, kind: str, device: str) -> dict[str, Any]:
    """Answer one question: "length", "batch", "decoding" or "processes"."""
    chosen = rivals(device)
    if kind == "processes":
        from experiments.efficiency.processes import processes

        places = processes(folder, ROUNDS)
    else:
        places = {"length": lengths, "batch": batches, "decoding": decoding}[kind](folder, chosen, device)
    return {
        "kind": kind,
        "device": device,
        "tokens": TOKENS[device],
        "rivals": {
            rival.name: {
                "label": rival.label,
                "parameters": parameters(build, rival.shape),
                "shape": asdict(rival.shape),
            }
            for rival in chosen
        },
        "places": places,
    }


def lengths(folder: Path, chosen: Sequence[Rival], device: str) -> list[dict[str, Any]]:
    """A training step by the length of the texts, with each number of threads."""
    steps = {rival.name: training_step(rival, device) for rival in chosen}
    places = []
    for number, length in enumerate(LENGTHS):
        tell(folder, number / len(LENGTHS), f"{length:,} tokens")
        ids = texts(max(1, TOKENS[device] // length), length, device)
        seconds = in_turns(
            {
                (name, threads): on_threads(threads, partial(step, ids))
                for name, step in steps.items()
                for threads in numbers_of_threads(device)
            },
            device,
            ROUNDS,
        )
        places += [
            {"rival": name, "threads": threads, "length": length, "batch": len(ids), "seconds": each}
            for (name, threads), each in seconds.items()
        ]
    return places


def batches(folder: Path, chosen: Sequence[Rival], device: str) -> list[dict[str, Any]]:
    """A training step by the number of texts, on one thread."""
    steps = {rival.name: training_step(rival, device) for rival in chosen}
    places = []
    for number, batch in enumerate(BATCHES):
        tell(folder, number / len(BATCHES), f"{batch} texts")
        ids = texts(batch, BATCHES_LENGTH, device)
        seconds = in_turns({name: partial(step, ids) for name, step in steps.items()}, device, ROUNDS)
        places += [
            {"rival": name, "threads": 1, "length": BATCHES_LENGTH, "batch": batch, "seconds": each}
            for name, each in seconds.items()
        ]
    return places


@torch.no_grad()
def decoding(folder: Path, chosen: Sequence[Rival], device: str) -> list[dict[str, Any]]:
    """Reading a context at once, and then writing tokens one by one, for one text on one thread."""
    models = {rival.name: build(rival.shape).to(device).eval() for rival in chosen}
    places = []
    for number, length in enumerate(LENGTHS):
        tell(folder, number / len(LENGTHS), f"a context of {length:,} tokens")
        context, token = texts(1, length, device), texts(1, 1, device)
        reading = in_turns(
            {name: partial(_read, model, context) for name, model in models.items()}, device, ROUNDS
        )
        decoders = {name: _read(model, context) for name, model in models.items()}
        held = {name: held_by(decoder) for name, decoder in decoders.items()}
        writing = in_turns(
            {name: partial(_write, decoder, token) for name, decoder in decoders.items()}, device, ROUNDS
        )
        places += [
            {
                "rival": name,
                "length": length,
                "reading": reading[name],
                "writing": [seconds / WRITTEN for seconds in writing[name]],
                "bytes": held[name],
            }
            for name in models
        ]
    return places


# ------------------------------------------------------------------------------------------------------- the pieces


def texts(batch: int, length: int, device: str) -> Tensor:
    """Random tokens (B, N): what they are does not change the time."""
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1)).to(device)


def training_step(rival: Rival, device: str) -> Callable[[Tensor], None]:
    """Forward, loss, backward, and the optimizer's update, over ids (B, N)."""
    torch.manual_seed(0)
    model = build(rival.shape).to(device).train()
    return step_of(model, model)


def step_of(model: nn.Module, called: nn.Module) -> Callable[[Tensor], None]:
    """A training step of `model`; `called` is what its forward goes through."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)

    def step(ids_BN: Tensor) -> None:
        loss = loss_of(called(target=ids_BN), ids_BN) / ids_BN.numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def in_turns(work: Mapping[Any, Callable[[], Any]], device: str, rounds: int) -> dict[Any, list[float]]:
    """The seconds of each piece of work, `rounds` times, all of them in every round."""
    seconds: dict[Any, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, do in work.items():
            finished(device)
            start = time.perf_counter()
            do()
            finished(device)
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def finished(device: str) -> None:
    """Wait for what a device has been given to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def numbers_of_threads(device: str) -> tuple[int, ...]:
    """One, and two where the processor does the work and has them."""
    return (1, 2) if device == "cpu" and cores() > 1 else (1,)


def on_threads(threads: int, work: Callable[[], Any]) -> Callable[[], None]:
    """The same work with so many threads."""

    def do() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        work()
        torch.set_num_threads(before)

    return do


def _read(model: nn.Module, context_1N: Tensor) -> Decoder:
    decoder = language_decoder(model)
    decoder.step(context_1N)
    return decoder


def _write(decoder: Decoder, token_11: Tensor) -> None:
    for _ in range(WRITTEN):
        decoder.step(token_11)


def held_by(decoder: Decoder) -> int:
    """Bytes that a decoder must keep between two tokens: keys and values, or what its cells remember."""
    if isinstance(decoder, RecurrentLanguageDecoder):
        assert decoder.state is not None
        hidden = decoder.state.hidden
        kept = list(hidden) if isinstance(hidden, tuple) else [hidden]
    else:
        assert isinstance(decoder, LanguageDecoder)
        kept = [tensor for layer in decoder.cache.self_attention for tensor in layer.read()]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)

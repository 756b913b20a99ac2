"""One layer of a rollout: the heads mixed, the identity added, the rows divided by their sums.

    A' = diag(a)·Ā + diag(b)        Ā = Σ_h w_h A_h diag(n_h)

The layer is passed over in strips of some queries by all keys they may see. The heads of a strip are mixed as
soon as they are known, so that its rows are complete: a and b follow from their sums there and then, and one
product serves all heads. The meaning of the names and the sources are in `rollout.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.matrix.engine.plan import GRAIN, Plan
from limelight.matrix.engine.threads import exactly, how_many, read_all
from limelight.matrix.engine.tiled import weigh_block
from limelight.matrix.index_functions import runs_of
from limelight.matrix.logits import Logits, Span
from limelight.matrix.tile import Arena

STRIP_ENTRIES = 2**21  # of a head; matrix products of fewer rows cost more than the caches that they spare
STRIP_ROWS = (16, 256)
WIDER_ON_A_GPU = 8  # times as many rows: there a short strip ends before the next one is sent
FLUSH = 32  # strips whose sums are taken in float32 before they go to a wider sum


class Strip(NamedTuple):
    """Some rows of Ā and the columns that any of them may see; `a` and `b` scale the rows."""

    i0: int
    i1: int
    j0: int
    j1: int
    mixed_RC: Tensor
    a_R1: Tensor
    b_R1: Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """A' of one layer, which multiplies from either side and gives single rows.

    shares     the weight of each head; they add up to 1
    norms_BGM  ‖v[j]‖ where weights count with what they carry, else None
    """

    scores: Logits
    shares: tuple[float, ...]
    norms_BGM: Tensor | None
    residual: float
    renormalise: bool

    def down(self, x_BNX: Tensor) -> Tensor:
        """A'ᵀ x, (B, M, X). Rows where x is 0 are not computed."""
        x_BNX = x_BNX.to(self.scores.dtype)
        sums_BMX = x_BNX.new_zeros(
            len(x_BNX), self.scores.M, x_BNX.shape[-1], dtype=self.scores.frame(0).wide
        )
        some_BXM = x_BNX.new_zeros(
            len(x_BNX), x_BNX.shape[-1], self.scores.M
        )  # both factors are read by rows
        taken = [0] * len(x_BNX)

        def take(b: int, strip: Strip) -> None:
            x_RX = x_BNX[b, strip.i0 : strip.i1]
            some_BXM[b, :, strip.j0 : strip.j1].addmm_((strip.a_R1 * x_RX).T, strip.mixed_RC)
            if self.residual:
                some_BXM[b, :, strip.i0 : strip.i1] += (strip.b_R1 * x_RX).T
            taken[b] += 1
            if taken[b] % FLUSH == 0:
                sums_BMX[b] += some_BXM[b].T
                some_BXM[b] = 0

        asked_N = (x_BNX != 0).any(-1).any(0).tolist()
        self._pass_over(
            [(i0, i1) for i0, i1 in self._blocks(range(self.scores.N)) if any(asked_N[i0:i1])], take
        )
        return sums_BMX.add_(some_BXM.transpose(1, 2)).to(x_BNX.dtype)

    def up(self, v_BMX: Tensor) -> Tensor:
        """A' v, (B, N, X)."""
        v_BMX = v_BMX.to(self.scores.dtype)
        sums_BNX = v_BMX.new_zeros(len(v_BMX), self.scores.N, v_BMX.shape[-1])

        def take(b: int, strip: Strip) -> None:
            here_RX = sums_BNX[b, strip.i0 : strip.i1]
            torch.mul(strip.mixed_RC @ v_BMX[b, strip.j0 : strip.j1], strip.a_R1, out=here_RX)
            if self.residual:
                here_RX += strip.b_R1 * v_BMX[b, strip.i0 : strip.i1]

        self._pass_over(self._blocks(range(self.scores.N)), take)
        return sums_BNX

    def rows(self, tokens: Sequence[int]) -> Tensor:
        """Some rows of A', (B, how many, M), of different tokens in rising order."""
        B, dtype = len(self.scores.batches), self.scores.dtype
        rows_BTM = torch.zeros(B, len(tokens), self.scores.M, dtype=dtype, device=self.scores.device)
        places = {block: place for place, block in self._blocks_of(tokens)}

        def take(b: int, strip: Strip) -> None:
            place = places[strip.i0, strip.i1]
            here_RM = rows_BTM[b, place : place + strip.i1 - strip.i0]
            torch.mul(strip.mixed_RC, strip.a_R1, out=here_RM[:, strip.j0 : strip.j1])
            if self.residual:
                here_RM[:, strip.i0 : strip.i1].diagonal().add_(strip.b_R1[:, 0])

        self._pass_over(list(places), take)
        return rows_BTM

    # ---- the pass ---------------------------------------------------------------------------------

    @property
    def strip_rows(self) -> int:
        """How many rows are worked on at a time."""
        fewest, most = STRIP_ROWS
        wider = 1 if self.scores.device.type == "cpu" else WIDER_ON_A_GPU
        return max(fewest, min(most * wider, STRIP_ENTRIES * wider // max(1, self.scores.M)))

    def _blocks(self, rows: range) -> list[tuple[int, int]]:
        step = self.strip_rows
        return [(i0, min(i0 + step, rows.stop)) for i0 in range(rows.start, rows.stop, step)]

    def _blocks_of(self, tokens: Sequence[int]) -> Iterator[tuple[int, tuple[int, int]]]:
        """Blocks of neighbours among some tokens, and where each stands among them."""
        place = 0
        for run in runs_of(tokens):
            for block in self._blocks(run):
                yield place + block[0] - run.start, block
            place += len(run)

    def _pass_over(self, blocks: Sequence[tuple[int, int]], take: Callable[[int, Strip], None]) -> None:
        """Every batch's strips to `take`, which overwrites them with the next ones."""
        scores = self.scores
        entries = len(scores.batches) * len(scores.heads) * scores.M * sum(i1 - i0 for i0, i1 in blocks)
        heads_together = max((len(heads) for heads in self.panels()), default=0)
        with exactly(scores.device):
            read_all(
                panels=range(len(scores.batches)),
                blocks=blocks,
                open_panel=lambda b: _Strips(self, b, take),
                make_room=lambda: [
                    Arena(many * self.strip_rows * scores.M, scores.dtype, scores.device)
                    for many in (1, 2 * heads_together)
                ],
                workers=how_many(entries, scores.device),
                device=scores.device,
            )

    def panels(self) -> list[range]:
        """The heads that count, several at a time where they are short; those of a key head stay together."""
        share = len(self.shares) // max(1, self.scores.k_BGMD.shape[1])
        used = [h for h, weight in enumerate(self.shares) if weight]
        if len(used) < len(self.shares):
            groups = groupby(used, key=lambda h: h // share)
            return [run for _, heads in groups for run in runs_of(list(heads))]
        together = max(1, STRIP_ENTRIES // max(1, self.strip_rows * self.scores.M * share)) * share
        heads = range(len(used))
        return [heads[start : start + together] for start in range(0, len(used), together)]

    def scales(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """a and b of some rows, from the sums of theirs in Ā; 0 where there is nothing to divide."""
        r, ones = self.residual, torch.ones_like(sums)
        share = ones if self.norms_BGM is None else torch.where(sums > 0, 1 / sums, 0)
        total = (1 - r) * share * sums + r if self.renormalise else ones
        a, b = (torch.where(total > 0, each / total, 0) for each in ((1 - r) * share, r * ones))
        return a, b


class _Strips:
    """The strips of one batch, a `Reader` of `workers`."""

    def __init__(self, layer: Layer, b: int, take: Callable[[int, Strip], None]) -> None:
        self._layer, self._b, self._take = layer, b, take
        self._panels = [layer.scores.panel(range(b, b + 1), heads) for heads in layer.panels()]

    def read(self, i0: int, i1: int, room: list[Arena]) -> Strip:
        """Rows i0:i1 of Ā."""
        mixed, arena = room
        mixed.clear()
        seen = [panel.spans(i0, i1, 0, panel.M, GRAIN) for panel in self._panels]
        j0 = min((spans[0].j0 for spans in seen if spans), default=0)
        j1 = max((spans[-1].j1 for spans in seen if spans), default=0)
        mixed_RC = mixed.take(i1 - i0, j1 - j0).zero_()
        for panel, spans in zip(self._panels, seen, strict=True):
            arena.clear()
            for span, weights_HRC in weights_of(panel, i0, i1, spans, arena):
                self._mix(mixed_RC[:, span.j0 - j0 : span.j1 - j0], panel, span, weights_HRC)
        return Strip(i0, i1, j0, j1, mixed_RC, *self._layer.scales(mixed_RC.sum(-1, keepdim=True)))

    def take(self, strip: Strip) -> None:
        """To whoever asked."""
        self._take(self._b, strip)

    def _mix(self, mixed_RC: Tensor, panel: Logits, span: Span, weights_HRC: Tensor) -> None:
        shares, norms_BGM = self._layer.shares, self._layer.norms_BGM
        for h, weights_RC in zip(panel.heads, weights_HRC, strict=True):
            if norms_BGM is None:
                mixed_RC.add_(weights_RC, alpha=shares[h])
            else:
                norms_C = norms_BGM[self._b, h * norms_BGM.shape[1] // len(shares), span.j0 : span.j1]
                mixed_RC.addcmul_(weights_RC, norms_C, value=shares[h])


def weights_of(
    panel: Logits, i0: int, i1: int, spans: list[Span], arena: Arena
) -> Iterator[tuple[Span, Tensor]]:
    """The weights of some rows wherever they may see anything, (heads, R, C) a span, by the quicker way.

    Where all that a row may see lies side by side and no sink takes part, a strip holds whole rows and
    torch's softmax finds their weights; otherwise `weigh_block`, which finds the row stats first.
    """
    if len(spans) == 1 and panel.sink_H is None:
        s_HRC = panel.block(i0, i1, spans[0], arena)[0]
        weights_HRC = torch.softmax(s_HRC, -1, out=arena.take(*s_HRC.shape))
        if bool(weights_HRC[..., 0].isnan().any()):  # a row that sees nothing became 0 / 0
            weights_HRC.masked_fill_(s_HRC.amax(-1, keepdim=True) == -torch.inf, 0.0)
        yield spans[0], weights_HRC
    elif spans:
        whole = Span(spans[0].j0, spans[-1].j1)
        cut = Plan(i1 - i0, None, 1, len(panel.heads))
        yield whole, weigh_block(panel, None, range(i0, i1), range(whole.j0, whole.j1), cut)[0]

"""A way to tell weights: each times a number of its key, and divided by what its query has then, or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Way:
    """Of one layer: c[j]·a[i, j], where `others` is given divided by Σ_j c[j]·a[i, j].

    factor_HM  c, by head and key
    others     gives these sums of all queries, (H, N), once they are known, else None; no division without

    A query whose sum is 0 has 0 everywhere. Any entry is as exact as the weight, and costs no more, once the sums
    are known.
    """

    factor_HM: Tensor
    others: Callable[[], Tensor | None] | None = None

    @property
    def divides(self) -> bool:
        """Whether a number of the query goes in too."""
        return self.others is not None

    def told(
        self,
        plain_HRC: Tensor,
        heads: slice,
        rows: slice,
        columns: slice,
        complete: Callable[[slice], Tensor],
    ) -> Tensor:
        """A block of weights as it is told; `complete` gives the weights of all keys of some rows."""
        kept_HRC = plain_HRC * self.factor_HM[heads, None, columns]
        if self.others is None:
            return kept_HRC
        if kept_HRC.shape[-1] == self.factor_HM.shape[-1]:
            sums_HR = kept_HRC.sum(-1, dtype=torch.float64)
        elif (known_HN := self.others()) is not None:
            sums_HR = known_HN[heads, rows]
        else:
            sums_HR = (complete(rows) * self.factor_HM[heads, None]).sum(-1, dtype=torch.float64)
        return kept_HRC / sums_HR.where(sums_HR > 0, 1)[..., None].to(kept_HRC)

"""AttentionMatrix: an attention matrix that nobody stores, and every entry of it.

It holds references to Q and K, the mask and the scale, and, once something was read, two numbers a query.
Everything else is computed when asked for, exactly, tile by tile, in memory that grows with N + M.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, SupportsIndex, TypeVar, overload

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError, TooLargeError
from limelight.matrix.biases import Bias
from limelight.matrix.checks import maybe_bytes, whole_bytes
from limelight.matrix.engine.dispatch import choose
from limelight.matrix.engine.plan import as_slice, plan_for
from limelight.matrix.engine.read_plan import ReadPlan, plan_read
from limelight.matrix.engine.threads import exactly
from limelight.matrix.engine.tiled import weigh_block
from limelight.matrix.gradients import GradientInputs, multiply
from limelight.matrix.head_range import HeadRange
from limelight.matrix.index_functions import PlaceFunction, ScoreFunction, runs_of
from limelight.matrix.logits import Logits
from limelight.matrix.masks import Mask
from limelight.matrix.masks.base import Dense
from limelight.matrix.memory import demand_memory
from limelight.matrix.reductions.base import Reduction, finish, require_reductions
from limelight.matrix.reductions.products import Applied, Transposed, TransposedApplied
from limelight.matrix.reductions.row_stats import RowStats
from limelight.matrix.tile import SoftmaxStats
from limelight.matrix.validation import Index, ranges_of, scores_of

DENSE_LIMIT = 2**30

R1 = TypeVar("R1")
R2 = TypeVar("R2")
R3 = TypeVar("R3")


class AttentionMatrix:
    """A = softmax(cap(scale·QKᵀ) + bias + mask [, sink]) for B batches and H heads, N queries by M keys.

    query  (B, H, N, D)   any float dtype
    key    (B, G, M, D)   H a multiple of G: each key head serves H/G neighbouring query heads
    value  (B, G, M, any) only for readings that weigh values
    mask   a mask of `limelight.masks`, or a bool tensor; True = may attend; None = everything
    scale  1/√D unless given
    bias   a float tensor that broadcasts to (B, H, N, M), one of `limelight.biases`, or a function
           (b, h, q_idx, kv_idx) -> float; the latter two are computed a tile at a time
    softcap  cap·tanh(score/cap), before bias and mask
    sink   (H,), a score a head that enters the sum of the softmax only: rows then add up to less than 1
    score_mod  a function (score, b, h, q_idx, kv_idx) -> score, after the bias and before the mask

    Entries are float32 whatever the inputs (float64 stays float64). Only the products `A @ v` and `A.T @ x`
    carry gradients; entries and readings do not. A query that may look at nothing has weights of 0. Raises
    ShapeError or ArgumentTypeError for inputs that do not fit.

    Tensors may be written into, and are read anew. What a function (mask, bias, score_mod) reads besides its
    arguments must not change: nobody could tell.

    Source: equation 1 of "Attention Is All You Need"; softcap, bias and sink are later than the paper.

    >>> from limelight.matrix import masks
    >>> matrix = AttentionMatrix(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4), mask=masks.causal())
    >>> matrix[0, 1, 1:, :]
    tensor([[0.5000, 0.5000, 0.0000],
            [0.3333, 0.3333, 0.3333]])
    >>> matrix.read(RowStats()).maximum.shape
    torch.Size([1, 2, 3])
    """

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        mask: Mask | Tensor | None = None,
        scale: float | None = None,
        bias: Tensor | Bias | PlaceFunction | None = None,
        softcap: float | None = None,
        sink: Tensor | None = None,
        score_mod: ScoreFunction | None = None,
    ) -> None:
        self._scores = scores_of(query, key, value, mask, scale, bias, softcap, sink, score_mod)
        self._inputs = GradientInputs(query, key, bias if isinstance(bias, Tensor) else None, sink)
        self._value = None if value is None else value.detach()
        self._found: SoftmaxStats | None = None
        self._found_at: tuple[int, ...] | None = None
        self.head_range: HeadRange | None = None

    # ---- what it is -------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(batches, query heads, queries, keys), as if it were stored."""
        scores = self._scores
        return len(scores.batches), len(scores.heads), scores.N, scores.M

    @property
    def key_heads(self) -> int:
        """How many heads the keys have, G: query head h looks at key head h // (H / G)."""
        return self._scores.k_BGMD.shape[1]

    @property
    def head_numbers(self) -> range:
        """The model's own numbers of its heads: from 0, but where one process of several has a part of them.

        Indices count from 0 all the same: `matrix[0, 0]` is the head of the number `head_numbers[0]`.
        """
        return range(self.shape[1]) if self.head_range is None else self.head_range.numbers

    @property
    def dtype(self) -> torch.dtype:
        """That of its entries: float64 where an input is float64, float32 otherwise."""
        return self._scores.dtype

    @property
    def device(self) -> torch.device:
        """Where Q and K are, and where it is computed."""
        return self._scores.device

    @property
    def value(self) -> Tensor | None:
        """The values it was given, (B, G, M, any)."""
        return self._value

    @property
    def mask(self) -> Mask:
        """Who may look at whom."""
        return self._scores.mask

    @property
    def logits(self) -> Logits:
        """What its scores are computed from, to read and not to change: Q, K, mask, scale, bias, softcap, sink."""
        return self._scores

    @property
    def inputs(self) -> GradientInputs:
        """The tensors it was made of, as they were given, with the graphs they belong to; to read only."""
        return self._inputs

    def __repr__(self) -> str:
        B, H, N, M = self.shape
        heads = f"{H} heads" if self.head_range is None else f"{H} heads ({self.head_range})"
        return f"AttentionMatrix({B} × {heads}, {N} queries × {M} keys, {self.dtype}, {self.device})"

    def why(self, *reductions: Reduction[Any], limit: int | None = None, loop: str | None = None) -> ReadPlan:
        """Which loop reads these reductions, how it cuts, what it skips, what memory it needs; print to read it."""
        require_reductions("why()", reductions)
        chosen = choose(self._scores, reductions, maybe_bytes(limit, "why()"), loop)
        return plan_read(self._scores, reductions, chosen, known=self._stats() is not None)

    # ---- entries ----------------------------------------------------------------------------------

    def __getitem__(self, index: Index | tuple[Index, ...]) -> Tensor:
        """An exact block, indexed as a tensor (batch, head, query, key) is, by numbers and plain slices."""
        ranges, dropped = ranges_of(index, self.shape)
        counts = tuple(len(each) for each in ranges)
        _refuse_above(DENSE_LIMIT, counts, self.dtype, whole=counts == self.shape)
        batches, heads, rows, columns = ranges
        block = self._block(batches, heads, [rows], columns)
        return block[tuple(0 if drop else slice(None) for drop in dropped)]

    def rows(self, i: SupportsIndex | Sequence[int] | Tensor) -> Tensor:
        """What query `i` looks at, (B, H, M); with several queries, (B, H, how many, M)."""
        B, H, _, M = self.shape
        if isinstance(i, Tensor):  # one of a thousand thousand million queries may be a view of few numbers
            _refuse_above(DENSE_LIMIT, (B, H, i.numel(), M), self.dtype)
        try:
            given: Any = i.tolist() if hasattr(i, "tolist") else i  # tensors, NumPy's arrays and numbers
        except RuntimeError as error:
            raise ArgumentTypeError(
                f"rows() takes the numbers of queries; got a tensor that holds none to read: {error}"
            ) from error
        if not isinstance(given, Sequence):
            return self[:, :, given]
        asked = [ranges_of((slice(None), slice(None), each), self.shape)[0][2].start for each in given]
        _refuse_above(DENSE_LIMIT, (B, H, len(asked), M), self.dtype)
        return self._block(range(B), range(H), runs_of(asked), range(M))

    def dense(self, limit: int = DENSE_LIMIT) -> Tensor:
        """The whole matrix, (B, H, N, M), after all. Raises TooLargeError above `limit` bytes."""
        B, H, N, M = self.shape
        _refuse_above(whole_bytes(limit, "dense()"), self.shape, self.dtype, whole=True)
        return self._block(range(B), range(H), [range(N)], range(M))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """For `np.asarray`: the whole matrix, which is computed anew each time, within the limit of `dense`."""
        if copy is False:
            raise InputError(
                "np.asarray of an AttentionMatrix must make a copy, since nothing is stored; got copy=False. "
                "Leave copy out."
            )
        weights = self.dense().cpu().numpy()
        return weights if dtype is None else weights.astype(dtype, copy=False)

    # ---- readings ---------------------------------------------------------------------------------

    @overload
    def read(self, f: Reduction[R1], /, *, limit: int | None = None, loop: str | None = None) -> R1: ...
    @overload
    def read(
        self, f: Reduction[R1], g: Reduction[R2], /, *, limit: int | None = None, loop: str | None = None
    ) -> tuple[R1, R2]: ...
    @overload
    def read(
        self,
        f: Reduction[R1],
        g: Reduction[R2],
        h: Reduction[R3],
        /,
        *,
        limit: int | None = None,
        loop: str | None = None,
    ) -> tuple[R1, R2, R3]: ...
    @overload
    def read(
        self, /, *reductions: Reduction[Any], limit: int | None = None, loop: str | None = None
    ) -> Any: ...

    def read(self, /, *reductions: Reduction[Any], limit: int | None = None, loop: str | None = None) -> Any:
        """Read any number of reductions in one pass: one reading for one reduction, a tuple in their order for more.

        A reduction that one pass cannot finish, such as `Quantiles`, is read on in further passes of its own.
        `limit` bounds the bytes that are held at once, beside what the reductions keep: tiles and threads shrink to
        fit, or TooLargeError says what it takes. `loop` names the loop that shall read ("plain" serves
        always); the quickest that can, unless given. `why` says of both what they come to.
        """
        if not reductions:
            raise InputError(
                "read() must be told what to read; got no reduction. Write read(Received(), Entropy())."
            )
        require_reductions("read()", reductions)
        limit = maybe_bytes(limit, "read()")
        others = [
            reduction for reduction in reductions if not isinstance(reduction, RowStats)
        ]  # the pass finds those anyway
        states = self._pass_over(others, limit, loop, self._stats())
        stats = self._found
        assert stats is not None
        # Further passes read what only some loops know, so `loop` does not bind them.
        found = iter(
            finish(others, states, stats, lambda further: self._pass_over(further, limit, None, stats))
        )
        readings = tuple(
            stats if isinstance(reduction, RowStats) else next(found) for reduction in reductions
        )
        return readings[0] if len(readings) == 1 else readings

    # ---- the linear operator ----------------------------------------------------------------------

    def __matmul__(self, v: Tensor) -> Tensor:
        """A @ v, (B, H, N, X): v is (B or 1, H or G or 1, M, X), or for all heads alike (M, X) or (M,)."""
        return multiply(Applied(v), self.read, self._scores, self._inputs)

    @property
    def T(self) -> Transposed:
        """The transpose, for `A.T @ x`: what the keys receive when query i sends x[i]."""
        B, H, N, M = self.shape
        return Transposed(
            (B, H, M, N), lambda x: multiply(TransposedApplied(x), self.read, self._scores, self._inputs)
        )

    # ---- inside -----------------------------------------------------------------------------------

    def _pass_over(
        self,
        reductions: Sequence[Reduction[Any]],
        limit: int | None,
        loop: str | None,
        known: SoftmaxStats | None,
    ) -> list[Any]:
        chosen = choose(self._scores, reductions, limit, loop)
        if not reductions and known is not None:
            return []
        frame = self._scores.frame(self.shape[2], self._value)
        versions = self._versions()
        with exactly(self.device):
            states, self._found = chosen.loop.read(self._scores, frame, reductions, known, chosen.cut)
        self._found_at = versions
        return states

    def _stats(self) -> SoftmaxStats | None:
        """The row stats, once something was read; not those of a Q, K, mask … that has been written into since.

        Of tensors made in inference mode torch does not count that, so theirs are found anew by every reading.
        """
        versions = self._versions()
        return self._found if versions is not None and versions == self._found_at else None

    def _versions(self) -> tuple[int, ...] | None:
        """How often each tensor has been written into; None where nobody counts."""
        scores = self._scores
        bias = scores.bias.tensors if isinstance(scores.bias, Bias) else (scores.bias,)
        held = (scores.q_BHND, scores.k_BGMD, *bias, scores.sink_H, *scores.mask.tensors)
        tensors = [each for each in held if isinstance(each, Tensor)]
        return None if any(each.is_inference() for each in tensors) else tuple(x._version for x in tensors)

    def _block(self, batches: range, heads: range, runs: Sequence[range], columns: range) -> Tensor:
        """The entries of some runs of rows, each computed together; the keys of a panel are opened once for all."""
        shape = len(batches), len(heads), sum(map(len, runs)), len(columns)
        block = torch.zeros(shape, dtype=self.dtype, device=self.device)
        cut, stats = plan_for(self._scores), self._stats()
        # A panel may not begin or end within the query heads that share a key head.
        group = max(self.shape[1] // max(self.key_heads, 1), 1)
        step = 1 if heads.start % group or heads.stop % group else cut.panel_heads
        for b, h in product(range(0, shape[0], cut.panel_batches), range(0, shape[1], step)):
            some, few = batches[b : b + cut.panel_batches], heads[h : h + step]
            place = 0
            with exactly(self.device):
                panel = self._scores.panel(some, few)
                for rows in runs:
                    where = as_slice(some), as_slice(few), as_slice(rows)
                    known = None if stats is None else stats.part(where)
                    here = block[b : b + len(some), h : h + len(few), place : place + len(rows)]
                    here.copy_(weigh_block(panel, known, rows, columns, cut))
                    place += len(rows)
        return block


def _refuse_above(limit: int, counts: Sequence[int], dtype: torch.dtype, whole: bool = False) -> None:
    """Raise TooLargeError where a block of so many entries along each axis takes more bytes."""
    needed = math.prod(counts) * torch.finfo(dtype).bits // 8
    if needed > limit:
        raised = f", or raise the limit: dense(limit={needed})" if whole else ""
        raise TooLargeError(
            f"A block of {' × '.join(map(str, counts))} entries takes {needed} bytes, and the limit is {limit}. "
            f"Ask for a smaller block, or read reductions instead{raised}."
        )


def select_queries(matrix: AttentionMatrix, chosen: Tensor) -> AttentionMatrix:
    """The same matrix, in which only the chosen queries look; the rows of the others are empty.

    chosen: bool, (N,) for all texts or (B, N) for each. So what keys receive from some queries, such as those of an
    answer, is a reading like any other. Q, K and V are shared, nothing is copied; gradients flow as before.

    >>> matrix = AttentionMatrix(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4))
    >>> select_queries(matrix, torch.tensor([False, False, True])).dense().sum((0, 1, 3))
    tensor([0.0000, 0.0000, 2.0000])
    """
    B, _, N, _ = matrix.shape
    if not isinstance(chosen, Tensor) or chosen.dtype != torch.bool:
        came = chosen.dtype if isinstance(chosen, Tensor) else type(chosen).__name__
        raise ArgumentTypeError(f"chosen must be a bool tensor, of each query whether it looks; got {came}.")
    demand_memory("chosen", chosen)
    if chosen.shape not in ((N,), (B, N)):
        raise ShapeError(
            f"chosen must say of each query whether it looks, ({N},) or ({B}, {N}); got {tuple(chosen.shape)}."
        )
    scores, inputs = matrix._scores, matrix._inputs
    rows_BN = chosen.to(scores.device).expand(B, N)
    some = AttentionMatrix(
        inputs.query,
        inputs.key,
        matrix.value,
        scores.mask & Dense.of(rows_BN[:, None, :, None]),
        scores.scale,
        scores.bias if isinstance(scores.bias, Bias) else inputs.bias,
        scores.softcap,
        inputs.sink,
    )
    some.head_range = matrix.head_range
    return some

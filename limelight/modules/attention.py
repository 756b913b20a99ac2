"""Multi-head attention with its own Wq, Wk, Wv and Wo (§3.2.2 of the paper).

    MultiHead(Q, K, V) = Concat(head_1, …, head_H) Wo
    head_h = softmax(Q_h K_hᵀ / √D) V_h

The product runs on PyTorch's fused `scaled_dot_product_attention`, which never forms the weights. Inside
`record_attention(model)` every layer also keeps references to its queries, keys, mask and scale, as an
`AttentionMatrix`: the weights can then be read, exactly, without a second forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from limelight.checked import checked
from limelight.errors import ArgumentTypeError, InputError, check_whole
from limelight.matrix import AttentionMatrix, masks
from limelight.matrix.masks import Mask
from limelight.modules.positions import Positions
from limelight.shapes import sizes


@dataclass
class LayerCache:
    """The keys and values that one attention layer has already computed, (B, G, M, D) each.

    Self-attention appends to them at every step; cross-attention computes them once. The buffers grow by
    doubling, so a text of n tokens costs O(n) copies.
    """

    length: int = 0
    key_BGMD: Tensor | None = None
    value_BGMD: Tensor | None = None

    def append(self, key_BGMD: Tensor, value_BGMD: Tensor) -> tuple[Tensor, Tensor]:
        """Add new keys and values; return all of them."""
        end = self.length + key_BGMD.shape[2]
        self.key_BGMD = self._put(self.key_BGMD, key_BGMD, end)
        self.value_BGMD = self._put(self.value_BGMD, value_BGMD, end)
        self.length = end
        return self.read()

    def read(self) -> tuple[Tensor, Tensor]:
        assert self.key_BGMD is not None and self.value_BGMD is not None
        return self.key_BGMD[:, :, : self.length], self.value_BGMD[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Keep these batch rows, in this order (beams that live on)."""
        if self.key_BGMD is not None and self.value_BGMD is not None:
            self.key_BGMD = self.key_BGMD.index_select(0, rows)
            self.value_BGMD = self.value_BGMD.index_select(0, rows)

    def _put(self, buffer: Tensor | None, new: Tensor, end: int) -> Tensor:
        if buffer is None or end > buffer.shape[2]:
            batch, groups, _, width = new.shape
            larger = new.new_empty(batch, groups, max(2 * end, 16), width)
            if buffer is not None:
                larger[:, :, : self.length] = buffer[:, :, : self.length]
            buffer = larger
        buffer[:, :, self.length : end] = new
        return buffer


@dataclass
class KeyValueCache:
    """One `LayerCache` for every self-attention and one for every cross-attention of a decoder."""

    layers: int
    self_attention: list[LayerCache] = field(default_factory=list)
    cross_attention: list[LayerCache] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.self_attention = [LayerCache() for _ in range(self.layers)]
        self.cross_attention = [LayerCache() for _ in range(self.layers)]

    @property
    def length(self) -> int:
        """How many tokens have been read."""
        return self.self_attention[0].length if self.self_attention else 0

    def select(self, rows: Tensor, memory: bool = True) -> None:
        """Keep these batch rows; `memory=False` when each row keeps its source, so that it need not be copied."""
        for layer in self.self_attention + (self.cross_attention if memory else []):
            layer.select(rows)


Role = Literal["pairs", "language", "classes"]
"""What a model does: source text → target text, text → its next token, or text → one of several classes."""


@dataclass(frozen=True, eq=False)
class _Block:
    """An open `record_attention`: the names of its modules, and what they have handed over."""

    names: Mapping[nn.Module, str]
    seen: dict[str, AttentionMatrix]


_OPEN: ContextVar[tuple[_Block, ...]] = ContextVar("open blocks of record_attention", default=())
"""Those of the thread (or task) that asks: two of them may read from one model."""


class KeepsAttention(nn.Module):
    """A module that hands its `AttentionMatrix` over in every forward, where somebody wants it: an open
    `record_attention`, or `keep`, where that is set."""

    keep: Callable[[AttentionMatrix], None] | None = None

    @property
    def wanted(self) -> bool:
        return self.keep is not None or any(self in block.names for block in _OPEN.get())


def hand_over(module: KeepsAttention, matrix: AttentionMatrix) -> None:
    """To all who want it."""
    for block in _OPEN.get():
        if (name := block.names.get(module)) is not None:
            block.seen[name] = matrix
    if module.keep is not None:
        module.keep(matrix)


MOST_WIDE = 2**20
"""The largest width of a model: a projection of it takes four terabytes."""


def check_heads(width: int, heads: int, groups: int) -> None:
    """Raises InputError where `heads` are no equal parts of the width, or do not share `groups` keys equally."""
    for name, number in (("width", width), ("heads", heads), ("key_value_heads", groups)):
        check_whole(name, number, 1)
    check_whole("width", width, 1, MOST_WIDE)
    if width % heads:
        raise InputError(f"heads must divide the width: {width} is not a multiple of {heads}.")
    if heads % groups:
        raise InputError(f"key_value_heads must divide heads: {heads} is not a multiple of {groups}.")


class MultiHeadAttention(KeepsAttention):
    """Self-attention (`forward(x)`) or cross-attention (`forward(x, memory)`).

    Shapes: x (B, N, E), memory (B, M, E) → (B, N, E). `key_value_heads` (G) may be fewer than `heads` (H):
    grouped queries (Ainslie et al. 2023, arXiv:2305.13245). The paper's projections have no bias.

    >>> attention = MultiHeadAttention(width=16, heads=4)
    >>> attention(torch.ones(2, 5, 16), mask=masks.causal()).shape
    torch.Size([2, 5, 16])
    """

    @checked
    def __init__(
        self,
        width: int,
        heads: int,
        *,
        key_value_heads: int | None = None,
        positions: Positions | None = None,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        groups = heads if key_value_heads is None else key_value_heads
        check_heads(width, heads, groups)
        self.heads, self.groups, self.head_width = heads, groups, width // heads
        self.dropout = dropout
        self.positions = positions or Positions()
        self.Wq = nn.Linear(width, width, bias=bias)
        self.Wk = nn.Linear(width, groups * self.head_width, bias=bias)
        self.Wv = nn.Linear(width, groups * self.head_width, bias=bias)
        self.Wo = nn.Linear(width, width, bias=bias)
        for projection in (self.Wq, self.Wk, self.Wv, self.Wo):
            nn.init.xavier_uniform_(projection.weight)
            if bias:
                nn.init.zeros_(projection.bias)

    @checked
    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        mask: Mask | None = None,
        cache: LayerCache | None = None,
        start: int = 0,
    ) -> Tensor:
        """`start` is the position of x's first token: with a cache, the number of tokens read before."""
        sizes(x_BNE=x) if memory is None else sizes(x_BNE=x, memory_BME=memory)
        if not isinstance(mask, Mask | None):
            raise ArgumentTypeError(
                f"mask must be a Mask, such as masks.causal(); got {type(mask).__name__}. A table of bools, "
                "True where a query may attend, becomes one with masks.dense(table)."
            )
        query_BHND = self.positions.rotate(self._split(self.Wq(x), self.heads), start)
        if memory is None:
            key_BGMD, value_BGMD = self.keys_values(x, start)
            if cache is not None:
                key_BGMD, value_BGMD = cache.append(key_BGMD, value_BGMD)
            bias = self.positions.bias(self.heads, x.shape[1], key_BGMD.shape[2], x.device)
        else:
            if cache is None:
                key_BGMD, value_BGMD = self.keys_values(memory)
            elif cache.length == 0:
                key_BGMD, value_BGMD = cache.append(*self.keys_values(memory))
            else:
                key_BGMD, value_BGMD = cache.read()
            bias = None
        if self.wanted:
            rule = None if bias is None else self.positions.rule(self.heads)
            hand_over(self, AttentionMatrix(query_BHND, key_BGMD, value_BGMD, mask=mask, bias=rule))
        mixed_BHND = fused_attention(
            query_BHND,
            key_BGMD,
            value_BGMD,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=self.groups != self.heads,
            **_fused_mask(mask, bias, query_BHND, key_BGMD),
        )
        return self.Wo(mixed_BHND.transpose(1, 2).flatten(2))

    def _split(self, x_BNE: Tensor, heads: int) -> Tensor:
        return x_BNE.unflatten(2, (heads, self.head_width)).transpose(1, 2)

    def keys_values(self, x_BME: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        key_BGMD = self.positions.rotate(self._split(self.Wk(x_BME), self.groups), start)
        return key_BGMD, self._split(self.Wv(x_BME), self.groups)


def fused_attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """softmax(QKᵀ/√D) V by PyTorch's fused kernel, with its options. On the CPU under bf16 autocast it stays in
    float32: exacter, and its backward is several times faster there."""
    upcast = query.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if upcast:
        query, key, value = query.float(), key.float(), value.float()
    with torch.autocast("cpu", enabled=False) if upcast else nullcontext():
        return scaled_dot_product_attention(query, key, value, **options)


def text_keys(lengths_B: Tensor | None, tokens: int) -> Mask | None:
    """The keys that are text rather than padding on its right; no mask at all where every row is full."""
    if lengths_B is None or bool((lengths_B == tokens).all()):
        return None
    return masks.lengths(key=lengths_B)


def _fused_mask(
    mask: Mask | None, bias: Tensor | None, query_BHND: Tensor, key_BGMD: Tensor
) -> dict[str, Any]:
    """The mask in the words of the fused kernel, which is quickest when it is given none or its own causal."""
    queries, keys = query_BHND.shape[2], key_BGMD.shape[2]
    causal = mask == masks.causal()
    if bias is None:
        if mask is None or (causal and queries == 1):
            return {}
        if causal and queries == keys:
            return {"is_causal": True}
        return {"attn_mask": mask.dense(queries, keys, query_BHND.device)}
    bias = bias.to(query_BHND.dtype)
    if mask is None:
        return {"attn_mask": bias}
    return {"attn_mask": bias.masked_fill(~mask.dense(queries, keys, query_BHND.device), -math.inf)}


@contextmanager
@checked
def record_attention(model: nn.Module) -> Iterator[dict[str, AttentionMatrix]]:
    """Inside the block every forward of `model` in this thread fills the dictionary: module name → `AttentionMatrix`.

    The matrices of the latest forward stand there, in the order of execution. They hold references, so the
    forward costs nothing more; after the block nothing is kept. Other threads may use the model meanwhile.

    >>> attention = MultiHeadAttention(width=16, heads=4)
    >>> with record_attention(attention) as seen:
    ...     _ = attention(torch.ones(2, 5, 16))
    >>> seen[""][0, 3, 4, :].shape                 # of batch 0, head 3, query 4: the weights of all keys
    torch.Size([5])
    """
    names: dict[nn.Module, str] = {
        module: name for name, module in model.named_modules() if isinstance(module, KeepsAttention)
    }
    block = _Block(names, {})
    before = _OPEN.set((*_OPEN.get(), block))
    try:
        yield block.seen
    finally:
        _OPEN.reset(before)

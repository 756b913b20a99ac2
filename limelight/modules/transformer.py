"""The Transformer (Vaswani et al. 2017, §3): encoder, decoder and encoder-decoder from one block.

    Block            self-attention → (cross-attention) → feed-forward, each with a residual and a norm
    Stack            embeddings + positions → L blocks
    Transformer      an encoder stack and a decoder stack: translation, pronunciation
    LanguageModel    a causal stack that predicts the next token
    Classifier       an encoder stack, its mean, one score a class

Where we differ from the paper by default: norms stand before each sublayer (Xiong et al. 2020,
arXiv:2002.04745) with one more at the end, and positions are rotary. `PRESETS["base"]` is the paper's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from limelight.checked import checked, checked_class
from limelight.errors import InputError, check_whole, one_of
from limelight.matrix import masks
from limelight.matrix.masks import Mask
from limelight.modules.attention import (
    KeyValueCache,
    LayerCache,
    MultiHeadAttention,
    Role,
    check_heads,
    text_keys,
)
from limelight.modules.embeddings import MOST_TOKENS, TokenEmbedding
from limelight.modules.positions import check_pairs, positions

MOST = {
    "width": 2**20,
    "feed_forward": 2**24,
    "encoder_layers": 10_000,
    "decoder_layers": 10_000,
    "longest": 2**31,
}
"""More than any machine holds: a slip of the finger, or a broken file."""


@checked_class
@dataclass(frozen=True)
class TransformerConfig:
    """What a Transformer's blocks look like. Widths in features, dropout as a probability.

    `causal` is for a classifier alone: no token attends to what stands after it, as in the language model that it
    was made from.
    """

    width: int = 256
    heads: int = 4
    feed_forward: int = 1024
    encoder_layers: int = 3
    decoder_layers: int = 3
    key_value_heads: int | None = None
    positions: str = "rotary"
    norm: Literal["pre", "post"] = "pre"
    activation: Literal["relu", "gelu", "silu"] = "relu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    attention_bias: bool = False
    longest: int = 1024
    causal: bool = False
    architecture: Literal["transformer"] = "transformer"

    def __post_init__(self) -> None:
        if self.norm not in ("pre", "post"):
            raise InputError(f'norm must be "pre" or "post"; got {self.norm!r}.')
        if self.activation not in ACTIVATIONS:
            raise InputError(one_of("activation", ACTIVATIONS, self.activation))
        for name in ("width", "heads", "feed_forward", "longest"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}.")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise InputError(f"{name} must be at most {most:,}; got {getattr(self, name)}.")
        check_heads(
            self.width, self.heads, self.heads if self.key_value_heads is None else self.key_value_heads
        )
        if self.positions == "rotary":
            check_pairs(self.width // self.heads)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}

PRESETS = {
    "base": TransformerConfig(512, 8, 2048, 6, 6, positions="sinusoidal", norm="post"),
    "big": TransformerConfig(1024, 16, 4096, 6, 6, positions="sinusoidal", norm="post", dropout=0.3),
    "small": TransformerConfig(),
    "tiny": TransformerConfig(64, 4, 128, 2, 2),
}
"""The paper's Table 3 (`base`, `big`), and two that train on a laptop."""


class FeedForward(nn.Sequential):
    """max(0, x W1 + b1) W2 + b2, for each position by itself (§3.3, eq. 2)."""

    def __init__(self, shape: TransformerConfig) -> None:
        widen, narrow = nn.Linear(shape.width, shape.feed_forward), nn.Linear(shape.feed_forward, shape.width)
        for layer in (widen, narrow):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        super().__init__(widen, ACTIVATIONS[shape.activation](), narrow)


class Block(nn.Module):
    """One layer (§3.1). With `cross` it also attends to a memory, as the paper's decoder does."""

    def __init__(self, shape: TransformerConfig, cross: bool) -> None:
        super().__init__()

        def attention() -> MultiHeadAttention:
            return MultiHeadAttention(
                shape.width,
                shape.heads,
                key_value_heads=shape.key_value_heads,
                positions=positions(shape.positions, shape.width, shape.width // shape.heads, shape.longest),
                bias=shape.attention_bias,
                dropout=shape.attention_dropout,
            )

        self.pre = shape.norm == "pre"
        self.dropout = nn.Dropout(shape.dropout)
        self.self_attention = attention()
        self.self_norm = nn.LayerNorm(shape.width)
        self.cross = cross
        if cross:
            self.cross_attention = attention()
            self.cross_norm = nn.LayerNorm(shape.width)
        self.feed_forward = FeedForward(shape)
        self.feed_norm = nn.LayerNorm(shape.width)

    def forward(
        self,
        x_BNE: Tensor,
        memory_BME: Tensor | None = None,
        *,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
        cache: tuple[LayerCache, LayerCache] | None = None,
        start: int = 0,
    ) -> Tensor:
        own, other = cache if cache is not None else (None, None)
        x_BNE = self._add(
            x_BNE, self.self_norm, lambda x: self.self_attention(x, mask=mask, cache=own, start=start)
        )
        if self.cross:
            x_BNE = self._add(
                x_BNE,
                self.cross_norm,
                lambda x: self.cross_attention(x, memory_BME, mask=memory_mask, cache=other, start=start),
            )
        return self._add(x_BNE, self.feed_norm, self.feed_forward)

    def rows_from(
        self,
        first: int,
        x_BNE: Tensor,
        memory_BME: Tensor | None = None,
        *,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Tensor:
        """The rows from `first` on, (B, N - first, E): of those before it only keys and values are computed."""
        own = LayerCache()
        if first:
            before_BNE = self.self_norm(x_BNE[:, :first]) if self.pre else x_BNE[:, :first]
            own.append(*self.self_attention.keys_values(before_BNE))
        rest_BNE, cache = x_BNE[:, first:], (own, LayerCache())
        after_BNE: Tensor = self(
            rest_BNE, memory_BME, mask=mask, memory_mask=memory_mask, cache=cache, start=first
        )
        return after_BNE

    def _add(self, x_BNE: Tensor, norm: nn.LayerNorm, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """x + Sublayer(Norm(x)), or the paper's Norm(x + Sublayer(x)) (§3.1, §5.4 for the dropout)."""
        if self.pre:
            return x_BNE + self.dropout(sublayer(norm(x_BNE)))
        return norm(x_BNE + self.dropout(sublayer(x_BNE)))


class Stack(nn.Module):
    """Token embeddings, positions, blocks. (B, N) ids → (B, N, E)."""

    def __init__(
        self, shape: TransformerConfig, embedding: TokenEmbedding, layers: int, cross: bool = False
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.positions = positions(shape.positions, shape.width, shape.width // shape.heads, shape.longest)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape, cross) for _ in range(layers))
        self.norm = nn.LayerNorm(shape.width) if shape.norm == "pre" else nn.Identity()

    def embed(self, ids_BN: Tensor, start: int = 0) -> Tensor:
        """The vectors that enter the first block, before dropout: embedding plus position (§3.4, §3.5)."""
        return self.positions.add(self.embedding(ids_BN), start)

    def forward(
        self,
        ids_BN: Tensor,
        memory_BME: Tensor | None = None,
        *,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        start = cache.length if cache is not None else 0
        layers = zip(cache.self_attention, cache.cross_attention, strict=True) if cache is not None else None
        x_BNE = self.dropout(self.embed(ids_BN, start))
        for block in self.blocks:
            x_BNE = block(
                x_BNE,
                memory_BME,
                mask=mask,
                memory_mask=memory_mask,
                cache=next(layers) if layers is not None else None,
                start=start,
            )
        return self.norm(x_BNE)

    def rows_from(
        self,
        first: int,
        ids_BN: Tensor,
        memory_BME: Tensor | None = None,
        *,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Tensor:
        """The rows of `forward` from `first` on, (B, N - first, E); the last block computes none before them."""
        x_BNE = self.dropout(self.embed(ids_BN))
        for block in self.blocks[:-1]:
            x_BNE = block(x_BNE, memory_BME, mask=mask, memory_mask=memory_mask)
        last = cast(Block, self.blocks[-1])
        return self.norm(last.rows_from(first, x_BNE, memory_BME, mask=mask, memory_mask=memory_mask))


class Transformer(nn.Module):
    """The paper's encoder-decoder. Sources and targets may share one vocabulary and one table.

    forward(source (B, M), target (B, N), source_lengths (B,)) → scores over the vocabulary, (B, N, V): row i
    predicts the token after target i. Padding stands on the right.
    """

    role: ClassVar[Role] = "pairs"

    @checked
    def __init__(
        self, shape: TransformerConfig, source_vocabulary: int, target_vocabulary: int, share: bool = False
    ) -> None:
        super().__init__()
        if share and source_vocabulary != target_vocabulary:
            raise InputError(
                f"A shared table needs one vocabulary; got {source_vocabulary} and {target_vocabulary} tokens."
            )
        self.shape = shape
        target_table = TokenEmbedding(target_vocabulary, shape.width)
        source_table = target_table if share else TokenEmbedding(source_vocabulary, shape.width)
        self.encoder = Stack(shape, source_table, shape.encoder_layers)
        self.decoder = Stack(shape, target_table, shape.decoder_layers, cross=True)

    def forward(self, source: Tensor, target: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        seen = text_keys(source_lengths, source.shape[1])
        return self.decode(target, self.encode(source, source_lengths), seen)

    def encode(self, source: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        """Source ids (B, M) → memory (B, M, E)."""
        return self.encoder(source, mask=text_keys(source_lengths, source.shape[1]))

    def decode(
        self,
        target: Tensor,
        memory: Tensor,
        memory_mask: Mask | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Target ids (B, N), memory (B, M, E) → scores (B, N, V). With a cache, `target` holds new tokens only."""
        x_BNE = self.decoder(target, memory, mask=masks.causal(), memory_mask=memory_mask, cache=cache)
        return self.decoder.embedding.scores(x_BNE)

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache(self.shape.decoder_layers)


class LanguageModel(nn.Module):
    """A decoder alone: ids (B, N) → scores of the next token (B, N, V).

    `window` is how many tokens it was trained to read at once. In a longer text each token attends to START and to
    the latest `window` tokens, itself counted; None sets no limit.
    """

    role: ClassVar[Role] = "language"

    @checked
    def __init__(self, shape: TransformerConfig, vocabulary: int, window: int | None = None) -> None:
        super().__init__()
        self.shape = shape
        if window is not None:
            check_whole("window", window, 2)
        self.window = window
        self.decoder = Stack(shape, TokenEmbedding(vocabulary, shape.width), shape.decoder_layers)

    def forward(self, target: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        return self.decoder.embedding.scores(self.read(target, cache))

    def read(self, target: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Ids (B, N) → the vectors that the scores are made from, (B, N, E)."""
        read = 0 if cache is None else cache.length
        return self.decoder(target, mask=self.visible(read + target.shape[1]), cache=cache)

    def visible(self, tokens: int) -> Mask:
        """What each of so many tokens may attend to."""
        if self.window is None or tokens <= self.window:
            return masks.causal()
        return masks.causal() & (masks.window(self.window) | masks.lengths(key=1))

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache(self.shape.decoder_layers)


class Classifier(nn.Module):
    """An encoder, the mean of its last vectors, and one score a class: ids (B, N) → (B, classes)."""

    role: ClassVar[Role] = "classes"

    @checked
    def __init__(self, shape: TransformerConfig, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.shape = shape
        check_whole("classes", classes, 1, MOST_TOKENS)
        self.encoder = Stack(shape, TokenEmbedding(vocabulary, shape.width), shape.encoder_layers)
        self.output = nn.Linear(shape.width, classes)

    def forward(self, source: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        x_BNE = self.encoder(source, mask=self.visible(text_keys(source_lengths, source.shape[1])))
        if source_lengths is None:
            return self.output(x_BNE.mean(1))
        text_BN1 = (
            torch.arange(source.shape[1], device=source.device)[None, :, None] < source_lengths[:, None, None]
        )
        return self.output((x_BNE * text_BN1).sum(1) / source_lengths[:, None].clamp_min(1))

    def visible(self, mask: Mask | None) -> Mask | None:
        """What the tokens may attend to, of what `mask` leaves."""
        if not self.shape.causal:
            return mask
        return masks.causal() if mask is None else masks.causal() & mask

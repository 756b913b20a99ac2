"""Every module once more, in float64, from nothing but its weights by name and its shape.

Attention is `limelight.matrix.reference`; the rest is written out here as the paper has it, without a look at the
modules' code: no fused kernel, no cache, no table of angles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limelight.matrix import reference
from limelight.matrix.masks import Mask, causal, lengths
from limelight.modules.transformer import TransformerConfig


@dataclass(frozen=True)
class Truth:
    """The weights of a module under a prefix, in float64, and the shape that says how they are used.

    `seen` collects every stage of each attention that was computed, by the name of its module.
    """

    weights: dict[str, Tensor]
    shape: TransformerConfig
    prefix: str = ""
    seen: dict[str, reference.AttentionStages] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, shape: TransformerConfig) -> Truth:
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        every = module.named_parameters(remove_duplicate=False)
        return cls({name: module.get_parameter(names[id(p)]).detach().double() for name, p in every}, shape)

    def at(self, name: str) -> Truth:
        """The part under a name."""
        return Truth(self.weights, self.shape, f"{self.prefix}{name}.", self.seen)

    def weight(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def maybe(self, name: str) -> Tensor | None:
        return self.weights.get(self.prefix + name)

    # ---- layers -----------------------------------------------------------------------------------

    def linear(self, x: Tensor) -> Tensor:
        bias = self.maybe("bias")
        product = x @ self.weight("weight").T
        return product if bias is None else product + bias

    def norm(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        spread = torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
        return centred / spread * self.weight("weight") + self.weight("bias")

    def feed_forward(self, x: Tensor) -> Tensor:
        inner = self.at("0").linear(x)
        active = {
            "relu": lambda z: z.clamp(min=0),
            "gelu": lambda z: z * 0.5 * (1 + torch.erf(z / math.sqrt(2))),
            "silu": lambda z: z / (1 + torch.exp(-z)),
        }[self.shape.activation](inner)
        return self.at("2").linear(active)

    def attention_stages(
        self, x: Tensor, memory: Tensor | None = None, mask: Mask | None = None
    ) -> reference.AttentionStages:
        """Self-attention of x, or its attention to the memory."""
        shape = self.shape
        groups = shape.key_value_heads or shape.heads
        other = x if memory is None else memory
        inputs = reference.matrix_inputs(
            x,
            other,
            *(self.weight(f"{name}.weight").T for name in ("Wq", "Wk", "Wv")),
            biases=tuple(self.maybe(f"{name}.bias") for name in ("Wq", "Wk", "Wv")),
        )
        query, key, value = (
            reference.split_heads(each, heads)
            for each, heads in zip(inputs, (shape.heads, groups, groups), strict=True)
        )
        if shape.positions == "rotary":
            query, key = rotated(query), rotated(key)
        bias = None
        if shape.positions == "alibi" and memory is None:
            bias = alibi(shape.heads, x.shape[1], other.shape[1])
        stages = reference.attention(query, key, value, mask=mask, bias=bias)
        self.seen[self.prefix.rstrip(".")] = stages
        return stages

    def attention(self, x: Tensor, memory: Tensor | None = None, mask: Mask | None = None) -> Tensor:
        output = self.attention_stages(x, memory, mask).output_BHND
        return reference.concatenate(output, self.weight("Wo.weight").T, self.maybe("Wo.bias"))

    def block(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Tensor:
        sublayers = [("self_norm", lambda y: self.at("self_attention").attention(y, None, mask))]
        if memory is not None:
            sublayers.append(
                ("cross_norm", lambda y: self.at("cross_attention").attention(y, memory, memory_mask))
            )
        sublayers.append(("feed_norm", self.at("feed_forward").feed_forward))
        for name, sublayer in sublayers:
            norm = self.at(name).norm
            x = x + sublayer(norm(x)) if self.shape.norm == "pre" else norm(x + sublayer(x))
        return x

    # ---- models -----------------------------------------------------------------------------------

    def embedded(self, ids: Tensor) -> Tensor:
        x = self.weight("embedding.table.weight")[ids] * math.sqrt(self.shape.width)
        if self.shape.positions == "sinusoidal":
            x = x + waves(ids.shape[1], self.shape.width)
        if self.shape.positions == "learned":
            x = x + self.weight("positions.table.weight")[: ids.shape[1]]
        return x

    def stack(
        self,
        ids: Tensor,
        layers: int,
        memory: Tensor | None = None,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Tensor:
        x = self.embedded(ids)
        for number in range(layers):
            x = self.at(f"blocks.{number}").block(x, memory, mask, memory_mask)
        return self.at("norm").norm(x) if self.shape.norm == "pre" else x

    def transformer(self, source: Tensor, target: Tensor, source_lengths: Tensor) -> Tensor:
        seen = lengths(key=source_lengths)
        memory = self.at("encoder").stack(source, self.shape.encoder_layers, mask=seen)
        decoder = self.at("decoder")
        x = decoder.stack(target, self.shape.decoder_layers, memory, causal(), seen)
        return x @ decoder.weight("embedding.table.weight").T

    def language_model(self, target: Tensor) -> Tensor:
        decoder = self.at("decoder")
        x = decoder.stack(target, self.shape.decoder_layers, mask=causal())
        return x @ decoder.weight("embedding.table.weight").T

    def classifier(self, source: Tensor, source_lengths: Tensor) -> Tensor:
        seen = lengths(key=source_lengths)
        x = self.at("encoder").stack(source, self.shape.encoder_layers, mask=seen)
        means = [row[:length].mean(0) for row, length in zip(x, source_lengths.tolist(), strict=True)]
        return self.at("output").linear(torch.stack(means))


# ── Positions ──


def waves(length: int, width: int) -> Tensor:
    """§3.5, number by number."""
    table = torch.zeros(length, width, dtype=torch.float64)
    for position in range(length):
        for feature in range(width):
            angle = position / 10_000 ** (2 * (feature // 2) / width)
            table[position, feature] = math.cos(angle) if feature % 2 else math.sin(angle)
    return table


def rotated(x_BHND: Tensor, base: float = 10_000.0) -> Tensor:
    """Features i and i + D/2 as one complex number, turned by p / base^(2i/D)."""
    left, right = x_BHND.double().chunk(2, dim=-1)
    turned = torch.complex(left, right)
    half = left.shape[-1]
    for position in range(x_BHND.shape[2]):
        for pair in range(half):
            angle = position / base ** (pair / half)
            turned[:, :, position, pair] *= complex(math.cos(angle), math.sin(angle))
    return torch.cat((turned.real, turned.imag), dim=-1)


def alibi(heads: int, queries: int, keys: int) -> Tensor:
    """−slope · distance; slopes 2^(−8h/H) for H a power of two, the authors' filling-up otherwise."""
    power = 1
    while 2 * power <= heads:
        power *= 2
    slopes = [2 ** (-8 * head / power) for head in range(1, power + 1)]
    slopes += [2 ** (-8 * head / (2 * power)) for head in range(1, 2 * power + 1, 2)]
    bias = torch.zeros(heads, queries, keys, dtype=torch.float64)
    for head in range(heads):
        for i in range(queries):
            for j in range(keys):
                bias[head, i, j] = -slopes[head] * abs(i + keys - queries - j)
    return bias

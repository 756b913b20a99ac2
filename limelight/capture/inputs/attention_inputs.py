"""AttentionInputs: Q, K, V, mask and bias of one attention call, whichever backend ran it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from limelight.capture.inputs.autograd import Graph
from limelight.matrix import AttentionMatrix, Mask
from limelight.matrix.biases import Bias
from limelight.matrix.head_range import HeadRange
from limelight.matrix.index_functions import PlaceFunction

Kind = Literal["self", "cross"]


@dataclass(frozen=True, eq=False, kw_only=True)
class AttentionInputs:
    """References to what one call of attention was computed from; nothing is copied, and what is kept (`to_keep`)
    keeps no graph alive.

    query (B, H, N, D), key (B, G, M, D), value (B, G, M, X), and the rest as `AttentionMatrix` takes it. A batch
    of one beside a larger one stands for all, as the backends have it.
    """

    query: Tensor
    key: Tensor
    value: Tensor | None = None
    mask: Mask | None = None
    bias: Tensor | Bias | PlaceFunction | None = None
    scale: float | None = None
    softcap: float | None = None
    sink: Tensor | None = None
    output: Tensor | None = None
    """What the backend made of it, (B, H, N, X), to be verified against."""
    dropout: float = 0.0
    """The share of weights that the backend dropped; the matrix holds the weights before."""
    backend: str = ""
    """Who computed it: "sdpa", "eager", "flash_attention_2", …"""
    kind: Kind = "self"
    """Whether the keys come from the queries' own sequence or from another."""
    memory: int | None = None
    """Where the keys stood before they were moved to another device; None for what was not moved."""
    part: HeadRange | None = None
    """Which of the layer's heads these are, where other processes have the rest."""
    sure: bool = True
    """False where the backend's conventions are not known: then its output must be verified."""
    graph: Graph | None = None
    """The same with the model's graph on it, where a gradient may be asked of the weights."""

    def __post_init__(self) -> None:
        B = max(self.query.shape[0], self.key.shape[0])
        bias = self.bias if isinstance(self.bias, Tensor) else None
        asks = (self.query, self.key, bias, self.sink)
        if self.graph is None and any(each is not None and each.requires_grad for each in asks):
            query, key = (_for_all(each, B) for each in (self.query, self.key))
            object.__setattr__(self, "graph", Graph(query, key, bias, self.sink))
        for name in ("query", "key", "value", "bias", "sink", "output"):
            given = getattr(self, name)
            if isinstance(given, Tensor) and given.requires_grad:
                object.__setattr__(self, name, given.detach())
        for name in ("query", "key", "value"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _for_all(given, B))

    def matrix(self) -> AttentionMatrix:
        """The attention matrix of this call. Raises ShapeError or ArgumentTypeError where the inputs do not fit."""
        matrix = AttentionMatrix(
            self.query,
            self.key,
            self.value,
            mask=self.mask,
            scale=self.scale,
            bias=self.bias,
            softcap=self.softcap,
            sink=self.sink,
        )
        matrix.head_range = self.part
        return matrix

    def to_keep(self, values: bool) -> AttentionInputs:
        """Without what need not be kept: the output, the graph, and the values unless they are wanted."""
        if self.output is None and self.graph is None and (values or self.value is None):
            return self
        return replace(self, output=None, graph=None, value=self.value if values else None)

    def cast(self) -> AttentionInputs:
        """Under autocast, with queries, keys and values rounded as the backend rounds them."""
        device = self.query.device.type
        if not torch.is_autocast_enabled(device):
            return self
        low = torch.get_autocast_dtype(device)

        def rounded(tensor: Tensor) -> Tensor:
            return tensor.to(low) if tensor.dtype == torch.float32 else tensor

        value = None if self.value is None else rounded(self.value)
        graph = self.graph
        if graph is not None:
            graph = replace(graph, query=rounded(graph.query), key=rounded(graph.key))
        return replace(self, query=rounded(self.query), key=rounded(self.key), value=value, graph=graph)


def _for_all(tensor: Tensor, B: int) -> Tensor:
    """For the whole batch: one beside a larger one stands for all."""
    return tensor.expand(B, -1, -1, -1) if tensor.shape[0] == 1 < B else tensor

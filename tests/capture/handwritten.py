"""Attention, and what is none, as people write it by hand in modules of any name; each keeps the weights it computed.

A way takes a module `self` and its heads, q (B, H, N, D), k and v likewise, and gives the output (B, H, N, D) and the
weights of its softmaxes, each (B, H, N, M), computed apart from what the output is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

B, H, N, D = 2, 3, 5, 7
E = H * D

Way = Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, Sequence[Tensor]]]


class Block(nn.Module):
    """Projections, a way to attend, and a projection; nothing in its name speaks of attention."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(E, 3 * E), nn.Linear(E, E)
        self.mix, self.mix_after = nn.Linear(H, H), nn.Linear(H, H)
        self.over = nn.Conv2d(H, H, 3, padding=1)
        self.gate = nn.Parameter(torch.rand(H))
        self.temperature = nn.Parameter(torch.tensor(0.7))
        self.positions = nn.Linear(2, H)
        self.register_buffer("places", torch.randn(N, N, 2))
        self.way = way
        self.weights: Sequence[Tensor] = ()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (H, D)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        y, self.weights = self.way(self, q, k, v)
        return self.out(y.transpose(1, 2).flatten(2))


def scores_of(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-1, -2) * D**-0.5


def by_softmax(change: Callable[[Tensor], Tensor]) -> Way:
    """A way that changes the scores before an ordinary softmax."""

    def way(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        w = torch.softmax(change(scores_of(q, k)), -1)
        return w @ v, [w]

    return way


def by_weights(weigh: Callable[[Tensor], Tensor]) -> Way:
    """A way that makes weights of the scores by itself."""

    def way(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        w = weigh(scores_of(q, k))
        return w @ v, [w]

    return way


def keys_first(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    w = (k @ q.mT * D**-0.5).softmax(dim=-2)
    return (v.mT @ w).mT, [w.mT]


def channels_first(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    w = scores_of(q, k).softmax(-1)
    return (v.transpose(-1, -2) @ w.transpose(-2, -1)).transpose(-1, -2), [w]


def heads_last(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    w = torch.einsum("bihd,bjhd->bijh", q, k).softmax(2)
    return torch.einsum("bijh,bjhd->bhid", w, v), [w.permute(0, 3, 1, 2)]


def tied_rows(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """All texts share one map (Rao et al. 2021)."""
    w = torch.einsum("rhid,rhjd->hij", q, k).softmax(-1)
    return torch.einsum("hij,rhjd->rhid", w, v), [w[None]]


def columns(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """The texts' tokens at one place attend to each other; heads come first."""
    w = torch.einsum("rhid,shid->hirs", q, k).softmax(-1)
    return torch.einsum("hirs,shid->rhid", w, v), [w.transpose(0, 1)]


def folded(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Heads and texts in one axis, added to slopes."""
    flat_q, flat_k, flat_v = (each.flatten(0, 1) for each in (q, k, v))
    slopes = (torch.arange(N) * 0.3).expand(B * H, 1, N)
    w = torch.baddbmm(slopes, flat_q, flat_k.mT, beta=0.5, alpha=D**-0.5).softmax(-1)
    return torch.bmm(w, flat_v).unflatten(0, (B, H)), [w.unflatten(0, (B, H))]


def grouped(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Windows that lie before the heads, as in Twins."""
    q, k, v = (functional.pad(each, (0, 0, 0, 1)).unflatten(2, (2, 3)).transpose(1, 2) for each in (q, k, v))
    w = scores_of(q, k).softmax(-1)
    return (w @ v).transpose(1, 2).flatten(2, 3)[:, :, :N], [w.flatten(0, 1)]


def class_token(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    w = scores_of(q[:, :, :1], k).softmax(-1)
    return (w @ v).expand(-1, -1, N, -1), [w]


def talking_before(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    w = self.mix(scores_of(q, k).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).softmax(-1)
    return w @ v, [w]


def talking_by_einsum(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    w = torch.einsum("bhij,hg->bgij", scores_of(q, k), self.mix.weight).softmax(-1)
    return w @ v, [w]


def talking_by_convolution(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    w = functional.conv2d(scores_of(q, k), self.mix.weight[..., None, None], self.mix.bias).softmax(-1)
    return w @ v, [w]


def talking_after(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    w = scores_of(q, k).softmax(-1)
    return self.mix_after(w.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) @ v, [w]


def gated_positions(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Two softmaxes, of content and of positions (d'Ascoli et al. 2021)."""
    content = scores_of(q, k).softmax(-1)
    positions = self.positions(self.places).permute(2, 0, 1)[None].expand(B, -1, -1, -1).softmax(-1)
    gate = torch.sigmoid(self.gate).view(1, -1, 1, 1)
    w = (1.0 - gate) * content + gate * positions
    w = w / w.sum(-1, keepdim=True)
    return w @ v, [content, positions]


def differential(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    one, other = scores_of(q, k).softmax(-1), scores_of(k, q).softmax(-1)
    return (one - self.temperature * other) @ v, [one, other]


def learned_temperature(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    s = (q @ k.mT) * self.temperature.exp()
    w = s.masked_fill(torch.eye(N, dtype=torch.bool), -torch.finfo(s.dtype).max).softmax(-1)
    return w @ v, [w]


def cosine(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    s = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
    w = (s * self.gate.view(1, H, 1, 1).exp() + torch.arange(N) * 0.1).softmax(-1)
    return w @ v, [w]


def nothing_where_blind(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    hidden = torch.zeros(N, N, dtype=torch.bool)
    hidden[2], hidden[0, 3:] = True, True
    w = scores_of(q, k).masked_fill(hidden, -math.inf).softmax(-1)
    w = torch.where(torch.isnan(w), torch.zeros_like(w), w)
    return w @ v, [w]


def by_hand(s: Tensor) -> Tensor:
    e = torch.exp(s - s.amax(dim=-1, keepdim=True))
    return e / e.sum(dim=-1, keepdim=True)


def by_hand_of_max(s: Tensor) -> Tensor:
    e = (s - s.max(-1, keepdim=True)[0].detach()).exp()
    return e / torch.sum(e, -1, True)


def off_by_one(s: Tensor) -> Tensor:
    e = s.exp()
    return e / (1 + e.sum(-1, keepdim=True))


def largest_two(s: Tensor) -> Tensor:
    return s.masked_fill(s < s.topk(2, dim=-1).values[..., -1:], -math.inf)


def of_one_function(s: Tensor) -> Tensor:
    def inner(given: Tensor) -> Tensor:
        return nn.Softmax(dim=-1)(given)

    return inner(s)


EXACT: dict[str, Way] = {
    "functional.softmax": by_weights(lambda s: functional.softmax(s, dim=-1)),
    "by name": by_weights(lambda s: torch.softmax(input=s, dim=-1)),
    "a module of the moment": by_weights(of_one_function),
    "log_softmax and exp": by_weights(lambda s: s.log_softmax(-1).exp()),
    "exp and sum": by_weights(by_hand),
    "exp and sum, the largest by max": by_weights(by_hand_of_max),
    "minus logsumexp": by_weights(lambda s: (s - s.logsumexp(-1, keepdim=True)).exp()),
    "softmax1": by_weights(off_by_one),
    "in float64": by_weights(lambda s: s.softmax(-1, dtype=torch.float64).float()),
    "top k": by_softmax(largest_two),
    "softcap": by_softmax(lambda s: 5 * torch.tanh(s / 5)),
    "alibi": by_softmax(lambda s: s + torch.arange(N) * 0.5),
    "keys first": keys_first,
    "V times weights turned": channels_first,
    "heads last": heads_last,
    "tied rows": tied_rows,
    "columns": columns,
    "heads and texts in one axis": folded,
    "windows before heads": grouped,
    "class token": class_token,
    "talking heads before": talking_before,
    "talking heads by einsum": talking_by_einsum,
    "talking heads by convolution": talking_by_convolution,
    "talking heads after": talking_after,
    "content and positions": gated_positions,
    "differential": differential,
    "learned temperature": learned_temperature,
    "cosine": cosine,
    "where isnan": nothing_where_blind,
}
"""Whose weights are softmax of scores, in some way."""


def channels(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Cross-covariance attention (El-Nouby et al. 2021)."""
    q, k, v = (each.transpose(-2, -1) for each in (q, k, v))
    w = (functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)).softmax(-1)
    return (w @ v).transpose(-2, -1), [w]


def linear(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    q, k = functional.elu(q) + 1, functional.elu(k) + 1
    return q @ (k.transpose(-2, -1) @ v) / (q @ k.sum(-2)[..., None]), []


def linear_by_einsum(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    context = torch.einsum("bhnd,bhne->bhde", k.softmax(-2), v)
    return torch.einsum("bhnd,bhde->bhne", q.softmax(-1), context), []


def linear_after_softmax(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Efficient attention (Shen et al. 2021), as lambda layers have it."""
    return q.softmax(-1) @ (k.transpose(-2, -1).softmax(dim=-1) @ v), []


def additive(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Scores of a small network (Bahdanau et al. 2015)."""
    s = functional.linear(
        torch.tanh(q[..., :, None, :] + k[..., None, :, :]), self.out.weight[:1, :D]
    ).squeeze(-1)
    return s.softmax(-1) @ v, []


def over_heads(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return scores_of(q, k).softmax(1) @ v, []


def through_convolution(self: Block, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return self.over(scores_of(q, k)).softmax(-1) @ v, []


def distances(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return (-torch.cdist(q, k)).softmax(-1) @ v, []


def turned(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return scores_of(q, k).softmax(-1).mT @ v, []


def unweighed(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return v * scores_of(q, k).softmax(-1).amax(-1, keepdim=True), []


def sparse(s: Tensor) -> Tensor:
    """Sparsemax (Martins and Astudillo 2016)."""
    ordered = s.sort(-1, descending=True).values
    sums = ordered.cumsum(-1) - 1
    k = torch.arange(1, s.shape[-1] + 1)
    size = (ordered * k > sums).sum(-1, keepdim=True)
    return (s - sums.gather(-1, size - 1) / size).clamp(min=0)


def one_for_all_heads(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return scores_of(q, k).mean(1, keepdim=True).softmax(-1) @ v, []


def largest_of_heads(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return scores_of(q, k).amax(dim=1)[:, None].softmax(-1) @ v, []


def one_query_by_einsum(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    weights = torch.einsum("bhd,bhkd->bhk", q[:, :, 0], k).mul(0.4).softmax(-1)
    return torch.einsum("bhk,bhkd->bhd", weights, v)[:, :, None].expand_as(v), []


def every_pair(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return ((q[:, :, :, None] * k[:, :, None]).sum(-1) * 0.4).softmax(-1) @ v, []


def angles(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    return functional.cosine_similarity(q[:, :, :, None], k[:, :, None], dim=-1).softmax(-1) @ v, []


def divided_late(_: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    unscaled = scores_of(q, k).exp()
    return unscaled @ v / unscaled.sum(-1, keepdim=True), []


MISSED: dict[str, tuple[Way, str]] = {
    "mean of heads": (one_for_all_heads, "go through mean"),
    "largest of heads": (largest_of_heads, "go through amax"),
    "one query by einsum": (one_query_by_einsum, "go through einsum"),
    "every pair": (every_pair, "go through mul"),
    "angles": (angles, "go through cosine_similarity"),
    "divided late": (divided_late, "before they are divided by their sum"),
    "sigmoid": (by_weights(torch.sigmoid), "go through sigmoid"),
    "squared relu": (by_weights(lambda s: s.relu().square()), "go through relu"),
    "relu over its sum": (by_weights(lambda s: s.relu() / s.relu().sum(-1, keepdim=True)), "go through relu"),
    "no softmax": (by_weights(lambda s: s / N), "without a softmax"),
    "clipped": (by_softmax(lambda s: s.clamp(-5, 5)), "go through clamp"),
    "clipped, then moved": (by_softmax(lambda s: s.clamp(-5, 5).flatten(0, 1).unflatten(0, (B, H))), "clamp"),
    "softmax1 of shifted scores": (
        by_weights(lambda s: off_by_one(s - s.amax(-1, keepdim=True))),
        "go through",
    ),
    "sparsemax": (by_weights(sparse), "go through"),
    "gumbel": (by_weights(lambda s: functional.gumbel_softmax(s, dim=-1)), "go through gumbel_softmax"),
    "top k after": (
        by_weights(lambda s: (w := s.softmax(-1)) * (w >= w.topk(2).values[..., -1:])),
        "mul after softmax",
    ),
    "sharpened after": (by_weights(lambda s: s.softmax(-1) ** 2), "pow after softmax"),
    "softmax over heads": (over_heads, "go through softmax"),
    "convolution of scores": (through_convolution, "go through conv2d"),
    "distances": (distances, "go through cdist"),
    "channels": (channels, "channels that attend to each other"),
    "linear": (linear, "linear attention"),
    "linear by einsum": (linear_by_einsum, "linear attention"),
    "linear after softmax": (linear_after_softmax, "linear attention"),
    "additive": (additive, "no product of queries and keys"),
    "summed over queries": (turned, "over the queries"),
    "no values": (unweighed, "met no values"),
}
"""What is computed and is no matrix: the way, and what its reason says."""


class Router(nn.Module):
    """A mixture of experts."""

    def __init__(self) -> None:
        super().__init__()
        self.choose = nn.Linear(E, 4, bias=False)
        self.up, self.down = nn.Parameter(torch.randn(4, E, 11)), nn.Parameter(torch.randn(4, 11, E))

    def forward(self, x: Tensor) -> Tensor:
        share = self.choose(x).softmax(-1)
        each = torch.einsum("btf,xfe->btxe", torch.einsum("bte,xef->btf", x, self.up).relu(), self.down)
        by_expert = torch.bmm(torch.bmm(x.flatten(0, 1).expand(4, -1, -1), self.up).relu(), self.down)
        return torch.einsum("btx,btxe->bte", share, each) + by_expert.sum(0).unflatten(0, x.shape[:2])


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.norm = nn.Linear(E, E), nn.Linear(E, 13), nn.LayerNorm(E)
        self.words = nn.Embedding(13, E)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x + self.one(x).relu())
        return self.two(x).softmax(-1) + (x @ self.words.weight.T).softmax(-1)


class Codebook(nn.Module):
    """Soft codes of a picture, and the channels' own gate."""

    def __init__(self) -> None:
        super().__init__()
        self.codes, self.squeeze = nn.Parameter(torch.randn(11, E)), nn.Linear(E, E)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.codes.T).softmax(-1) @ self.codes * self.squeeze(x.mean(1, keepdim=True)).sigmoid()


class Pooling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(E, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x).softmax(1).mT @ x


class Graph(nn.Module):
    """Two steps along the edges of a graph that is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(E, E), nn.Linear(E, E)

    def forward(self, x: Tensor) -> Tensor:
        edges = (x.mean(-1)[..., None] > x.mean(-1)[:, None]).float()
        return self.second(edges @ self.first(x).relu()).softmax(-1)


class StateSpace(nn.Module):
    """A recurrence with a state a channel, as Mamba's is (Gu and Dao 2023), by broadcasting and einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(E, E + 7 + 7 + E), nn.Linear(E, E)
        self.decay = nn.Parameter(torch.rand(E, 7))

    def forward(self, x: Tensor) -> Tensor:
        u, b, c, step = self.into(x).split((E, 7, 7, E), -1)
        step = functional.softplus(step)
        driven, kept = (step * u)[..., None] * b[:, :, None], (-step[..., None] * self.decay).exp()
        state, found = torch.zeros_like(driven[:, 0]), []
        for at in range(x.shape[1]):
            state = kept[:, at] * state + driven[:, at]
            found.append(torch.einsum("ben,bn->be", state, c[:, at]) + (state * c[:, at, None]).sum(-1))
        return self.out(torch.stack(found, 1)).softmax(-1)


NONE: dict[str, type[nn.Module]] = {
    each.__name__: each for each in (Router, Classifier, Codebook, Pooling, Graph, StateSpace)
}
"""What is no attention at all, and must not be told as missed."""

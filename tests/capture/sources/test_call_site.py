"""Self or cross: told by which tensors a module was given, not by what it is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from limelight.capture import watch
from limelight.capture.sources.call_site import same_memory

E, N, M = 6, 5, 7


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(E, E) for _ in range(3))

    def attend(self, x: Tensor, other: Tensor) -> Tensor:
        parts = [p(t)[:, None] for p, t in ((self.q, x), (self.k, other), (self.v, other))]
        return scaled_dot_product_attention(*parts)[:, 0]


class CrossAttention(Base):
    """As in many repositories: without a context it looks at itself."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        q, k, v = self.q(x)[:, None], self.k(context)[:, None], self.v(context)[:, None]
        return scaled_dot_product_attention(q, k, v)[:, 0]


class Mixer(Base):
    def forward(self, x: Tensor, mem: Tensor) -> Tensor:
        q, k, v = self.q(x)[:, None], self.k(mem)[:, None], self.v(mem)[:, None]
        return scaled_dot_product_attention(q, k, v)[:, 0]


class Keyed(Base):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = self.q(query)[:, None], self.k(key)[:, None], self.v(value)[:, None]
        return scaled_dot_product_attention(q, k, v)[:, 0]


class CrossBranch(Base):
    """Called so, and given one sequence."""

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.q(tokens[:, :1])[:, None], self.k(tokens)[:, None], self.v(tokens)[:, None]
        return scaled_dot_product_attention(q, k, v)[:, 0]


class CrossTwo(Base):
    """Called so, and given two under names of its own."""

    def forward(self, here: Tensor, there: Tensor) -> Tensor:
        q, k, v = self.q(here)[:, None], self.k(there)[:, None], self.v(there)[:, None]
        return scaled_dot_product_attention(q, k, v)[:, 0]


class Plain(Base):
    """A local variable is called as other states are."""

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        y = self.q(x)[:, None]
        return scaled_dot_product_attention(y, self.k(x)[:, None], self.v(x)[:, None])[:, 0]


x, z = torch.randn(2, N, E), torch.randn(2, M, E)
CASES: dict[str, tuple[type[nn.Module], Callable[[nn.Module], Tensor], str]] = {
    "cross, given nothing": (CrossAttention, lambda m: m(x), "self"),
    "cross, given itself": (CrossAttention, lambda m: m(x, x), "self"),
    "cross, given a view of itself": (CrossAttention, lambda m: m(x, x[:, :]), "self"),
    "cross, given another": (CrossAttention, lambda m: m(x, z), "cross"),
    "cross, given a copy's numbers elsewhere": (CrossAttention, lambda m: m(x, z[:, :N].clone()), "cross"),
    "another name": (Mixer, lambda m: m(x, z), "cross"),
    "another name, itself": (Mixer, lambda m: m(x, x), "self"),
    "query, key, value": (Keyed, lambda m: m(x, z, z), "cross"),
    "query, key, value of one": (Keyed, lambda m: m(x, x, x), "self"),
    "a part looks at the whole": (Keyed, lambda m: m(x[:, :1], x, x), "self"),
    "one sequence": (CrossBranch, lambda m: m(x), "self"),
    "two sequences": (CrossTwo, lambda m: m(x, z), "cross"),
    "a variable named y": (Plain, lambda m: m(x), "self"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_kind_is_that_of_the_tensors(case: str) -> None:
    kind, call, expected = CASES[case]
    model = kind()
    with torch.no_grad(), watch(model) as seen:
        call(model)
    assert [each.kind for each in seen] == [expected]


def test_memory_is_compared_by_where_it_lies() -> None:
    assert same_memory(x, x.view(2, N, E)) and same_memory(x[:, :2], x)
    for other in (x.clone(), x[:, 1:], x.transpose(0, 1), x.double(), x[0]):
        assert not same_memory(x, other)

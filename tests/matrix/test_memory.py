"""Tensors without memory of their own: refused by every door in words, where a loop would read at address 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import limelight as ll
from limelight.capture.lazy.tensor import LazyAttentionTensor
from limelight.errors import ArgumentTypeError
from limelight.matrix.matrix import select_queries
from limelight.matrix.memory import without_memory

B, H, N, D = 1, 2, 5, 3
Q = torch.randn(B, H, N, D)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from torch.distributed.device_mesh import init_device_mesh

    store = dist.FileStore(str(tmp_path_factory.mktemp("store") / "ranks"), 1)
    dist.init_process_group("gloo", rank=0, world_size=1, store=store)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        dist.destroy_process_group()


def plain(**given: Any) -> ll.AttentionMatrix:
    return ll.AttentionMatrix(**({"query": Q, "key": Q} | given))


DOORS: dict[str, tuple[Tensor, Callable[[Any], Any]]] = {
    "query": (Q, lambda x: plain(query=x).dense()),
    "key": (Q, lambda x: plain(key=x).dense()),
    "value": (Q, lambda x: plain(value=x).read(ll.ValueNorms())),
    "bias": (torch.zeros(N, N), lambda x: plain(bias=x).dense()),
    "alibi": (torch.ones(H), lambda x: plain(bias=ll.biases.alibi(x)).dense()),
    "relative": (torch.ones(8, H), lambda x: plain(bias=ll.biases.relative(x)).dense()),
    "sink": (torch.zeros(H), lambda x: plain(sink=x).dense()),
    "mask": (torch.ones(N, N) > 0, lambda x: plain(mask=x).dense()),
    "dense mask": (torch.ones(N, N) > 0, lambda x: plain(mask=ll.masks.dense(x)).dense()),
    "lengths": (torch.tensor([N]), lambda x: plain(mask=ll.masks.lengths(key=x)).dense()),
    "documents": (torch.arange(N), lambda x: plain(mask=ll.masks.documents(x)).dense()),
    "product": (torch.ones(N, D), lambda x: plain() @ x),
    "transposed product": (torch.ones(N, D), lambda x: plain().T @ x),
    "chosen queries": (torch.ones(N) > 0, lambda x: select_queries(plain(), x).dense()),
    "pool": (torch.arange(N), lambda x: plain().read(ll.Pool(x, x))),
    "norms": (torch.ones(H, D, 7), lambda x: plain(value=Q).read(ll.ValueNorms(output=x))),
    "rollout": (torch.ones(H), lambda x: ll.Rollout([plain()], heads=x)),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_dtensor_is_refused_with_the_way_out(door: str, mesh: Any) -> None:
    from torch.distributed.tensor import Replicate, distribute_tensor

    tensor, enter = DOORS[door]
    enter(tensor)
    with pytest.raises(ArgumentTypeError, match=r"got a DTensor.*to_local\(\).*full_tensor\(\)"):
        enter(distribute_tensor(tensor, mesh, [Replicate()]))


@pytest.mark.parametrize("door", DOORS)
def test_a_tensor_without_numbers_is_refused(door: str) -> None:
    tensor, enter = DOORS[door]
    with pytest.raises(ArgumentTypeError, match="on the device 'meta'"):
        enter(tensor.to("meta"))


def fake() -> Tensor:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.randn(B, H, N, D)


def freed() -> Tensor:
    tensor = torch.randn(B, H, N, D)
    tensor.untyped_storage().resize_(0)
    return tensor


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (fake, "a FakeTensor"),
        (freed, "without memory of its own"),
        (lambda: Q.to_sparse(), r"layout torch\.sparse_coo.*to_dense"),
        (lambda: Q.to_mkldnn(), r"layout torch\._mkldnn"),
        (lambda: Q.to(torch.complex64), "must be a float tensor; got torch.complex64"),
        (lambda: Q.long(), "must be a float tensor; got torch.int64"),
        (lambda: torch.nested.nested_tensor([Q[0], Q[0]], layout=torch.jagged), r"nested.*to_padded_tensor"),
        (lambda: LazyAttentionTensor(plain()), r"an? LazyAttentionTensor without memory of its own.*clone"),
    ],
    ids=["fake", "freed", "sparse", "mkldnn", "complex", "whole numbers", "jagged", "on demand"],
)
def test_every_other_kind_is_refused(make: Callable[[], Tensor], what: str) -> None:
    with pytest.raises(ArgumentTypeError, match=what):
        plain(query=make()).dense()


def test_inside_torch_func() -> None:
    with pytest.raises(ArgumentTypeError, match=r"inside torch\.func\.vmap"):
        torch.func.vmap(lambda x: plain(query=x).dense())(Q[None])
    with pytest.raises(ArgumentTypeError, match=r"a transform of torch\.func"):
        torch.func.grad(lambda x: plain(query=x).dense().sum())(Q)


@pytest.mark.parametrize(
    "tensor",
    [Q, torch.nn.Parameter(Q), Q.expand(2, -1, -1, -1), torch._neg_view(Q), Q[:, :, :0], Q.half(), Q.mT],
    ids=["plain", "parameter", "expanded", "negative view", "empty", "half", "turned"],
)
def test_what_has_memory_passes(tensor: Tensor) -> None:
    assert without_memory(tensor) is None
    truth = torch.softmax(tensor.double() @ tensor.double().mT / tensor.shape[-1] ** 0.5, dim=-1)
    found = ll.AttentionMatrix(tensor, tensor).dense()
    torch.testing.assert_close(found.double(), truth, atol=1e-6, rtol=0)

"""The loops on a GPU against float64 truth, 1k to 16k tokens: `pytest tests/matrix/engine/test_cuda.py`.

The truth is computed on the GPU too, some rows at a time, straight from the definitions. The shared suite of
small cases runs on the GPU as well when there is one: `pytest -m '' tests/matrix/engine/test_triton.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from limelight.matrix import (
    ArgMax,
    AttentionMatrix,
    AttentionOutput,
    Downsample,
    Entropy,
    Mask,
    MeanDistance,
    Pool,
    Received,
    Reduction,
    RowStats,
    SinkMass,
    TopK,
    masks,
)
from tests.tolerance import check

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

H, G, D = 4, 2, 128
CELLS, SPAN = (37, 53), 311
ROWS = 512
"""Of the truth, at a time: 16k keys × 4 heads in float64 are 256 MB a stage."""


@dataclass(frozen=True)
class Inputs:
    """One attention on the GPU, of N queries and M keys."""

    N: int
    M: int
    mask: Mask
    dtype: torch.dtype = torch.bfloat16
    scale: float | None = None
    dressed: bool = False
    given: dict[str, Any] = field(default_factory=dict)

    def build(self) -> dict[str, Any]:
        made = torch.Generator("cuda").manual_seed(self.N)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=made, device="cuda").to(self.dtype)

        inputs: dict[str, Any] = {
            "query": normal(1, self.N, H, D).transpose(1, 2),  # as models lay them
            "key": normal(1, self.M, G, D).transpose(1, 2),
            "value": normal(1, self.M, G, D).transpose(1, 2),
            "mask": self.mask,
            "scale": self.scale,
        }
        if self.dressed:
            inputs["softcap"], inputs["sink"] = 20.0, normal(H).float()
            inputs["bias"] = normal(1, H, 1, self.M)
            inputs["bias"][..., 11] = -torch.inf
        return inputs


def groups(size: int) -> Tensor:
    """Sentences of `SPAN` tokens; the first token of each but the first belongs to none."""
    ids = torch.arange(size) // SPAN
    ids[SPAN::SPAN] = -1
    return ids


def reductions(N: int, M: int) -> dict[str, Reduction[Any]]:
    return {
        "stats": RowStats(),
        "received": Received(),
        "entropy": Entropy(),
        "peak": ArgMax(),
        "distance": MeanDistance(),
        "sink": SinkMass([0, 5]),
        "output": AttentionOutput(),
        "top": TopK(8),
        "pool": Pool(groups(N), groups(M)),
        "picture": Downsample(*CELLS),
    }


# ---- the truth ----------------------------------------------------------------------------------------


def truth_of(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Every reading from the definitions, in float64."""
    query, key, value = (inputs[name].double() for name in ("query", "key", "value"))
    key, value = (x.repeat_interleave(H // G, dim=1) for x in (key, value))
    N, M = query.shape[2], key.shape[2]
    found: dict[str, list[Tensor]] = {}
    received, queries = (torch.zeros(1, H, M, dtype=torch.float64, device="cuda") for _ in range(2))
    groups_N, groups_M = groups(N).cuda(), groups(M).cuda()
    pool = torch.zeros(
        1, H, int(groups_N.max()) + 1, int(groups_M.max()) + 1, dtype=torch.float64, device="cuda"
    )
    members_MQ = (groups_M[:, None] == torch.arange(pool.shape[3], device="cuda")).double()
    looking = torch.zeros(1, H, pool.shape[2], dtype=torch.float64, device="cuda")
    for i0 in range(0, N, ROWS):
        i1 = min(i0 + ROWS, N)
        scores, weights = _rows(inputs, query[:, :, i0:i1], key, i0, N)
        seen = scores != -torch.inf
        own = torch.arange(i0, i1, device="cuda")[:, None] + M - N
        away = (torch.arange(M, device="cuda") - own).double()
        received += weights.sum(2)
        queries += seen.sum(2)
        members_RP = (groups_N[i0:i1, None] == torch.arange(pool.shape[2], device="cuda")).double()
        pool += members_RP.T @ weights @ members_MQ
        looking += seen.any(-1).double() @ members_RP
        rows = {
            "maximum": scores.amax(-1),
            "entropy": torch.special.entr(weights).sum(-1),
            "top": weights.topk(8).values,
            "mean": (weights * away.abs()).sum(-1),
            "signed": (weights * away).sum(-1),
            "sink": weights[..., [0, 5]].sum(-1),
            "output": weights @ value,
            "cells": torch.stack(
                [part.sum(-1) for part in weights.tensor_split(_edges(CELLS[1], M), -1)], -1
            ),
            "largest": torch.stack(
                [part.amax(-1) for part in weights.tensor_split(_edges(CELLS[1], M), -1)], -1
            ),
        }
        for name, tensor in rows.items():
            found.setdefault(name, []).append(tensor)
    truth = {name: torch.cat(parts, 2) for name, parts in found.items()}
    bands = [part.sum(2) for part in truth.pop("cells").tensor_split(_edges(CELLS[0], N), 2)]
    areas = torch.outer(_lengths(CELLS[0], N), _lengths(CELLS[1], M)).cuda()
    truth["picture"] = torch.stack(bands, 2) / areas
    truth["largest"] = torch.stack(
        [part.amax(2) for part in truth["largest"].tensor_split(_edges(CELLS[0], N), 2)], 2
    )
    pool = pool / looking.clamp(min=1)[..., None]
    return truth | {"received": received, "queries": queries, "pool": pool}


def _rows(inputs: dict[str, Any], q_BHRD: Tensor, k_BHMD: Tensor, i0: int, N: int) -> tuple[Tensor, Tensor]:
    """The masked scores and the weights of some rows."""
    (R, D), M = q_BHRD.shape[2:], k_BHMD.shape[2]
    scores = q_BHRD @ k_BHMD.mT * (D**-0.5 if inputs["scale"] is None else inputs["scale"])
    if "softcap" in inputs:
        scores = inputs["softcap"] * torch.tanh(scores / inputs["softcap"]) + inputs["bias"].double()
    fitted = inputs["mask"].fit(1, H, N, M)
    scores = scores.masked_fill(~fitted.block(i0, i0 + R, 0, M, N, M, "cuda"), -torch.inf)
    logits = scores
    if "sink" in inputs:
        sink = inputs["sink"].double()[:, None, None].expand(1, H, R, 1)
        logits = torch.cat([scores, sink], -1)
    weights = torch.softmax(logits, -1)[..., :M]
    return scores, weights.masked_fill((scores == -torch.inf).all(-1, keepdim=True), 0.0)


def _edges(cells: int, size: int) -> list[int]:
    """Where cells begin but the first."""
    return [cell * size // cells for cell in range(1, cells)]


def _lengths(cells: int, size: int) -> Tensor:
    return torch.tensor([0, *_edges(cells, size), size]).diff().double()


# ---- comparison ---------------------------------------------------------------------------------------


def expect(inputs: dict[str, Any], loop: str) -> None:
    N, M = inputs["query"].shape[2], inputs["key"].shape[2]
    wanted, truth = reductions(N, M), truth_of(inputs)
    matrix = AttentionMatrix(**inputs)
    read = dict(zip(wanted, matrix.read(*wanted.values(), loop=loop), strict=True))
    logits = float(truth["maximum"].where(truth["maximum"].isfinite(), 0.0).abs().max())
    logits = logits if logits > 8 else 0.0
    assert torch.equal(read["received"].queries, truth["queries"].long())
    assert torch.equal(read["stats"].empty, truth["maximum"] == -torch.inf)
    pairs = {
        "maximum": ("maximum", read["stats"].maximum, truth["maximum"]),
        "received": ("received", read["received"].raw, truth["received"]),
        "entropy": ("entropy", read["entropy"], truth["entropy"]),
        "peak": ("weights", read["peak"].weights, truth["top"][..., 0]),
        "top": ("weights", read["top"].weights, truth["top"]),
        "mean distance": ("distance", read["distance"].mean, truth["mean"]),
        "signed distance": ("distance", read["distance"].signed, truth["signed"]),
        "sink keys": ("weights", read["sink"].keys, truth["sink"]),
        "output": ("output", read["output"], truth["output"]),
        "pool": ("pooled", read["pool"], truth["pool"]),
        "picture": ("weights", read["picture"].mean, truth["picture"]),
        "largest of a cell": ("weights", read["picture"].maximum, truth["largest"]),
    }
    wrong = []
    for name, (quantity, got, true) in pairs.items():
        try:
            beside = truth["mean"].cpu() if name == "signed distance" else None  # a difference of two sums
            check(quantity, got.cpu(), true.cpu(), logits, beside)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)


LOOPS = ("triton", "plain")
_ids = torch.arange(4001) // 700


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("N", [1009, 4001, 16381])
def test_causal_bf16(N: int, loop: str) -> None:
    expect(Inputs(N, N, masks.causal()).build(), loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "mask",
    [
        masks.everything(),
        masks.causal() & masks.window(701),
        masks.causal() & masks.lengths(query=3001, key=3001, side="left"),
        masks.causal() & masks.documents(_ids),
        masks.documents(_ids, earlier=True),
        masks.dense(torch.rand(4001, 4001, generator=torch.Generator().manual_seed(0)) > 0.5),
    ],
    ids=["everything", "window", "padding", "documents", "earlier documents", "table"],
)
def test_masks(mask: Mask, loop: str) -> None:
    expect(Inputs(4001, 4001, mask).build(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_dressed_with_more_keys_than_queries(loop: str) -> None:
    expect(Inputs(1009, 4001, masks.causal(), dressed=True).build(), loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_dtypes(dtype: torch.dtype, loop: str) -> None:
    expect(Inputs(2003, 2003, masks.causal(), dtype).build(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_logits_of_ten_thousand(loop: str) -> None:
    expect(Inputs(1009, 1009, masks.causal(), scale=200.0).build(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_float32_stays_exact_where_a_model_runs_in_tf32(loop: str) -> None:
    with tf32():
        inputs = Inputs(1009, 1009, masks.causal(), torch.float32).build()
        expect(inputs, loop)
        v = torch.randn(1009, 5, device="cuda")
        product = AttentionMatrix(**inputs) @ v
        assert torch.backends.cuda.matmul.allow_tf32
    weights = _rows(
        inputs, inputs["query"].double(), inputs["key"].double().repeat_interleave(2, 1), 0, 1009
    )[1]
    check("output", product.cpu(), (weights @ v.double()).cpu())


@contextmanager
def tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_triton_is_chosen_and_says_so() -> None:
    matrix = AttentionMatrix(**Inputs(1009, 1009, masks.causal()).build())
    assert matrix.why().loop == "triton"
    assert "Triton" in str(matrix.why())


@pytest.mark.parametrize("loop", LOOPS)
def test_twice_the_same_to_the_bit(loop: str) -> None:
    inputs = Inputs(4001, 4001, masks.causal()).build()
    wanted = list(reductions(4001, 4001).values())
    one, other = (AttentionMatrix(**inputs).read(*wanted, loop=loop) for _ in range(2))
    for first, second in zip(_tensors(one), _tensors(other), strict=True):
        assert torch.equal(first, second)


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    else:
        for each in x:
            yield from _tensors(each)


@pytest.mark.parametrize("loop", LOOPS)
def test_memory_grows_with_the_length_not_its_square(loop: str) -> None:
    extra = {}
    for N in (16384, 65536):
        matrix = AttentionMatrix(**Inputs(N, N, masks.causal()).build())
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        matrix.read(Received(), Entropy(), ArgMax(), MeanDistance(), loop=loop)
        extra[N] = torch.cuda.max_memory_allocated() - before
    assert extra[65536] < 4.5 * extra[16384]
    assert extra[65536] < 2**31


def test_places_beyond_two_to_the_31() -> None:
    """A view whose rows stand so far apart that the last begins behind 2**31 entries."""
    N, apart = 33_000, 2**16 + 8
    whole = torch.zeros(N * apart, dtype=torch.bfloat16, device="cuda")
    inputs = Inputs(N, N, masks.causal() & masks.window(65)).build()
    spread = whole.as_strided((1, H, N, D), (0, D, apart, 1))
    spread.copy_(inputs["query"])
    near = AttentionMatrix(**inputs).read(Received(), Entropy(), loop="triton")
    far = AttentionMatrix(**(inputs | {"query": spread})).read(Received(), Entropy(), loop="triton")
    for one, other in zip(_tensors(near), _tensors(far), strict=True):
        assert torch.equal(one, other)

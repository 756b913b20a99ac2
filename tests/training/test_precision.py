"""Which precision a training step takes."""

from __future__ import annotations

import pytest
import torch

from limelight.training.precision import autocast, in_bf16

CPU = torch.device("cpu")


def test_what_is_asked_for_is_taken() -> None:
    assert in_bf16("bf16", CPU)
    assert not in_bf16("float32", CPU)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, False),
        ({}, False),
    ],
)
def test_auto_asks_the_processor(
    told: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert in_bf16("auto", CPU) is expected
    with autocast("auto", CPU):
        product = torch.ones(3, 5) @ torch.ones(5, 7)
    assert product.dtype == (torch.bfloat16 if expected else torch.float32)


def test_a_torch_that_tells_nothing_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not in_bf16("auto", CPU)

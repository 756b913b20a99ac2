"""Readings are exact where the process multiplies float32 in fewer bits, and leave that setting as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from limelight.matrix import AttentionMatrix
from limelight.matrix.engine.precision import full_float32
from limelight.matrix.engine.threads import exactly
from tests.tolerance import check

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _lowered() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_setting_is_full_inside_and_comes_back(kind: str) -> None:
    matmul = torch.backends.cuda.matmul if kind == "cuda" else torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    assert before != "ieee"

    def stopped_inside() -> None:
        with full_float32(torch.device(kind)):
            assert matmul.fp32_precision == "ieee"
            raise KeyError

    with pytest.raises(KeyError):
        stopped_inside()
    assert matmul.fp32_precision == before


def test_the_older_way_of_setting_it_still_works_after() -> None:
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = True
    with full_float32(torch.device("cuda")):
        pass
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "high"


def test_the_last_of_several_readings_puts_it_back() -> None:
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with exactly(CPU):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with exactly(CPU):
        thread.start()
        inside.wait()
    assert matmul.fp32_precision == "ieee"
    leave.set()
    thread.join()
    assert matmul.fp32_precision == before


def test_a_reading_is_exact_all_the_same() -> None:
    q, k = torch.randn(1, 1, 257, 64), torch.randn(1, 1, 509, 64)
    check("weights", AttentionMatrix(q, k).dense(), torch.softmax(q.double() @ k.double().mT / 8, -1))

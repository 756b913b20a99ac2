"""Parts of a model in one of several processes: heads have the model's own numbers, and what is missing is told."""

from __future__ import annotations

import os
import socket
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import limelight as ll
from limelight.errors import CaptureError
from limelight.matrix.head_range import HeadRange
from limelight.matrix.matrix import select_queries
from limelight.readings.token_groups import Groups
from limelight.readings.words import place_of, received_words
from tests.capture import foreign

N, H, G, D = 13, 8, 4, 4
QUARTER = HeadRange(4, 4, 8, "rank 1 of 2")


def matrices() -> tuple[list[ll.AttentionMatrix], list[ll.AttentionMatrix]]:
    """Two layers whole, and their later heads as a part."""
    torch.manual_seed(0)
    whole, part = [], []
    for _ in range(2):
        q, k = torch.randn(2, 1, H, N, D).unbind()
        whole.append(ll.AttentionMatrix(q, k, k, mask=ll.masks.causal()))
        part.append(ll.AttentionMatrix(q[:, 4:], k[:, 4:], k[:, 4:], mask=ll.masks.causal()))
        part[-1].head_range = QUARTER
    return whole, part


def test_a_part_says_which() -> None:
    _, [part, _] = matrices()
    assert part.head_numbers == range(4, 8) and "4 heads (heads 4–7 of 8)" in repr(part)
    assert str(HeadRange(2, 1, 3)) == "head 2 of 3" and "not known which" in str(HeadRange(None, 2, 6))
    assert select_queries(part, torch.arange(N) > 3).head_numbers == range(4, 8)


def test_readings_name_heads_by_their_own_numbers() -> None:
    whole, part = matrices()
    ids = torch.arange(N) % 5
    expected, found = ll.atlas(whole, ids), ll.atlas(part, ids)
    assert found.heads == tuple((layer, head) for layer in range(2) for head in range(4, 8))
    assert found["entropy"].labels[1] == ("head 4", "head 5", "head 6", "head 7")
    assert (found["entropy"].values == expected["entropy"].values[:, 4:]).all()
    rows = {(row["layer"], row["head"]): row for row in expected.table()}
    assert all(row["entropy"] == rows[row["layer"], row["head"]]["entropy"] for row in found.table())
    words = Groups(tuple("abcdefghijklm"), tuple(range(N)), "word")
    one = received_words(whole, words, heads=[(1, 6), (0, 4)]).raw
    other = received_words(part, words, heads=[(1, 6), (0, 4)]).raw
    assert (one.values == other.values).all() and one.labels == other.labels
    with pytest.raises(ll.errors.InputError, match="there is no layer 0 head 3"):
        received_words(part, words, heads=[(0, 3)])
    assert place_of(dict(enumerate(part)), 1, 7) == 3


def test_a_rollout_says_that_it_is_of_a_part() -> None:
    whole, part = matrices()
    assert "the mean of heads 4–7 of 8, not of all the heads" in ll.Rollout(part, heads="mean").how
    chosen = ll.Rollout(part, heads=[5, 7])
    torch.testing.assert_close(chosen.rows(N - 1), ll.Rollout(whole, heads=[5, 7]).rows(N - 1))
    assert chosen.heads == ((0, 5), (0, 7), (1, 5), (1, 7))


def test_layers_that_are_not_here_are_told() -> None:
    model = foreign.gpt2()
    model.transformer.h.append(nn.Identity())
    model.transformer.h[2].forward = lambda states, *args, **given: states
    with torch.no_grad(), ll.watch(model) as seen:
        model(**foreign.inputs(model))
    assert "the layers 2 of 3 are not here" in seen.why()


class Attends(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_copies_for_devices_are_refused_for_that_reason() -> None:
    """As nn.DataParallel makes them, which needs two devices."""
    model, x = Attends(), torch.randn(1, H, N, D)
    with pytest.raises(CaptureError, match=r"nn\.DataParallel runs copies"), ll.watch(model):
        model._replicate_for_data_parallel()(x)
    with ll.watch(model) as seen:
        model(x)
        model._replicate_for_data_parallel()(x)
    assert len(seen) == 1
    wrapper = nn.DataParallel(model)
    with ll.watch(wrapper) as seen:  # without a device it passes through
        wrapper(x)
    assert seen.names() == ["module"] and not seen.missed


def _process(rank: int, folder: str, port: str) -> None:
    import torch.distributed as dist

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = port
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        for how in ("transformers", "torch"):
            _in_parts(rank, folder, how)
    finally:
        dist.destroy_process_group()


def _in_parts(rank: int, folder: str, how: str) -> None:
    import transformers

    if how == "transformers":
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, tp_plan="auto")
    else:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor.parallel import (
            ColwiseParallel,
            RowwiseParallel,
            parallelize_module,
        )

        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        plan = {f"self_attn.{name}_proj": ColwiseParallel() for name in "qkv"}
        for layer in model.model.layers:
            parallelize_module(
                layer, init_device_mesh("cpu", (2,)), plan | {"self_attn.o_proj": RowwiseParallel()}
            )
    ids = torch.arange(3, 3 + N)[None]
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(ids)
    with torch.no_grad(), ll.lazy_attentions(model):
        lazy = model(ids, output_attentions=True).attentions
    told = {
        "numbers": [matrix.head_numbers for matrix in seen[:]],
        "dense": [matrix.dense() for matrix in seen[:]],
        "why": str(seen.why()),
        "summary": str(seen.summary()),
        "repr": f"{seen} {next(iter(seen))} {lazy[0]!r}",
        "atlas": ll.atlas(list(seen), ids[0])["entropy"].labels[1],
    }
    torch.save(told, Path(folder) / f"{how}-{rank}.pt")


@pytest.mark.slow
def test_two_processes_with_half_of_the_heads_each(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=99,
        hidden_size=H * D,
        intermediate_size=38,
        num_hidden_layers=2,
        num_attention_heads=H,
        num_key_value_heads=G,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        truth = model(torch.arange(3, 3 + N)[None], output_attentions=True).attentions
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torch.multiprocessing.spawn(_process, (str(tmp_path), port), nprocs=2)
    for how, rank in product(("transformers", "torch"), range(2)):
        told = torch.load(tmp_path / f"{how}-{rank}.pt", weights_only=False)
        mine = range(4 * rank, 4 * rank + 4)
        words = f"heads {mine.start}–{mine.stop - 1} of 8"
        assert told["numbers"] == [mine, mine]
        for found, expected in zip(told["dense"], truth, strict=True):
            torch.testing.assert_close(found, expected[:, mine.start : mine.stop], atol=1e-6, rtol=0)
        assert words in told["why"] and f"rank {rank} of 2" in told["why"]
        assert words in told["summary"] and told["repr"].count(words) >= 3
        assert told["atlas"] == tuple(f"head {head}" for head in mine)

"""Attention functions that other people put in PyTorch's place: they compute, they stay, and they are named."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention as bound_early

import limelight as ll
from limelight.capture import CapturedAttention
from limelight.errors import CaptureError
from tests.capture import foreign

B, N, E, H = 2, 7, 12, 3
SDPA = functional.scaled_dot_product_attention
MHA = functional.multi_head_attention_forward


class Kernel:
    """A replacement that gives so many times the output, and counts its calls."""

    def __init__(self, factor: float, of: Any = SDPA) -> None:
        self.factor, self.of, self.calls = factor, of, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        found = self.of(*args, **kwargs)
        if isinstance(found, tuple):
            return found[0] * self.factor, *found[1:]
        return found * self.factor


def as_function(kernel: Kernel) -> Any:
    def sage(*args: Any, **kwargs: Any) -> Any:
        return kernel(*args, **kwargs)

    return sage


@pytest.fixture(autouse=True)
def names_are_put_back() -> Iterator[None]:
    yield
    assert functional.scaled_dot_product_attention is SDPA, "the test leaves a replacement"
    assert functional.multi_head_attention_forward is MHA


class ByName(nn.Module):
    """One's own attention, which finds the function at its name."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class BoundEarly(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return bound_early(q, k, v, is_causal=True)


def llama() -> tuple[nn.Module, dict[str, Any]]:
    model = foreign.llama()
    return model, {"input_ids": torch.randint(3, foreign.VOCABULARY, (2, 7))}


def by_hand() -> tuple[nn.Module, dict[str, Any]]:
    q, k, v = torch.randn(3, B, H, N, 4).unbind()
    return ByName(), {"q": q, "k": k, "v": v}


def run(model: nn.Module, given: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        found = model(**given)
    if isinstance(found, tuple):
        return found[0]
    return found if isinstance(found, Tensor) else found.logits


class Found(NamedTuple):
    output: Tensor
    seen: CapturedAttention
    error: str


def watched_run(
    model: nn.Module,
    given: dict[str, Any],
    before: Callable[[], Any] = dict,
    after: Callable[[], Any] = dict,
    verify: bool = False,
) -> Found:
    """What the model gives inside a watch that must refuse its attention at the end of the block."""
    error = ""
    try:
        with ll.watch(model, verify=verify) as seen:
            before()
            try:
                output = run(model, given)
            finally:
                after()
    except CaptureError as refusal:
        error = str(refusal)
    assert error
    return Found(output, seen, error)


@pytest.mark.parametrize("make", [llama, by_hand])
@pytest.mark.parametrize("as_object", [True, False], ids=["an object", "a function"])
@pytest.mark.parametrize("verify", [True, False])
def test_a_kernel_that_differs_computes_and_is_not_called_attention(
    make: Any, as_object: bool, verify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = make()
    stock = run(model, given)
    kernel = Kernel(1.01)
    there = kernel if as_object else as_function(kernel)
    with monkeypatch.context() as patch:
        patch.setattr(functional, "scaled_dot_product_attention", there)
        plain, calls = run(model, given), kernel.calls
        found = watched_run(model, given, verify=verify)
        assert kernel.calls == 2 * calls > 0
        assert functional.scaled_dot_product_attention is there
        assert torch.equal(found.output, plain) and not torch.equal(plain, stock)
    assert re.search(r"is replaced by .*(1\.0e-02|9\.9e-03)", found.error)
    assert not found.seen.entries and all("Verified" not in line for line in found.seen.why())
    assert all("test_replaced" in why for why in found.seen.missed.values())


@pytest.mark.parametrize("make", [llama, by_hand])
def test_a_kernel_within_rounding_is_captured_and_named(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = make()
    with ll.watch(model) as stock:
        run(model, given)
    kernel = Kernel(1 + 1e-7)
    with monkeypatch.context() as patch:
        patch.setattr(functional, "scaled_dot_product_attention", kernel)
        plain = run(model, given)
        with ll.watch(model, verify=True) as seen:
            assert torch.equal(run(model, given), plain)
    assert "is replaced by tests.capture.sources.test_replaced_functions.Kernel" in seen.why()
    assert len(seen) == len(stock)
    for found, expected in zip(seen[:], stock[:], strict=True):
        torch.testing.assert_close(found.dense(), expected.dense(), atol=1e-5, rtol=0)


def test_one_that_was_bound_early_is_not_the_replaced_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(1.01)
    _, given = by_hand()
    monkeypatch.setattr(functional, "scaled_dot_product_attention", kernel)
    model = BoundEarly()
    with ll.watch(model, verify=True) as seen:
        run(model, given)
    assert len(seen) == 1 and kernel.calls == 0
    monkeypatch.undo()


@pytest.mark.parametrize("make", [llama, by_hand])
def test_replaced_inside_the_block(make: Any) -> None:
    model, given = make()
    kernel = Kernel(1.01, of=None)

    def put() -> None:
        kernel.of = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = kernel  # type: ignore[assignment]

    def put_back() -> None:
        functional.scaled_dot_product_attention = kernel.of

    found = watched_run(model, given, put, put_back)
    assert kernel.calls and re.search("replaced by .*Kernel", found.error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "scaled_dot_product_attention", Kernel(1.01))
        assert torch.equal(found.output, run(model, given))
    assert "inside the block" in found.seen.why() and found.seen.missed


def test_replaced_inside_the_block_and_left_there() -> None:
    model, given = llama()
    kernel = Kernel(1.01)
    try:
        with ll.watch(model) as seen:
            run(model, given)
            functional.scaled_dot_product_attention = kernel  # type: ignore[assignment]
            run(model, given)
        assert functional.scaled_dot_product_attention is kernel
        assert len(seen) == 2 and "replaced by" in seen.why()
        with pytest.raises(CaptureError, match="replaced by"), ll.watch(model):
            run(model, given)
        assert functional.scaled_dot_product_attention is kernel
    finally:
        functional.scaled_dot_product_attention = SDPA


def test_a_replacement_over_the_ear_that_is_taken_off_after_the_block() -> None:
    model, given = by_hand()
    with ll.watch(model):
        run(model, given)
        ear = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = Kernel(1.0, of=ear)  # type: ignore[assignment]
    functional.scaled_dot_product_attention = ear  # its owner puts back what it found
    plain = run(model, given)
    with ll.watch(model, verify=True) as seen:
        assert torch.equal(run(model, given), plain)
    assert len(seen) == 1 and "replaced" not in seen.why()
    assert functional.scaled_dot_product_attention is SDPA


def test_nested_watches_and_a_replacement_between_them() -> None:
    model, given = by_hand()
    with ll.watch(model) as outer:
        run(model, given)
        kernel = Kernel(1.01)
        functional.scaled_dot_product_attention = kernel  # type: ignore[assignment]
        with pytest.raises(CaptureError, match="replaced by"), ll.watch(model):
            run(model, given)
        assert functional.scaled_dot_product_attention is kernel
        functional.scaled_dot_product_attention = SDPA
    assert len(outer) == 1 and outer.noticed


def test_the_ear_has_the_name_of_what_it_lies_over() -> None:
    """torch's context_parallel replaces by `fn.__name__`."""
    model, given = by_hand()
    with ll.watch(model):
        assert functional.scaled_dot_product_attention.__name__ == "scaled_dot_product_attention"
        assert functional.multi_head_attention_forward.__name__ == "multi_head_attention_forward"
        run(model, given)


def test_multihead_attention_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.MultiheadAttention(E, H, batch_first=True)
    x = torch.randn(B, N, E)
    kernel = Kernel(1.01, of=MHA)
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(functional, "multi_head_attention_forward", kernel)
        plain, _ = model(x, x, x)
        with pytest.raises(CaptureError, match=r"multi_head_attention_forward is replaced by .*1\.0e-02"):
            with ll.watch(model):
                watched, _ = model(x, x, x)
        assert torch.equal(watched, plain)
        kernel.factor = 1.0
        with ll.watch(model, verify=True) as seen:
            model(x, x, x)
        assert len(seen) == 1 and "is replaced by" in seen.why()
        patch.setattr(functional, "multi_head_attention_forward", MHA)
        kernel.factor = 1.01

        def put(there: Any) -> None:
            functional.multi_head_attention_forward = there

        found = watched_run(model, {"query": x, "key": x, "value": x}, lambda: put(kernel), lambda: put(MHA))
        assert "inside the block" in found.error and torch.equal(found.output, plain)
        patch.setattr(functional, "scaled_dot_product_attention", Kernel(1.01))
        plain, _ = model(x, x, x, need_weights=False)
        with pytest.raises(CaptureError, match="scaled_dot_product_attention is replaced by"):
            with ll.watch(model):
                watched, _ = model(x, x, x, need_weights=False)
        assert torch.equal(watched, plain)


def context_parallel_of(function: Any) -> Any:
    """What torch puts in the place of attention for `context_parallel`, with shards that stay as they are."""
    from torch.distributed.tensor.experimental._context_parallel import _attention

    _attention._distribute_function(
        function,
        functional,
        None,
        lambda _, args, kwargs, __: (args, kwargs),
        lambda _, __, found, ___: found,
    )
    return functional.scaled_dot_product_attention


@pytest.mark.parametrize("make", [llama, by_hand])
def test_a_shard_of_context_parallel_is_never_the_matrix(make: Any) -> None:
    from torch.distributed.tensor.experimental._context_parallel import _attention

    model, given = make()
    try:
        there = context_parallel_of(SDPA)
        with pytest.raises(CaptureError, match="inside context_parallel"), ll.watch(model, verify=True):
            run(model, given)
        assert functional.scaled_dot_product_attention is there
        _attention._restore_function(there, functional)
        assert functional.scaled_dot_product_attention is SDPA
        found = watched_run(  # and inside of the block
            model,
            given,
            lambda: context_parallel_of(functional.scaled_dot_product_attention),
            lambda: _attention._restore_function(functional.scaled_dot_product_attention, functional),
        )
        assert "context_parallel" in found.error
    finally:
        functional.scaled_dot_product_attention = SDPA
        _attention._replaced_functions.clear()


def test_a_wrapper_around_a_backend_of_transformers_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper that takes the name of what it wraps is not that."""
    import transformers.integrations.sdpa_attention as home
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    model, given = llama()

    @functools.wraps(home.sdpa_attention_forward)
    def louder(*args: Any, **kwargs: Any) -> Any:
        output, weights = home.sdpa_attention_forward(*args, **kwargs)
        return output * 1.01, weights

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", louder)
    with pytest.raises(CaptureError, match="must give the backend's own output"), ll.watch(model):
        run(model, given)


def test_an_eager_function_that_was_replaced_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.models.llama.modeling_llama as home

    model, given = llama()
    model.set_attn_implementation("eager")
    own = home.eager_attention_forward

    def eager_attention_forward(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **more: Any
    ) -> Any:
        output, weights = own(module, query, key, value, attention_mask, scaling, **more)
        return output * 1.01, weights

    monkeypatch.setattr(home, "eager_attention_forward", eager_attention_forward)
    with pytest.raises(CaptureError, match="must give the backend's own output"), ll.watch(model):
        run(model, given)


@pytest.mark.slow
def test_what_was_replaced_before_limelight_was_imported() -> None:
    lines = """
import torch
from torch import nn
from torch.nn import functional
sdpa, mha = functional.scaled_dot_product_attention, functional.multi_head_attention_forward
functional.scaled_dot_product_attention = lambda *a, **k: sdpa(*a, **k) * 1.01
functional.multi_head_attention_forward = lambda *a, **k: mha(*a, **k)
import limelight as ll
model, x = nn.MultiheadAttention(12, 3, batch_first=True), torch.randn(2, 7, 12)
with torch.no_grad():
    plain = model(x, x, x, need_weights=False)[0]
    try:
        with ll.watch(model) as seen:
            watched = model(x, x, x, need_weights=False)[0]
    except ll.errors.CaptureError as error:
        print(torch.equal(plain, watched), len(seen), "is replaced by" in str(error))
"""
    found = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "0", "True"]

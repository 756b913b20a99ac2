"""watch on Hugging Face models: exactly the weights that they would give, and nothing of them is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import limelight as ll
from limelight.capture import offload, verification, watcher
from limelight.errors import ArgumentTypeError, CaptureError, InputError
from tests.capture import foreign, tiny

CLOSE = 1e-6


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_the_weights_are_those_of_the_eager_model(name: str, backend: str) -> None:
    if backend == "sdpa" and name not in tiny.FUSED:
        pytest.skip("transformers has only eager attention for this family")
    model = tiny.FAMILIES[name]()
    model.set_attn_implementation(backend)
    given = foreign.inputs(model)
    with torch.no_grad():
        plain = model(**given)
        with ll.watch(model, verify=True) as seen:
            found = model(**given)
    assert torch.equal(tiny.main_output(found), tiny.main_output(plain))
    expected = tiny.official(model, **given)
    kinds = {"cross_attentions": "cross"}
    for field, weights in expected.items():
        part = field.split("_")[0] if field in ("encoder_attentions", "decoder_attentions") else ""
        calls = [
            call for call in seen if call.kind == kinds.get(field, "self") and (not part or part in call.name)
        ]
        assert [call.layer for call in calls] == list(range(len(weights)))
        for call, official in zip(calls, weights, strict=True):
            torch.testing.assert_close(call.matrix.dense(), official, atol=CLOSE, rtol=0)
            assert call.backend == backend
    assert len(seen) == sum(map(len, expected.values()))
    assert all(isinstance(one, verification.Verified) and one.error < 1e-5 for one in seen.verified.values())


def test_in_the_order_of_execution_by_number_and_by_name() -> None:
    model = foreign.t5()
    with torch.no_grad(), ll.watch(model) as seen:
        model(**foreign.inputs(model))
    self_, cross = "decoder.block.1.layer.0.SelfAttention", "decoder.block.1.layer.1.EncDecAttention"
    assert seen.names()[-2:] == [self_, cross]
    assert seen[cross] is seen[-1] is seen[5] and seen[-3:][2] is seen[5]
    assert [call.kind for call in seen] == ["self", "self", "self", "cross", "self", "cross"]
    assert [call.layer for call in seen] == [0, 1, 0, 0, 1, 1]
    assert dict(seen.items())[self_] is seen[4]
    assert len(seen) == 6 and self_ in seen and "decoder" not in seen
    with pytest.raises(CaptureError, match="There are 6, such as 'decoder.block.1"):
        seen["decoder.block.1.layer.1"]
    with pytest.raises(IndexError, match="There are 6"):
        seen[6]
    with pytest.raises(ArgumentTypeError, match="name of a module"):
        seen[1.5]  # type: ignore[index]


def test_one_module_that_is_called_several_times_has_a_name_for_each() -> None:
    model = tiny.albert()
    with torch.no_grad(), ll.watch(model) as seen:
        model(**foreign.inputs(model))
        model(**foreign.inputs(model))
    name = seen.names()[0]
    assert seen.names() == [name, f"{name}#2", f"{name}#3"] * 2
    assert [call.layer for call in seen] == [0, 1, 2] * 2
    assert seen[name] is seen[3]  # of several, the latest


def test_a_wrong_reading_of_the_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = foreign.llama()
    given = foreign.inputs(model)
    given["attention_mask"][:] = 1
    on_call = watcher.Watcher.on_call

    def wrong(self: Any, module: Any, inputs: Any) -> None:
        on_call(self, module, replace(inputs, mask=None))

    monkeypatch.setattr(watcher.Watcher, "on_call", wrong)
    with torch.no_grad(), pytest.raises(CaptureError, match="must give the backend's own output") as caught:
        with ll.watch(model, verify=True):
            model(**given)
    assert "'model.layers.0.self_attn', a LlamaAttention" in caught.value.__notes__[0]
    with torch.no_grad(), ll.watch(model):  # unverified, nobody notices
        model(**given)


def test_dropout_is_told_and_cannot_be_verified() -> None:
    model = foreign.bert().train()
    with ll.watch(model, verify=True) as seen:
        model(**foreign.inputs(model))
    assert "Dropout of 0.1 was active: the weights are those before it." in seen.why()
    assert "Not verified: dropout of 0.1 was active." in seen.why()
    torch.testing.assert_close(seen[0].dense().sum(-1), torch.ones(2, 5, 11))


def test_half_precision_and_autocast_are_verified_within_their_rounding() -> None:
    model = foreign.llama()
    given = foreign.inputs(model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), ll.watch(model, verify=True) as seen:
        model(**given)
    assert seen[0].dtype == torch.float32  # entries; the keys were rounded as the backend rounds them
    assert 0 < max(one.error for one in seen.verified.values()) < 2e-2
    model.to(torch.bfloat16)
    with torch.inference_mode(), ll.watch(model, verify=True) as seen:
        model(**given)
    assert len(seen.verified) == len(seen) == 2


def test_readings_alone_are_kept() -> None:
    model = foreign.gpt2()
    given = foreign.inputs(model)
    with torch.no_grad():
        with ll.watch(model) as whole:
            model(**given)
        with ll.watch(model, read=[ll.Received(), ll.Entropy()]) as seen:
            model(**given)
        with ll.watch(model, read=[ll.Entropy()]) as alone:
            model(**given)
    for (received, entropy), matrix, only in zip(seen[:], whole[:], alone[:], strict=True):
        expected = matrix.read(ll.Received(), ll.Entropy())
        torch.testing.assert_close(received.raw, expected[0].raw)
        torch.testing.assert_close(entropy, expected[1])
        torch.testing.assert_close(only, expected[1])
    assert seen.memory() == 0
    with pytest.raises(CaptureError, match="only readings were kept"):
        next(iter(seen)).matrix  # noqa: B018


def test_no_graph_and_no_values_are_kept_alive() -> None:
    model = foreign.gpt2()
    with ll.watch(model, values=False) as seen:
        model(**foreign.inputs(model)).logits.sum().backward()
    inputs = seen.entries[0].steps.inputs()  # type: ignore[union-attr]
    assert inputs.value is None and inputs.output is None
    assert inputs.query.grad_fn is None and inputs.key.grad_fn is None
    with torch.no_grad(), ll.watch(model) as seen:
        model(**foreign.inputs(model))
    assert seen[0].value is not None


def test_memory_is_told_before_it_is_needed() -> None:
    model = foreign.llama()
    ids = torch.randint(3, foreign.VOCABULARY, (1, 7))
    with torch.no_grad():
        with ll.watch(model) as short:
            model(ids)
        with ll.watch(model) as long:
            model(ids.repeat(1, 5))
    assert short.memory(tokens=35) == long.memory()
    assert short.memory() == 2 * (7 * 24 + 2 * 7 * 8) * 4  # layers × (queries, keys and values) × bytes
    table = str(short.summary())
    assert "model.layers.1.self_attn  self  1      6 × 7 × 7" in table and "causal" in table
    assert table.endswith("2 attention matrices hold 2.2 kB.")


def test_what_was_written_to_since_is_refused() -> None:
    model = foreign.bert()
    with torch.no_grad(), ll.watch(model) as seen:
        model(**foreign.inputs(model))
        seen.entries[1].steps.inputs().key.mul_(2)  # type: ignore[union-attr]
        seen[0].dense()
        with pytest.raises(CaptureError, match="has written to it since"):
            seen[1]


def test_doors() -> None:
    with pytest.raises(ArgumentTypeError, match=r"torch.nn.Module; got function"), ll.watch(lambda: None):  # type: ignore[arg-type]
        pass
    with (
        pytest.raises(ArgumentTypeError, match="read= takes reductions"),
        ll.watch(torch.nn.Linear(2, 2), read=[ll.Received]),
    ):  # type: ignore[list-item]
        pass
    with (
        pytest.raises(ArgumentTypeError, match=r"a list of reductions, such as \[Received\(\)\]"),
        ll.watch(torch.nn.Linear(2, 2), read=ll.Received()),  # type: ignore[arg-type]
    ):
        pass
    with pytest.raises(InputError, match="'cpu' or None"), ll.watch(torch.nn.Linear(2, 2), offload="disk"):  # type: ignore[arg-type]
        pass


def test_what_is_kept_moves_to_another_device() -> None:
    far = torch.device(
        "meta"
    )  # stands in for an accelerator's opposite: nothing there can be computed by mistake
    model, move = foreign.bert(), offload.Offloader(far)
    with torch.no_grad(), ll.watch(model) as seen:
        model(**foreign.inputs(model))
    inputs = [entry.steps.inputs() for entry in seen.entries]  # type: ignore[union-attr]
    first, second = map(move, inputs)
    for moved in (first, second):
        assert {moved.query.device, moved.key.device, moved.value.device} == {far}  # type: ignore[union-attr]
        assert moved.mask.seen_BHNM.device == far  # type: ignore[union-attr]
    assert first.mask is second.mask  # the layers share it, and so does what was moved
    ruled = replace(inputs[0], mask=ll.masks.causal() & ll.masks.function(lambda b, h, i, j: i >= j))
    assert move(ruled).mask.right.seen_BHNM.device == far  # type: ignore[union-attr]
    assert offload.Offloader(torch.device("cpu"))(inputs[0]) is inputs[0]

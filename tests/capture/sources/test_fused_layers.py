"""PyTorch's fused inference path stays on inside a watch: the outputs are the same to the bit, padded places too."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import limelight as ll

B, N, E, H = 3, 7, 12, 2
pytestmark = pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors", "ignore:enable_nested_tensor"
)


def padding(kind: str) -> Tensor:
    """True where a text is padded."""
    lengths = {"right": [5, 3, 1], "whole": [7, 2, 7], "a text of padding alone": [5, 0, 7]}.get(kind)
    if lengths is not None:
        return torch.arange(N) >= torch.tensor(lengths)[:, None]
    return torch.arange(N) < torch.tensor([[2], [0], [4]])  # on the left


def masks(kind: str) -> dict[str, Any]:
    causal = nn.Transformer.generate_square_subsequent_mask(N)
    if kind == "causal":
        return {"mask": causal, "is_causal": True}
    if kind == "bool":
        return {"mask": causal.isinf()}
    if kind == "both":
        return {"mask": causal.isinf(), "src_key_padding_mask": padding("right")}
    return {} if kind == "nothing" else {"src_key_padding_mask": padding(kind)}


KINDS = ["nothing", "right", "whole", "left", "a text of padding alone", "causal", "bool", "both"]
MAKES: list[dict[str, Any]] = [
    {},
    {"norm_first": True, "activation": "gelu"},
    {"norm_first": True},
    {"activation": "gelu"},
    {"bias": False},
    {"batch_first": False},
    {"nhead": 3},
]


@pytest.mark.parametrize(
    "make",
    [pytest.param(make, marks=[pytest.mark.slow] if n > 1 else []) for n, make in enumerate(MAKES)],
    ids=lambda make: " ".join(make) or "as ever",
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_the_same_to_the_bit(make: dict[str, Any], kind: str) -> None:
    given = {"d_model": E, "nhead": H, "dim_feedforward": 13, "batch_first": True, "dropout": 0.0} | make
    layer = nn.TransformerEncoderLayer(**given)
    encoder = nn.TransformerEncoder(layer, 2)
    x = torch.randn(B, N, E) if given["batch_first"] else torch.randn(N, B, E)
    for training, grad, whole in product((False, True), (False, True), (False, True)):
        model = (encoder if whole else layer).train(training)
        asked = dict(masks(kind))
        if not whole and "mask" in asked:
            asked["src_mask"] = asked.pop("mask")
        with torch.set_grad_enabled(grad), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = model(x, **asked)
            with ll.watch(model, verify=True) as seen:
                watched = model(x, **asked)
        assert torch.equal(plain.isnan(), watched.isnan())
        assert torch.equal(plain.nan_to_num(), watched.nan_to_num())
        assert len(seen) == (2 if whole else 1) and seen[0].shape == (B, given["nhead"], N, N)
        assert "fused" not in seen.why()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a text of padding alone"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_the_weights_are_those_of_the_path_by_hand(kind: str, norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(E, H, 13, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(B, N, E)
    with torch.no_grad():
        with ll.watch(encoder, verify=True) as seen:
            encoder(x, **masks(kind))
        twin = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
        twin.load_state_dict(encoder.state_dict())
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with ll.watch(twin) as by_hand:
                twin(x.double(), **masks(kind))
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    assert seen.names() == by_hand.names() == ["layers.0.self_attn", "layers.1.self_attn"]
    real_BN = (
        ~padding(kind) if "src_key_padding_mask" in masks(kind) and kind != "both" else torch.ones(B, N) > 0
    )
    for found, expected in zip(seen[:], by_hand[:], strict=True):
        gap = (found.dense().double() - expected.dense()).abs().amax(dim=(1, 3))
        assert float(gap[real_BN].max()) < 1e-6
    assert all(one.error < 1e-5 for one in seen.verified.values())  # type: ignore[union-attr]


def test_a_wrong_reading_of_a_fused_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from limelight.capture.sources import fused_layers
    from limelight.errors import CaptureError

    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, H, 13, batch_first=True), 1).eval()
    with torch.no_grad():
        encoder.layers[0].self_attn.in_proj_weight.mul_(5)
    monkeypatch.setattr(fused_layers, "_rule", lambda seen: None)
    with torch.no_grad(), pytest.raises(CaptureError, match="must give the backend's own output"):
        with ll.watch(encoder, verify=True):
            encoder(torch.randn(B, N, E), src_key_padding_mask=padding("right"))


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("masked", ["nothing", "padding", "bool", "both", "a table a head"])
def test_attention_alone(weights: bool, masked: str) -> None:
    attention = nn.MultiheadAttention(E, H, batch_first=True).eval()
    x = torch.randn(B, N, E)
    given: dict[str, Any] = {"need_weights": weights, "average_attn_weights": False}
    if masked in ("padding", "both"):
        given["key_padding_mask"] = padding("right")
    if masked in ("bool", "both"):
        given["attn_mask"] = torch.ones(N, N).triu(1) > 0
    if masked == "a table a head":
        given["attn_mask"] = (torch.rand(B * H, N, N) < 0.3) & ~torch.eye(N, dtype=torch.bool)
    with torch.no_grad():
        plain, expected = attention(x, x, x, **given)
        with ll.watch(attention, verify=True) as seen:
            found, told = attention(x, x, x, **given)
        _, truth = attention.train()(x, x, x, **(given | {"need_weights": True}))
    assert torch.equal(found, plain)
    assert (told is None) == (expected is None) and (told is None or torch.equal(told, expected))
    torch.testing.assert_close(seen[0].dense(), truth, atol=1e-6, rtol=0)


def test_what_others_override_keeps_its_way() -> None:
    """A mode of somebody else's turns the fused path off, inside the watch as outside."""
    from torch.overrides import TorchFunctionMode

    class Counting(TorchFunctionMode):
        calls: list[str] = []  # noqa: RUF012

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.calls.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    layer = nn.TransformerEncoderLayer(E, H, 13, batch_first=True).eval()
    x = torch.randn(B, N, E)
    with torch.no_grad(), Counting():
        plain = layer(x)
        outside, Counting.calls = Counting.calls, []
        with ll.watch(layer) as seen:
            assert torch.equal(layer(x), plain)
    assert "_transformer_encoder_layer_fwd" not in outside + Counting.calls
    assert (
        len(seen) == 1
        and torch.overrides.has_torch_function.__module__ != "limelight.capture.sources.torch_functions"
    )

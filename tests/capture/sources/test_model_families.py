"""Families outside the attention interface: each captured matrix against the model's own eager weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from benchmarks.coverage_check import BOUND, check
from benchmarks.tiny_models import tiny
from limelight.capture import watch
from limelight.capture.sources.model_families.registry import FAMILIES, family_of
from limelight.capture.sources.op_tracing import tape as tapes
from limelight.errors import CaptureError
from tests.tolerance import check as check_tensor

# fmt: off
QUICK = [
    "bloom", "deberta-v2", "falcon", "funnel", "gpt_neo", "gptj", "longformer", "mpnet", "mpt", "xlm", "xlnet",
]
SLOW = [
    "big_bird", "bros", "canine", "codegen", "convbert", "cpmant", "cvt", "data2vec-vision", "deberta",
    "fastspeech2_conformer", "flaubert", "flava", "fsmt", "git", "glpn", "gpt_neox_japanese", "ibert",
    "imagegpt", "layoutlmv3", "led", "lilt", "luke", "lxmert", "megatron-bert", "mgp-str", "mvp", "openai-gpt",
    "perceiver", "pvt", "rembert", "roformer", "speecht5", "swinv2", "tapas", "timesformer", "trocr", "vilt",
    "visual_bert", "xglm",
]
# fmt: on


def assert_captured(family: str) -> str:
    row = check(family)
    assert row.outcome in ("exact", "verified"), f"{row.outcome}: {row.reason}"
    assert row.matrices > 0
    assert row.product is None or row.product < BOUND
    if row.outcome == "exact":
        assert row.official > 0
        assert row.error is not None
        assert row.error < BOUND
    return row.outcome


@pytest.mark.parametrize("family", QUICK)
def test_captured_weights_are_the_official_ones(family: str) -> None:
    assert assert_captured(family) == "exact"


@pytest.mark.slow
@pytest.mark.parametrize("family", SLOW)
def test_captured_weights_of_all_others(family: str) -> None:
    assert_captured(family)


def test_multi_head_attention_forward_called_by_its_name() -> None:
    """WavLM has its own module around PyTorch's function; its official maps are the mean of the heads."""
    assert assert_captured("wavlm") == "verified"


def test_the_check_finds_a_capture_that_is_slightly_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    true = tapes.inputs_of

    def scaled(*given: Any) -> Any:
        inputs = true(*given)
        object.__setattr__(inputs, "scale", inputs.scale * 1.01)
        return inputs

    monkeypatch.setattr(tapes, "inputs_of", scaled)
    assert check("gptj").outcome == "wrong"


def test_a_refused_family_names_its_reason() -> None:
    small = tiny("nystromformer")
    ids = torch.randint(5, 60, (1, 13))
    with pytest.raises(CaptureError, match="product of three matrices"), watch(small.model):
        small.model(input_ids=ids)


def test_a_family_that_is_refused_in_part_says_of_which_modules() -> None:
    small = tiny("prophetnet")
    ids = torch.randint(5, 60, (1, 13))
    with watch(small.model) as seen, torch.no_grad():
        small.model(input_ids=ids, decoder_input_ids=ids[:, :7])
    assert set(seen.missed) == {"decoder.layers.0.self_attn", "decoder.layers.1.self_attn"}
    assert "decoder.layers.0.self_attn was not captured" in str(seen.why())
    assert "decoder.layers.0.cross_attn" in seen
    with pytest.raises(CaptureError, match="several streams"):
        seen["decoder.layers.0.self_attn"]


def test_block_sparse_attention_is_refused_with_the_way_out() -> None:
    from transformers import BigBirdConfig, BigBirdModel

    config = BigBirdConfig(
        vocab_size=61, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, block_size=2,
        num_random_blocks=1, max_position_embeddings=61, attention_type="block_sparse",
    )  # fmt: skip
    model = BigBirdModel(config).eval()
    ids = torch.randint(5, 60, (1, 32))
    with pytest.raises(CaptureError, match="set_attention_type"), watch(model), torch.no_grad():
        model(ids)
    model.set_attention_type("original_full")
    with watch(model, verify=True) as seen, torch.no_grad():
        model(ids)
    assert seen[0].shape == (1, 3, 32, 32)


def test_steps_of_generate_are_joined() -> None:
    from transformers import AutoModelForCausalLM

    small = tiny("gptj")
    model = AutoModelForCausalLM.from_config(small.config).eval()
    ids = torch.randint(5, 60, (1, 7))
    with watch(model) as seen:
        written = model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
    with torch.no_grad():
        model.set_attn_implementation("eager")
        official = model(written[:, :-1], output_attentions=True).attentions
    assert len(seen) == len(official)
    for matrix, weights in zip((call.matrix for call in seen), official, strict=True):
        check_tensor("weights", matrix.dense(), weights)


def test_a_class_of_ones_own_that_derives_from_a_family_is_of_that_family() -> None:
    from transformers.models.gptj.modeling_gptj import GPTJAttention

    class Mine(GPTJAttention):
        pass

    small = tiny("gptj")
    attention = small.model.h[0].attn  # type: ignore[union-attr, index]
    attention.__class__ = Mine
    assert family_of(attention) is FAMILIES["gptj.GPTJAttention"]
    named = {name for name, module in small.model.named_modules() if family_of(module) is not None}
    assert named == {"h.0.attn", "h.1.attn"}


def test_every_row_of_the_table_names_a_class_that_there_is() -> None:
    """A renamed class would be lost without a word."""
    import re
    from pathlib import Path

    import transformers

    home = Path(transformers.__file__).parent / "models"
    for row in FAMILIES:
        folder, _, name = row.partition(".")
        source = "\n".join(path.read_text(encoding="utf-8") for path in (home / folder).glob("modeling_*.py"))
        assert re.search(rf"^class {name}\b", source, re.MULTILINE), row

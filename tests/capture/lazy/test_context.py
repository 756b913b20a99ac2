"""lazy_attentions: a stock model gives what an eager one gives, and BertViz does not know the difference."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from limelight.capture.lazy import context
from limelight.capture.lazy.context import lazy_attentions
from limelight.capture.lazy.tensor import LazyAttentionTensor
from limelight.errors import ArgumentTypeError, CaptureError
from tests.capture import foreign

transformers = foreign.transformers

MODELS = {"gpt2": foreign.gpt2, "llama": foreign.llama, "bert": foreign.bert, "t5": foreign.t5}
FIELDS = ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")
CLOSE = 2e-6


@pytest.mark.parametrize("name", MODELS)
def test_a_stock_model_gives_the_weights_of_an_eager_one(name: str) -> None:
    model = MODELS[name]()
    inputs = foreign.inputs(model)
    with torch.no_grad():
        stock = model(**inputs, output_attentions=True)
        with lazy_attentions(model) as same:
            found = model(**inputs, output_attentions=True)
        with foreign.eager(model):
            expected = model(**inputs, output_attentions=True)
    assert same is model
    compared = 0
    for field in FIELDS:
        weights = getattr(expected, field, None) or ()
        lent = getattr(found, field, None) or ()
        assert not getattr(stock, field, None)  # the silent failure
        assert len(lent) == len(weights)
        for one, other in zip(lent, weights, strict=True):
            assert isinstance(one, LazyAttentionTensor)
            torch.testing.assert_close(one.clone(), other, atol=CLOSE, rtol=0)
            compared += 1
    assert compared == foreign.LAYERS * (3 if model.config.is_encoder_decoder else 1)
    first = "logits" if hasattr(found, "logits") else "last_hidden_state"
    assert torch.equal(getattr(found, first), getattr(stock, first))  # the model itself is not touched


def test_each_step_of_generate_gives_its_rows() -> None:
    model = foreign.gpt2()
    ids = torch.randint(3, foreign.VOCABULARY, (1, 5))
    how: dict[str, Any] = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    with lazy_attentions(model):
        found = model.generate(ids, output_attentions=True, return_dict_in_generate=True, **how)
    with foreign.eager(model), torch.no_grad():
        whole = model(found.sequences[:, :-1], output_attentions=True).attentions
    row = 0
    for step in found.attentions:
        for layer, weights in enumerate(step):
            rows, keys = weights.shape[2:]
            torch.testing.assert_close(
                weights.clone(), whole[layer][:, :, row : row + rows, :keys], atol=CLOSE, rtol=0
            )
        row += rows
    assert row == 8


def test_after_the_block_everything_is_as_before() -> None:
    from transformers.modeling_utils import AttentionInterface

    model, before = foreign.gpt2(), AttentionInterface.get_interface
    ids = torch.randint(3, foreign.VOCABULARY, (1, 5))
    with pytest.raises(ZeroDivisionError), lazy_attentions(model):
        _ = 1 / 0
    with lazy_attentions(model):
        model(ids, output_attentions=True)
    assert AttentionInterface.get_interface is before
    assert not model(ids, output_attentions=True).attentions


def test_another_model_is_left_alone() -> None:
    model, other = foreign.gpt2(), foreign.gpt2()
    ids = torch.randint(3, foreign.VOCABULARY, (1, 5))
    with lazy_attentions(model):
        assert model(ids, output_attentions=True).attentions
        assert not other(ids, output_attentions=True).attentions


def test_an_eager_model_gives_its_own_weights() -> None:
    model = foreign.gpt2()
    model.set_attn_implementation("eager")
    with lazy_attentions(model), torch.no_grad():
        found = model(torch.randint(3, foreign.VOCABULARY, (1, 5)), output_attentions=True)
    assert len(found.attentions) == foreign.LAYERS
    assert not any(isinstance(weights, LazyAttentionTensor) for weights in found.attentions)


def test_the_advice_to_load_it_anew_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model, heard = foreign.bert(), logging.handlers.BufferingHandler(100)
    logs = logging.getLogger("transformers.integrations.sdpa_attention")
    monkeypatch.setattr(logs, "handlers", [heard])
    monkeypatch.setattr(logs, "level", logging.WARNING)
    advice = "`sdpa` attention does not support `output_attentions=True`."
    logs.warning(advice)
    with lazy_attentions(model):
        model(torch.randint(3, foreign.VOCABULARY, (1, 5)), output_attentions=True)
        logs.warning(advice)
        logs.warning("another word")
    logs.warning(advice)
    assert [record.getMessage() for record in heard.buffer] == [advice, "another word", advice]


# ── Never an empty answer ──


def test_a_part_may_be_called_by_itself() -> None:
    model = foreign.t5()
    inputs = foreign.inputs(model)
    with torch.no_grad(), lazy_attentions(model):
        found = model.get_encoder()(inputs["input_ids"], output_attentions=True)
    assert all(isinstance(each, LazyAttentionTensor) for each in found.attentions)


def test_a_block_in_which_nothing_ran_says_so() -> None:
    with pytest.raises(CaptureError, match="did not run"), lazy_attentions(foreign.gpt2()):
        pass


def test_an_answer_without_attention_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = foreign.gpt2()
    monkeypatch.setattr(context.LazyAttentionListener, "on_call", lambda self, module, inputs: None)
    ids = torch.randint(3, foreign.VOCABULARY, (1, 5))
    with lazy_attentions(model):
        model(ids)  # not asked
        with pytest.raises(CaptureError, match="No attention of GPT2LMHeadModel"):
            model(ids, output_attentions=True)


def test_keys_that_a_static_cache_has_written_to_are_refused() -> None:
    model = foreign.gpt2()
    cache = transformers.StaticCache(model.config, max_cache_len=13)
    ids = torch.randint(3, foreign.VOCABULARY, (1, 5))
    with torch.no_grad(), lazy_attentions(model):
        first = model(ids, past_key_values=cache, output_attentions=True).attentions[0]
        before = first.clone()
        model(ids[:, :1], past_key_values=cache, output_attentions=True)
    assert before.shape[2] == 5
    with pytest.raises(CaptureError, match="static caches"):
        first.clone()
    with pytest.raises(CaptureError, match="static caches"):
        _ = first[0, 0]


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="takes a Hugging Face model"), lazy_attentions("gpt2"):  # type: ignore[arg-type]
        pass


# ── BertViz ──


# It leaves its own JavaScript files open.
leaves_files_open = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def bertviz(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The real package; of IPython it needs three names that hold text, which stand in here."""

    class Markup:
        def __init__(self, data: str) -> None:
            self.data = data

    display = ModuleType("IPython.display")
    display.HTML = display.Javascript = Markup  # type: ignore[attr-defined]
    display.display = print  # type: ignore[attr-defined]
    package = ModuleType("IPython")
    package.display = display  # type: ignore[attr-defined]
    core = ModuleType("IPython.core")
    core.display = display  # type: ignore[attr-defined]
    for name, module in {"": package, ".display": display, ".core": core, ".core.display": display}.items():
        monkeypatch.setitem(sys.modules, f"IPython{name}", module)
    return pytest.importorskip("bertviz")


def numbers(page: Any) -> list[dict[str, Any]]:
    """The attention that the page's script draws."""
    found = re.search(r'\{"attention": .*?"include_layers": \[[^\]]*\](?:, "[a-z_]+": [^}]*)?\}', page.data)
    assert found is not None
    return list(json.loads(found[0])["attention"])


@leaves_files_open
def test_bertviz_draws_a_stock_decoder(bertviz: ModuleType) -> None:
    model, tokens = foreign.gpt2(), [f"word{i}" for i in range(7)]
    ids = torch.randint(3, foreign.VOCABULARY, (1, 7))
    with lazy_attentions(model), torch.no_grad():
        attention = model(ids, output_attentions=True).attentions
    with foreign.eager(model), torch.no_grad():
        expected = torch.stack(model(ids, output_attentions=True).attentions)[:, 0]
    for view in (bertviz.head_view, bertviz.model_view):
        (drawn,) = numbers(view(attention, tokens, html_action="return"))
        assert drawn["left_text"] == tokens
        torch.testing.assert_close(torch.tensor(drawn["attn"]), expected, atol=CLOSE, rtol=0)


@leaves_files_open
def test_bertviz_draws_a_stock_encoder_decoder(bertviz: ModuleType) -> None:
    model = foreign.t5()
    ids, target = (torch.randint(3, foreign.VOCABULARY, (1, count)) for count in (7, 5))
    sides = {"encoder_tokens": list("abcdefg"), "decoder_tokens": list("vwxyz")}
    named = {f"{name}s": name for name in ("encoder_attention", "decoder_attention", "cross_attention")}
    with lazy_attentions(model), torch.no_grad():
        lent = model(input_ids=ids, decoder_input_ids=target, output_attentions=True)
    with foreign.eager(model), torch.no_grad():
        stored = model(input_ids=ids, decoder_input_ids=target, output_attentions=True)
    given = {short: getattr(lent, long) for long, short in named.items()}
    drawn = numbers(bertviz.head_view(**given, **sides, html_action="return"))
    assert [each["name"] for each in drawn] == ["Encoder", "Decoder", "Cross"]
    for each, field in zip(drawn, named, strict=True):
        expected = torch.stack(getattr(stored, field))[:, 0]
        torch.testing.assert_close(torch.tensor(each["attn"]), expected, atol=CLOSE, rtol=0)

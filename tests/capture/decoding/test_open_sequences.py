"""Several texts in one model, caches that forget, and caches that give back other keys: each step where it belongs.

The truth is the eager model's own weights of one forward over each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor

import limelight as ll
from limelight.capture.decoding.caches import CacheState
from limelight.capture.decoding.joined_steps import JoinedSteps
from limelight.capture.decoding.open_sequences import OpenSequences
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.errors import CaptureError
from tests.capture import foreign, tiny
from tests.capture.foreign import VOCABULARY, transformers

CLOSE = 1e-6


def ids(length: int, batch: int = 1) -> Tensor:
    return torch.randint(3, VOCABULARY, (batch, length))


@contextmanager
def watched(model: Any) -> Iterator[Any]:
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        yield seen


def own(model: Any, tokens: Tensor) -> list[Tensor]:
    """The model's own weights of this text, by layer."""
    return tiny.official(model, input_ids=tokens)["attentions"]


def assert_texts(model: Any, seen: Any, *texts: Tensor) -> None:
    """What was captured is one matrix a text and layer, in this order, and each is the model's own."""
    name = seen.names()[0]
    first_layer = [call.matrix for call in seen if call.name == name]
    assert [matrix.shape[2:] for matrix in first_layer] == [(text.shape[1],) * 2 for text in texts]
    layers = [[call.matrix for call in seen if call.layer == layer] for layer in range(foreign.LAYERS)]
    for captured in layers:
        assert len(captured) == len(texts)
    for place, text in enumerate(texts):
        for captured, weights in zip(layers, own(model, text), strict=True):
            torch.testing.assert_close(captured[place].dense(), weights, atol=CLOSE, rtol=0)


def generated(model: Any, prompt: Tensor, new: int = 7, **how: Any) -> Tensor:
    model.generation_config.eos_token_id = None
    return model.generate(prompt, max_new_tokens=new, do_sample=False, pad_token_id=0, **how)


# ---- several texts ------------------------------------------------------------------------------------


def test_a_prompt_and_a_negative_prompt_are_a_text_each() -> None:
    model, prompt = foreign.llama(), ids(7)
    with watched(model) as seen:
        tokens = generated(model, prompt, guidance_scale=1.5, negative_prompt_ids=prompt[:, :3])
    negative = torch.cat([prompt[:, :3], tokens[:, 7:-1]], dim=1)
    assert_texts(model, seen, tokens[:, :-1], negative)
    assert seen[seen.names()[0]].shape == seen[2].shape  # by its name: the text that was begun last
    assert not seen.apart


def test_a_draft_of_the_first_layers_is_a_text_of_its_own() -> None:
    model, prompt = foreign.llama(), ids(7)
    with watched(model) as seen:
        tokens = generated(model, prompt, assistant_early_exit=1)
    weights = own(model, tokens[:, :-1])
    for call in (seen.entries[-1].finished(), *(call for call in seen if call.layer == 1)):
        assert call.layer == 1 or call.name == seen.names()[0]
    drafts, text = [call.matrix for call in seen if call.layer == 0]
    for matrix, expected in ((text, weights[0]), (seen["model.layers.1.self_attn"], weights[1])):
        torch.testing.assert_close(matrix.dense(), expected, atol=CLOSE, rtol=0)
    assert drafts.shape[2] < text.shape[2]


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_two_chats_take_turns(static: bool) -> None:
    model, texts = foreign.llama(), [ids(11), ids(11)]
    texts[1][:, :5] = texts[0][:, :5]  # they begin alike
    config = model.config
    with watched(model) as seen:
        caches = [
            transformers.StaticCache(config=config, max_cache_len=17)
            if static
            else transformers.DynamicCache(config=config)
            for _ in texts
        ]
        for start, stop in ((0, 5), (5, 7), (7, 8), (8, 11)):
            for text, cache in zip(texts, caches, strict=True):
                model(text[:, start:stop], past_key_values=cache)
    assert_texts(model, seen, *texts)


def test_a_cache_that_is_copied_for_several_questions_begins_a_text_each() -> None:
    model, prefix = foreign.llama(), ids(5)
    questions = [ids(3), ids(3), ids(3)]
    with watched(model) as seen:
        past = model(prefix, use_cache=True).past_key_values
        caches = [deepcopy(past) for _ in questions]
        for token in range(3):
            for question, cache in zip(questions, caches, strict=True):
                model(question[:, token : token + 1], past_key_values=cache)
    assert_texts(model, seen, *(torch.cat([prefix, question], dim=1) for question in questions))


def test_going_on_from_further_back_keeps_what_was_written_before() -> None:
    model, text, other = foreign.llama(), ids(11), ids(3)
    cache = transformers.DynamicCache(config=model.config)
    with watched(model) as seen:
        model(text[:, :7], past_key_values=cache)
        for token in range(7, 11):
            model(text[:, token : token + 1], past_key_values=cache)
        cache.crop(-3)
        for token in range(3):
            model(other[:, token : token + 1], past_key_values=cache)
    assert_texts(model, seen, text, torch.cat([text[:, :8], other], dim=1))


def test_a_prompt_that_is_gone_back_into_is_kept_too() -> None:
    model, text, other = foreign.llama(), ids(11), ids(3)
    cache = transformers.DynamicCache(config=model.config)
    with watched(model) as seen:
        model(text, past_key_values=cache)
        cache.crop(-5)
        model(other, past_key_values=cache)
    assert_texts(model, seen, text, torch.cat([text[:, :6], other], dim=1))


def test_a_static_cache_is_used_again_for_another_text() -> None:
    model, texts = foreign.llama(), [ids(7), ids(5)]
    cache = transformers.StaticCache(config=model.config, max_cache_len=13)
    with watched(model) as seen:
        for text in texts:
            cache.reset()
            model(text[:, :3], past_key_values=cache)
            for token in range(3, text.shape[1]):
                model(text[:, token : token + 1], past_key_values=cache)
    assert_texts(model, seen, *texts)


# ---- guesses that were wrong --------------------------------------------------------------------------


def test_guesses_over_a_sliding_window_are_forgotten() -> None:
    model = tiny.mistral()
    prompt = ids(3).repeat(1, 4)  # longer than the window of 5
    with watched(model) as seen:
        tokens = generated(model, prompt, new=11, prompt_lookup_num_tokens=3)
    assert_texts(model, seen, tokens[:, :-1])


@pytest.mark.parametrize("new", range(3, 9))
def test_guesses_that_came_last_are_forgotten_too(new: int) -> None:
    """They are taken out of the cache, and no call comes after."""
    model = foreign.llama()
    prompt = ids(3).repeat(1, 3)
    with watched(model) as seen:
        tokens = generated(model, prompt, new=new, prompt_lookup_num_tokens=4)
    assert_texts(model, seen, tokens[:, :-1])


@pytest.mark.slow
def test_rows_of_cross_attention_are_forgotten_with_those_of_the_text() -> None:
    model, helper, source = tiny.bart(), tiny.bart(), ids(7)
    for one in (model, helper):
        one.generation_config.eos_token_id = None
    with watched(model) as seen:
        tokens = generated(model, source, new=11, assistant_model=helper, num_assistant_tokens=4)
    maps = tiny.official(model, input_ids=source, decoder_input_ids=tokens[:, :-1])
    for field, kind in (("decoder_attentions", "self"), ("cross_attentions", "cross")):
        captured = [c.matrix for c in seen if c.kind == kind and "decoder" in c.name]
        assert len(captured) == foreign.LAYERS
        for matrix, weights in zip(captured, maps[field], strict=True):
            torch.testing.assert_close(matrix.dense(), weights, atol=CLOSE, rtol=0)


def test_a_static_cache_of_an_encoder_decoder() -> None:
    model, sources = tiny.bart(), [ids(7), ids(7)]
    with watched(model) as seen:
        written = [generated(model, source, 5, cache_implementation="static") for source in sources]
    cross = [call.matrix for call in seen if call.kind == "cross"]
    for place, (source, tokens) in enumerate(zip(sources, written, strict=True)):
        maps = tiny.official(model, input_ids=source, decoder_input_ids=tokens[:, :-1])["cross_attentions"]
        mine = cross[place * foreign.LAYERS :][: foreign.LAYERS]
        for matrix, weights in zip(mine, maps, strict=True):
            torch.testing.assert_close(matrix.dense(), weights, atol=CLOSE, rtol=0)


# ---- what cannot be joined is told --------------------------------------------------------------------


class Evicting(transformers.DynamicCache):
    """Keeps the first two keys and the last four."""

    def update(self, key: Tensor, value: Tensor, layer: int, *args: Any, **kwargs: Any) -> Any:
        key, value = super().update(key, value, layer, *args, **kwargs)
        if key.shape[2] > 6:
            kept = torch.tensor([0, 1, *range(key.shape[2] - 4, key.shape[2])])
            self.layers[layer].keys, self.layers[layer].values = key[:, :, kept], value[:, :, kept]
        return self.layers[layer].keys, self.layers[layer].values


class Rounding(transformers.DynamicCache):
    """Gives the new keys as they are, and the old ones rounded."""

    def update(self, key: Tensor, value: Tensor, layer: int, *args: Any, **kwargs: Any) -> Any:
        key, value = super().update(key, value, layer, *args, **kwargs)
        self.layers[layer].keys = (key * 64).round() / 64
        return key, value


@pytest.mark.parametrize("kind", [Evicting, Rounding])
def test_a_cache_that_gives_back_other_keys_is_named(kind: Any) -> None:
    model, text = foreign.llama(), ids(11)
    cache = kind(config=model.config)
    with watched(model) as seen:
        model(text[:, :5], past_key_values=cache)
        for token in range(5, 11):
            width = 6 if kind is Evicting else token + 1
            mask = torch.zeros(1, 1, 1, width)
            model(text[:, token : token + 1], past_key_values=cache, attention_mask=mask)
    words = f"model.layers.0.self_attn and 1 more: its cache, a {kind.__name__}, gives back other keys"
    assert words in seen.why() and any(words in line for line in seen.summary().notes)
    assert words in str(seen.summary())
    assert len(seen) > foreign.LAYERS  # it stands apart


def test_a_cache_of_which_only_the_last_keys_are_kept_still_holds_the_text() -> None:
    model, text = foreign.llama(), ids(11)
    cache = transformers.DynamicCache(config=model.config)
    with watched(model) as seen:
        model(text[:, :5], past_key_values=cache)
        for token in range(5, 11):
            for layer in cache.layers:
                layer.keys, layer.values = layer.keys[:, :, -3:], layer.values[:, :, -3:]
            place = torch.tensor([[token]])
            model(
                text[:, token : token + 1],
                past_key_values=cache,
                position_ids=place,
                attention_mask=torch.zeros(1, 1, 1, 4),
            )
    assert len(seen) == foreign.LAYERS and not seen.apart
    assert seen[0].shape == (1, 6, 11, 11)
    seen_NM = seen[0].dense()[0, 0] > 0
    assert torch.equal(seen_NM[5:].sum(-1), torch.full((6,), 4))  # three of before, and itself
    assert bool(seen_NM.diagonal().all())


def test_rows_that_were_computed_before_the_watch_are_told() -> None:
    model, text = foreign.llama(), ids(7)
    cache = transformers.DynamicCache(config=model.config)
    with torch.no_grad():
        model(text[:, :5], past_key_values=cache)
        with ll.watch(model) as seen:
            model(text[:, 5:], past_key_values=cache)
    assert seen[0].shape == (1, 6, 2, 7)
    assert "DynamicCache, held keys that were computed where the watch did not see it" in seen.why()


def test_texts_that_leave_a_batch_are_told() -> None:
    model, text = foreign.llama(), ids(5, batch=3)
    cache = transformers.DynamicCache(config=model.config)
    with watched(model) as seen:
        model(text, past_key_values=cache)
        cache.batch_select_indices(torch.tensor([0, 2]))
        model(ids(1, batch=2), past_key_values=cache)
    assert "the batch changed its size" in seen.why()
    assert [matrix.shape[:3] for matrix in seen[:]] == [(3, 6, 5)] * 2 + [(2, 6, 1)] * 2


def test_a_text_that_nothing_happened_to_has_no_notes() -> None:
    model = foreign.llama()
    with torch.no_grad(), ll.watch(model) as seen:
        generated(model, ids(5))
        generated(model, ids(5), use_cache=False)
    assert not len(seen.why()) and not seen.summary().notes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_keys_that_are_computed_anew_may_round_and_quantised_ones_may_not(dtype: torch.dtype) -> None:
    """As those that a model makes of latents in its cache, off by their last place; 8 bits are no such rounding."""
    cache = transformers.DynamicCache()
    query, key = torch.randn(2, 1, 3, 7, 8, dtype=dtype).unbind()

    def call(key: Tensor, start: int, stop: int) -> tuple[AttentionInputs, CacheState]:
        inputs = AttentionInputs(query=query[:, :, start:stop], key=key[:, :, :stop])
        return inputs, CacheState(ref(cache), "DynamicCache", stop)

    def joined(other: Tensor) -> bool:
        texts = OpenSequences()
        texts.place(*call(key, 0, 6))
        return texts.place(*call(other, 6, 7)).begun is None

    last_place = key.double() * (1 + torch.finfo(dtype).eps * torch.randint(-1, 2, key.shape))
    unit = key.abs().max().double() / 127
    assert joined(key.clone()) and joined(last_place.to(dtype))
    assert not joined(((key.double() / unit).round() * unit).to(dtype))


# ---- what is handed out is verified -------------------------------------------------------------------


def in_two_steps(first: int = 3, scale: float = 1.0) -> tuple[list[AttentionInputs], AttentionInputs]:
    """A text in two calls, and a call of another text with as many keys."""
    query, key, value = torch.randn(3, 1, 2, 5, 4).unbind()

    def call(key: Tensor, value: Tensor, start: int, stop: int) -> AttentionInputs:
        inputs = AttentionInputs(
            query=query[:, :, start:stop], key=key[:, :, :stop], value=value[:, :, :stop]
        )
        mask = ll.masks.causal()
        matrix = ll.AttentionMatrix(inputs.query, inputs.key, mask=mask)
        output = scale * (matrix @ inputs.value)
        return AttentionInputs(
            query=inputs.query, key=inputs.key, value=inputs.value, mask=mask, output=output
        )

    return [call(key, value, 0, first), call(key, value, first, 5)], call(key.flip(2), value, first, 5)


def test_the_joined_rows_are_those_of_the_backend() -> None:
    calls, other = in_two_steps()
    texts = OpenSequences(outputs=True)
    steps = texts.place(calls[0], None).begun
    assert steps is not None and texts.place(calls[1], None).begun is None
    whole = steps.to_verify()
    assert whole is not None and whole.output is not None and whole.output.shape[2] == 5
    torch.testing.assert_close(whole.matrix() @ whole.value, whole.output)
    assert texts.place(other, None).begun is not None  # of other keys: another text


def test_a_wrong_join_does_not_pass_verifying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined to another text, every call is right by itself, and the whole is not."""
    model, texts = foreign.llama(), [ids(7), ids(7)]

    def anything(steps: JoinedSteps, inputs: AttentionInputs, held: Any) -> int | None:
        return steps.end if inputs.key.shape[2] == steps.end + inputs.query.shape[2] else None

    def write() -> None:
        caches = [transformers.DynamicCache(config=model.config) for _ in texts]
        for start, stop in ((0, 5), (5, 6), (6, 7)):
            for text, cache in zip(texts, caches, strict=True):
                model(text[:, start:stop], past_key_values=cache)

    with watched(model) as seen:
        write()
    assert len(seen) == 4 and all(found.error < 1e-5 for found in seen.verified.values())
    monkeypatch.setattr(JoinedSteps, "place_of", anything)
    monkeypatch.setattr(JoinedSteps, "belongs_to", lambda *_: False)
    with pytest.raises(CaptureError, match="joined from its steps, must give the backend's own output"):
        with watched(model):
            write()


def test_a_row_that_was_left_out_does_not_pass_verifying(monkeypatch: pytest.MonkeyPatch) -> None:
    model = foreign.llama()
    cut = JoinedSteps.add

    def add(steps: JoinedSteps, inputs: AttentionInputs, held: Any) -> None:
        cut(steps, inputs, held)
        steps._queries[-1] = steps._queries[-1].flip(1)  # the heads in another order

    monkeypatch.setattr(JoinedSteps, "add", add)
    with pytest.raises(CaptureError, match="joined from its steps"):
        with watched(model):
            generated(model, ids(5))


def test_verifying_needs_values_and_hands_out_none() -> None:
    model = foreign.llama()
    with torch.no_grad(), ll.watch(model, verify=True, values=False, offload="cpu") as seen:
        generated(model, ids(5))
    assert seen[0].value is None
    assert len(seen.verified) == foreign.LAYERS
    assert all(entry.steps is None or entry.steps.to_verify() is None for entry in seen.entries)


def test_cross_attention_of_whisper_is_joined() -> None:
    """Its attention goes on with one of the two caches that it was given."""
    sizes = {"vocab_size": foreign.VOCABULARY, "d_model": 20, "num_mel_bins": 7, "max_source_positions": 13}
    layers = {
        f"{part}_{what}": n
        for part in ("encoder", "decoder")
        for what, n in (("layers", 1), ("attention_heads", 5))
    }
    more = {"encoder_ffn_dim": 11, "decoder_ffn_dim": 11, "decoder_start_token_id": 3, "pad_token_id": 0}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "suppress_tokens": None, "begin_suppress_tokens": None}
    config = foreign.transformers.WhisperConfig(**sizes, **layers, **more, **ends)
    model = foreign.transformers.WhisperForConditionalGeneration(config).eval()
    sound = torch.randn(2, 7, 26)
    asked = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "return_dict_in_generate": True}
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model.generate(input_features=sound, **asked)
    assert seen.names().count("model.decoder.layers.0.encoder_attn") == 1
    with torch.no_grad(), foreign.eager(model):
        steps = model.generate(input_features=sound, output_attentions=True, **asked).cross_attentions
    expected = torch.cat([step[0] for step in steps], dim=2)
    found = seen["model.decoder.layers.0.encoder_attn"].dense()
    assert found.shape[2] > 3 and found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)

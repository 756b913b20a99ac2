"""Every stage of every kind of model: its check holds, and a wrong weight makes the right one fail."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from limelight.errors import ArgumentTypeError, InputError, TooLargeError
from limelight.explain import Check, Explanation, Stage, explain_text, paired_run as walks
from limelight.explain.api import explain_walk
from limelight.explain.attention_view import view
from limelight.explain.paired_run import walk
from limelight.explain.selection import choose
from limelight.explain.stages.ablation import removal_stages
from limelight.text.tokenizers import END, START
from tests.examples import mostly_slow
from tests.explain.models import SHAPES, TEXT, predictor

ARCHITECTURES = ("transformer", "language", "classifier")


def failed(explanation: Explanation) -> list[str]:
    return [
        f"{stage.part} / {stage.name}: {stage.check}" for stage in explanation.stages if not stage.check.ok
    ]


def find(explanation: Explanation, name: str, part: str = "") -> Stage:
    return next(stage for stage in explanation.stages if stage.name.startswith(name) and part in stage.part)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", SHAPES)
def test_every_check_holds(kind: str, architecture: str) -> None:
    explanation = explain_text(predictor(architecture, **SHAPES[kind]), TEXT)
    assert not failed(explanation)
    assert len(explanation.stages) > 20
    # A check of nothing would hold as well.
    assert sum(stage.check.difference > 0 for stage in explanation.stages) > 10


def test_a_classifier_that_looks_back_only_is_followed_as_it_is() -> None:
    explanation = explain_text(predictor("classifier", causal=True), TEXT, token=2)
    assert not failed(explanation)
    mask = find(explanation, "Mask")
    assert "come later" in mask.text
    seen = mask.numbers[0].values
    assert seen[0][0] == 1 and not any(seen[0][1:])


@pytest.mark.parametrize("layer", [0, 1, -1])
@pytest.mark.parametrize("head", mostly_slow([0, 2, -1], 2))
def test_any_layer_and_head(layer: int, head: int) -> None:
    made = explain_text(predictor(shared=True), TEXT, token=1, layer=layer, head=head, answer_token=0)
    assert not failed(made)
    assert f"layer {layer % 2}, head {head % 3}" in made.stages[5].part


def test_the_parts_follow_the_data() -> None:
    def parts(architecture: str) -> list[str]:
        return [part.partition(":")[0] for part, _ in explain_text(predictor(architecture), TEXT).parts]

    assert parts("transformer") == [
        "The text",
        "Encoder, self-attention",
        "The answer so far",
        "Decoder, self-attention",
        "Decoder, cross-attention",
        "The answer",
        "Beyond the weights",
    ]
    assert parts("language") == [
        "The text and its continuation",
        "Decoder, self-attention",
        "The answer",
        "Beyond the weights",
    ]
    assert parts("classifier") == ["The text", "Encoder, self-attention", "The answer", "Beyond the weights"]


@pytest.mark.parametrize(
    ("weight", "first"),
    [
        ("encoder.embedding.table.weight", "Embedding"),
        ("encoder.blocks.0.self_norm.weight", "Norm"),
        ("encoder.blocks.0.self_attention.Wk.weight", "Wq, Wk, Wv"),
        ("encoder.blocks.0.self_attention.Wo.weight", "Concatenate and Wo"),
        ("encoder.blocks.0.feed_forward.2.weight", "Feed-forward"),
        ("decoder.blocks.0.cross_attention.Wv.weight", "Wq, Wk, Wv"),
        ("decoder.norm.bias", "Last norm"),
    ],
)
def test_a_wrong_weight_is_found_where_it_is(weight: str, first: str) -> None:
    made = predictor()
    weights = dict(made.model.named_parameters(remove_duplicate=False))
    weights[weight] = weights[weight] * 1.02 + 0.02
    followed = walk(made, TEXT, weights)
    explanation = explain_walk(followed, choose(followed, None, None, 0, None))
    wrong = next(stage for stage in explanation.stages if not stage.check.ok)
    assert wrong.name.startswith(first)
    stack, inner = weight.split(".")[0], "cross" if "cross" in weight else "self"
    if "blocks" in weight:
        assert stack in wrong.part.lower() and inner in wrong.part


def test_a_kernel_that_does_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q, K and V are right here, and the inner product is not: only the stages that look at it may tell."""
    from limelight.modules import attention

    original = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        attention,
        "scaled_dot_product_attention",
        lambda query, key, value, **options: original(query, key, value, **options, scale=0.3),
    )
    names = {
        stage.name
        for stage in explain_text(predictor("classifier"), TEXT, layer=0).stages
        if not stage.check.ok
    }
    assert {"Scale", "Softmax", "Weights · V", "The fused path against the plain truth"} <= names
    assert not names & {"Embedding", "Split heads"}


def test_the_numbers_are_those_of_the_model() -> None:
    made = predictor()
    explanation = explain_text(made, TEXT, token="▁the", layer=1, head=2)
    row = [label.split()[1] for label in find(explanation, "Tokens").numbers[0].rows].index("▁the")
    trace = made.trace(made.predict([TEXT])[0])
    softmax = find(explanation, "Softmax", "Encoder").numbers[0]
    weights = sorted(values[0] for values in softmax.values)
    assert weights == pytest.approx(sorted(trace.layers("encoder")[1][0, 2, row].tolist()), abs=1e-6)
    assert [values[0] for values in softmax.values] == weights  # from low to high
    assert sum(weights) == pytest.approx(1.0)


def test_the_mask_of_a_decoder_closes_what_comes_later() -> None:
    explanation = explain_text(predictor("language"), TEXT, token=2)
    mask = find(explanation, "Mask")
    assert all((column <= row) == bool(value) for row, cells in enumerate(mask.numbers[0].values)
               for column, value in enumerate(cells))  # fmt: skip
    assert "come later" in mask.text
    assert any(values[-1] is None for values in find(explanation, "Softmax").numbers[0].values)


def test_removing_what_the_answer_needs_moves_it() -> None:
    removal = find(explain_text(predictor(), TEXT), "Remove one token").numbers[0]
    moved = [values[0] for values in removal.values]
    assert moved == sorted(moved)
    assert moved[-1] > 1e-4
    assert all(0 <= values[1] <= 1 for values in removal.values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("text", ["", "a", "🙂 שלום"])
def test_short_and_strange_texts(architecture: str, text: str) -> None:
    assert not failed(explain_text(predictor(architecture), text))


def test_the_last_step_writes_the_end() -> None:
    made = predictor()
    prediction = made.predict([TEXT])[0]
    explanation = explain_text(made, TEXT, answer_token=-1)
    assert made.saved.target.token(prediction.target_ids[-1]) in explanation.choice[2]


def test_json_there_and_back() -> None:
    explanation = explain_text(predictor("language"), TEXT)
    text = json.dumps(explanation.to_json(), allow_nan=False)
    assert Explanation.from_json(json.loads(text)) == explanation
    assert '"ok": true' in text
    with pytest.raises(InputError, match="to_json"):
        Explanation.from_json({"format": 1, "text": ""})


def test_a_difference_that_is_no_number_fails() -> None:
    assert not Check("x", None, 1.0).ok
    assert not Check("x", 1.1, 1.0).ok
    assert Check("x", 1.0, 1.0).ok


def test_of_tokens_that_are_called_the_same_the_first_is_said_to_be_one() -> None:
    [said] = [each for each in explain_text(predictor(), "the on the", token="the").choice if "Token" in each]
    assert "the first of 2 that are called so: ask for one by its number, 0, 2." in said
    [said] = [each for each in explain_text(predictor(), "the on the", token=2).choice if "Token" in each]
    assert said.endswith("as asked.")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"token": 99}, "token must be between"),
        ({"token": "zebra"}, "token must stand in the text"),
        ({"layer": 2}, "layer must be between"),
        ({"head": 3}, "head must be between"),
        ({"head": -4}, "head must be between"),
        ({"answer_token": 40}, "token must be between"),
    ],
)
def test_what_does_not_exist_is_refused(options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        explain_text(predictor(), TEXT, **options)
    with pytest.raises(InputError, match="of this one name the token to follow"):
        explain_text(predictor("classifier"), TEXT, answer_token=0)


def test_a_continuation_keeps_the_space_that_it_begins_with() -> None:
    made = predictor("language")
    side = walk(made, TEXT).decoder
    assert side is not None
    assert side.text.startswith(TEXT)
    saved = made.saved
    assert side.text == saved.target.decode([each for each in side.ids if each not in (START, END)])
    for label, span in zip(side.labels[1:], side.spans[1:], strict=True):
        assert span is not None
        word = label.removeprefix("▁")
        assert not word.isalpha() or word in side.text[slice(*span)]


def test_a_text_that_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "MEMORY_LIMIT", 1000)
    with pytest.raises(TooLargeError, match="shorter text"):
        explain_text(predictor(), TEXT)


@pytest.mark.parametrize("asked", [{"layer": "1"}, {"layer": 1.0}, {"head": "0"}, {"token": 1.5}])
def test_what_can_name_no_layer_head_or_token_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ArgumentTypeError, match="must be a whole number"):
        explain_text(predictor(), TEXT, **asked)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_more_work_than_allowed_takes_tokens_together(architecture: str) -> None:
    made = walk(predictor(architecture), TEXT)
    choice = choose(made, None, None, -1, None)
    kind = {"transformer": "cross", "language": "decoder", "classifier": "encoder"}[architecture]
    seen = view(made, choice, kind, "A head")
    [single] = removal_stages(made, choice, seen, "Beyond")
    tokens = len(single.numbers[0].rows)
    told: list[tuple[int, int]] = []
    [stage] = removal_stages(made, choice, seen, "Beyond", lambda *how: told.append(how), work=1)
    assert "–" in "".join(stage.numbers[0].rows)
    assert stage.check.ok and stage.check.difference > 0
    assert f"its {tokens} tokens are taken {math.ceil(tokens / 2)} at a time, or one less" in stage.text
    assert told[0] == (0, 2)
    # What the parts receive adds up to what the tokens do.
    for column in (2, 3):
        sums = [sum(row[column] for row in each.numbers[0].values) for each in (stage, single)]
        assert sums[0] == pytest.approx(sums[1])

"""A classifier made from a language model: the same vectors, and nothing of what comes after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limelight.ablation.own_models import masked_forward
from limelight.errors import InputError, RecipeError
from limelight.looking.look import look
from limelight.modules.model_io import SavedModel, load_model, save_model
from limelight.modules.recurrent import RecurrentClassifier, RecurrentConfig, RecurrentLanguageModel
from limelight.modules.transformer import Classifier, LanguageModel, TransformerConfig
from limelight.predicting.predictor import Predictor
from limelight.recipes.fine_tune import NEW_OUTPUT_RATE, classifier_from
from limelight.recipes.recipe import changed, load_recipe
from limelight.recipes.train import train_recipe
from limelight.text.tokenizers import END, Tokenizer
from tests.recipes import small

TEXTS = [f"{a} {b} {c}" for a in small.WORDS for b in ("good", "bad") for c in ("now", "here")]


def language(kind: str) -> SavedModel:
    torch.manual_seed(5)
    tokenizer = Tokenizer.train(TEXTS, "words", 97)
    shape = TransformerConfig(24, 3, 29, 1, 2, dropout=0.1)
    model = (
        LanguageModel(shape, len(tokenizer))
        if kind == "transformer"
        else RecurrentLanguageModel(RecurrentConfig(width=22, decoder_layers=2), len(tokenizer))
    )
    return SavedModel("language", model.eval(), tokenizer, tokenizer)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_the_body_is_the_language_models(kind: str, tmp_path: Path) -> None:
    known = language(kind)
    before = {name: tensor.clone() for name, tensor in known.model.state_dict().items()}
    made = classifier_from(known, ["spam", "ham", "jam"])
    assert made.classes == ("ham", "jam", "spam")
    ids = torch.tensor([known.source.encode("red good now").ids])
    with torch.no_grad():
        made.model.eval()
        torch.testing.assert_close(made.model(ids), torch.zeros(1, 3), rtol=0, atol=0)
        if isinstance(made.model, Classifier):
            mask = made.model.visible(None)
            own, lm = made.model.encoder(ids, mask=mask), known.model.decoder(ids, mask=mask)
        else:
            assert isinstance(made.model, RecurrentClassifier)
            own = made.model.norm(made.model.encoder(made.model.embedding(ids))[0])
            lm = known.model.norm(known.model.decoder(known.model.embedding(ids))[0])
        torch.testing.assert_close(own, lm, rtol=0, atol=0)
        made.model.output.weight.normal_()
    for name, tensor in known.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    loaded = load_model(save_model(made, tmp_path / "m"))
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids), made.model(ids), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_a_causal_classifier_sees_nothing_of_what_comes_after(kind: str) -> None:
    made = classifier_from(language(kind), ["a", "b"])
    made.model.eval()
    kept: list[torch.Tensor] = []
    made.model.encoder.register_forward_hook(
        lambda module, args, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        for last in (7, 8):
            made.model(torch.tensor([[5, 6, last], [5, 9, last]]), torch.tensor([3, 2]))
    torch.testing.assert_close(kept[0][:1, :2], kept[1][:1, :2], rtol=0, atol=0)
    assert not torch.equal(kept[0][0, 2], kept[1][0, 2])
    both = type(made.model)(replace(made.model.shape, causal=False), 97, 2).eval()  # type: ignore[call-arg]
    both.encoder.register_forward_hook(
        lambda module, args, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        for last in (7, 8):
            both(torch.tensor([[5, 6, last]]))
    assert not torch.equal(kept[2][0, 0], kept[3][0, 0])


def test_what_is_no_language_model_is_refused() -> None:
    known = language("transformer")
    with pytest.raises(InputError, match="from a language model; got one for 'classify'"):
        classifier_from(classifier_from(known, ["a", "b"]), ["a", "b"])
    with pytest.raises(InputError, match="at least two classes"):
        classifier_from(known, ["a"])


def test_training_begins_from_a_language_model(tmp_path: Path) -> None:
    known = language("transformer")
    data = tmp_path / "data"
    data.mkdir()
    rows = [f"{text}\t{'praise' if 'good' in text else 'blame'}\n" for text in TEXTS]
    for part in ("train", "valid"):
        (data / f"{part}.tsv").write_text("".join(rows))
    recipe = small.recipe("classify")
    recipe = replace(recipe, training=replace(recipe.training, steps=2, evaluate_every=2))
    saved, _ = train_recipe(recipe, data, tmp_path / "run", start=known)
    assert saved.task == "classify"
    assert saved.model.shape.causal
    assert saved.classes == ("blame", "praise")
    assert load_recipe(tmp_path / "run" / "recipe.toml").training.output_rate == NEW_OUTPUT_RATE
    slower = changed(recipe, output_rate=2.0)
    train_recipe(slower, data, tmp_path / "slower", start=known)
    assert load_recipe(tmp_path / "slower" / "recipe.toml").training.output_rate == 2.0
    train_recipe(recipe, data, tmp_path / "fresh")
    assert load_recipe(tmp_path / "fresh" / "recipe.toml").training.output_rate == 0
    with pytest.raises(RecipeError, match="cannot begin a run of"):
        train_recipe(recipe, data, tmp_path / "other", start=replace(known, task="translate"))


@pytest.mark.parametrize("causal", [False, True])
def test_the_removal_check_of_a_classifier_is_that_of_the_words_left_out(causal: bool) -> None:
    known = language("transformer")
    made = classifier_from(known, ["a", "b", "c"])
    if not causal:
        made = replace(made, model=Classifier(replace(made.model.shape, causal=False), len(known.source), 3))
    torch.manual_seed(7)
    made.model.output.weight.data.normal_()
    made.model.eval()
    [found] = look(Predictor(made), ["red good now here"])
    assert found.removal is not None
    assert found.removal.attended is found.received
    words, ids = found.received.labels[0], found.prediction.source_ids
    output = masked_forward(made.model, [*ids, END])
    with torch.no_grad():
        whole = output(torch.ones(1, len(ids) + 1, dtype=torch.bool)).log_softmax(-1)
        for number in range(len(words)):
            kept = torch.ones(1, len(ids) + 1, dtype=torch.bool)
            kept[0, number] = False
            without = output(kept).log_softmax(-1)
            kl = float((whole.exp() * (whole - without)).sum())
            assert found.removal.effect.values[number] == pytest.approx(kl, rel=1e-4, abs=1e-7)


def test_the_last_word_taken_from_a_causal_classifier_is_as_if_it_had_not_been_written() -> None:
    made = classifier_from(language("transformer"), ["a", "b"])
    torch.manual_seed(7)
    made.model.output.weight.data.normal_()
    made.model.eval()
    output = masked_forward(made.model, [5, 6, 7])
    with torch.no_grad():
        torch.testing.assert_close(
            output(torch.tensor([[True, True, False]])),
            made.model(torch.tensor([[5, 6]])),
            rtol=1e-5,
            atol=1e-6,
        )

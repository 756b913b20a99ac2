"""A checkpoint is read in the class that it was saved from; what people hold in their hands is unwrapped."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from limelight.errors import ArgumentTypeError, CheckpointError, InputError, MissingExtraError
from limelight.looking import pretrained
from limelight.looking.documents import look_documents
from limelight.looking.head_atlas import atlas_of
from limelight.looking.hugging_face_reader import HuggingFaceReader
from limelight.looking.load import load_reader
from tests.capture import foreign

transformers = foreign.transformers
pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = tuple("abcdefgh")
DOCUMENTS = {"one": "a b c", "two": "d e"}
TEXT = {
    "vocab_size": foreign.VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 13,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 61,
    "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0,
}  # fmt: skip
SEEN = {
    "hidden_size": 16, "intermediate_size": 13, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip


def llava() -> Any:
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**SEEN, projection_dim=16),
        text_config=transformers.LlamaConfig(**TEXT), image_token_id=7,
    )  # fmt: skip
    return transformers.LlavaForConditionalGeneration(config)


def gemma3() -> Any:
    config = transformers.Gemma3Config(
        vision_config=transformers.SiglipVisionConfig(**SEEN),
        text_config=transformers.Gemma3TextConfig(**TEXT, query_pre_attn_scalar=4), image_token_id=7,
        mm_tokens_per_image=4,
    )  # fmt: skip
    return transformers.Gemma3ForConditionalGeneration(config)


def bert(kind: str) -> Any:
    config = transformers.BertConfig(
        vocab_size=foreign.VOCABULARY, hidden_size=20, num_hidden_layers=2, num_attention_heads=5,
        intermediate_size=13, max_position_embeddings=61,
    )  # fmt: skip
    return getattr(transformers, kind)(config)


def t5(kind: str) -> Any:
    return getattr(transformers, kind)(foreign.t5().config)


SAVED: dict[str, tuple[Callable[[], Any], str, str, str]] = {
    "gpt2": (foreign.gpt2, "GPT2LMHeadModel", "decoder", ""),
    "llava": (llava, "LlavaForConditionalGeneration", "decoder", ""),
    "gemma3": (gemma3, "Gemma3ForConditionalGeneration", "decoder", ""),
    "masked": (lambda: bert("BertForMaskedLM"), "BertModel", "encoder", "BertForMaskedLM: its BertModel is read"),
    "classes": (lambda: bert("BertForSequenceClassification"), "BertModel", "encoder", "head left out"),
    "plain": (lambda: bert("BertModel"), "BertModel", "encoder", ""),
    "encoder": (lambda: t5("T5EncoderModel"), "T5EncoderModel", "encoder", ""),
    "pairs": (foreign.t5, "T5ForConditionalGeneration", "encoder-decoder", ""),
}  # fmt: skip


def saved(model: Any, folder: Path) -> str:
    torch.manual_seed(5)
    model.save_pretrained(folder)
    foreign.word_tokenizer(WORDS).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", SAVED)
def test_a_checkpoint_is_read_as_what_it_is(name: str, tmp_path: Path) -> None:
    make, kind, architecture, note = SAVED[name]
    reader = load_reader(saved(make(), tmp_path))
    assert isinstance(reader, HuggingFaceReader)
    assert (type(reader.model).__name__, reader.architecture) == (kind, architecture)
    found = look_documents(reader, DOCUMENTS, "f g", answer_tokens=2)
    assert found.who == ("question" if architecture == "encoder" else "answer")
    assert (note in " ".join(found.notes)) and bool(found.notes) == bool(note)


def test_weights_that_are_not_there_are_no_model(tmp_path: Path) -> None:
    folder = saved(bert("BertModel"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["BertLMHeadModel"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="must hold every weight of its model; it lacks cls"):
        load_reader(folder)


def test_what_reads_no_text_says_so(tmp_path: Path) -> None:
    folder = saved(transformers.ViTModel(transformers.ViTConfig(**SEEN)), tmp_path)
    with pytest.raises(CheckpointError, match="must read text; a ViTModel reads pixel_values"):
        load_reader(folder)


# ── Adapters ──


def adapter(folder: Path, base: object, **more: Any) -> str:
    folder.mkdir(exist_ok=True)
    settings = {"peft_type": "LORA", "base_model_name_or_path": base, "target_modules": ["c_attn"], "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(settings | more), encoding="utf-8")
    return str(folder)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_an_adapter_is_read_on_its_base(tmp_path: Path) -> None:
    import peft

    base = saved(foreign.llama(), tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    tuned = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "tuned")
    reader = load_reader(str(tmp_path / "tuned"))
    assert "LORA adapter" in reader.note  # type: ignore[attr-defined]
    of_folder, of_object, of_base = (
        look_documents(each, DOCUMENTS, "f g", answer_tokens=1).views["weight"].words.values
        for each in (reader, HuggingFaceReader(tuned.eval(), reader.tokenizer), load_reader(base))  # type: ignore[attr-defined]
    )
    assert of_folder == pytest.approx(of_object, abs=1e-6)
    assert of_folder != pytest.approx(of_base, abs=1e-4)


def test_an_adapter_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="must name its base model"):
        load_reader(adapter(tmp_path / "a", None))
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install peft"):
        load_reader(adapter(tmp_path / "b", "some/base"))
    monkeypatch.setattr(pretrained, "find_spec", lambda name: name)
    with pytest.raises(CheckpointError, match="is no folder"):
        load_reader(adapter(tmp_path / "c", str(tmp_path / "gone")))
    (tmp_path / "c" / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="must be JSON"):
        load_reader(str(tmp_path / "c"))


# ── Objects ──


class Sentences(nn.Sequential):
    """As a SentenceTransformer holds its model: in its first part, with the tokenizer beside it."""

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        part = nn.Module()
        part.auto_model = model
        super().__init__(part, nn.Linear(20, 20))
        self.tokenizer = tokenizer


class Pipeline:
    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self.model, self.tokenizer, self.task = model, tokenizer, "text-generation"


def test_what_holds_a_model_is_unwrapped() -> None:
    model, tokenizer = foreign.bert(), foreign.word_tokenizer(WORDS)
    expected = (
        look_documents(HuggingFaceReader(model, tokenizer), DOCUMENTS, "f").views["weight"].words.values
    )
    holders = [
        HuggingFaceReader(Pipeline(model, tokenizer)),
        HuggingFaceReader(Sentences(model, tokenizer)),
        HuggingFaceReader(torch.compile(model), tokenizer),
        HuggingFaceReader(nn.DataParallel(model), tokenizer),
    ]
    for reader in holders:
        assert reader.model is model
        found = look_documents(reader, DOCUMENTS, "f")
        assert found.views["weight"].words.values == pytest.approx(expected)
    assert "Of the Sentences its BertModel is read" in holders[1].note
    assert len(atlas_of(holders[0], DOCUMENTS).atlas.heads) == 10


def test_an_encoder_decoder_that_cannot_write_is_read_as_its_encoder() -> None:
    reader = HuggingFaceReader(t5("T5Model"), foreign.word_tokenizer(WORDS))
    assert reader.architecture == "encoder" and type(reader.model).__name__ == "T5Stack"
    assert look_documents(reader, DOCUMENTS, "f").who == "question"


@pytest.mark.parametrize(
    "given", [7, "a/folder", None, nn.Linear(2, 2), {"model": 1}, nn.ModuleList()], ids=repr
)
def test_what_is_no_model_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="must be given a model of transformers"):
        HuggingFaceReader(given, foreign.word_tokenizer(WORDS))


@pytest.mark.parametrize("given", [7, "words", None, nn.Linear(2, 2)], ids=repr)
def test_what_is_no_tokenizer_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="must be given the model's tokenizer"):
        HuggingFaceReader(foreign.bert(), given)


def test_a_model_that_fails_on_text_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    model = foreign.bert()
    monkeypatch.setattr(model, "forward", lambda **given: given["pixel_values"])
    with pytest.raises(InputError, match="a BertModel, could not read text alone: KeyError"):
        look_documents(HuggingFaceReader(model, foreign.word_tokenizer(WORDS)), DOCUMENTS, "f")

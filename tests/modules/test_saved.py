"""A model's folder: the round trip, and every damage refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from limelight.errors import CheckpointError, InputError
from limelight.modules.model_io import (
    ARCHITECTURES,
    SavedModel,
    architecture,
    build,
    load_model,
    save_model,
)
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import Transformer, TransformerConfig
from limelight.text.tokenizers import Tokenizer

TEXTS = ["the lime light lights the limelight", "a light in the dark"]
BPE = Tokenizer.train(TEXTS, "bpe", 277)
WORDS = Tokenizer.train(TEXTS, "words")
SHAPE = TransformerConfig(20, 2, 29, 1, 1, key_value_heads=1, norm="post", activation="gelu")


def saved(kind: str = "transformer", shared: bool = False, shape: TransformerConfig = SHAPE) -> SavedModel:
    source, target = BPE, BPE if shared or kind == "classifier" else WORDS
    model = build(kind, shape, len(source), len(target), shared, 3)
    classes = ("dull", "fair", "bright") if kind == "classifier" else ()
    return SavedModel(
        "task", model, source, target, classes, {"beam": 4}, {"rows": 2}, "# Card\n\nÜber Licht.\n"
    )


@pytest.mark.parametrize("kind", ["transformer", "language", "classifier"])
def test_round_trip(kind: str, tmp_path: Path) -> None:
    model = saved(kind)
    folder = save_model(model, tmp_path / "model")
    loaded = load_model(folder)
    assert type(loaded.model) is type(model.model)
    assert loaded.model.shape == SHAPE
    assert not loaded.model.training
    own = dict(model.model.named_parameters())
    assert own.keys() == dict(loaded.model.named_parameters()).keys()
    assert all(torch.equal(parameter, own[name]) for name, parameter in loaded.model.named_parameters())
    for name in ("task", "classes", "prediction", "training", "card", "shared", "parameters"):
        assert getattr(loaded, name) == getattr(model, name)
    for one, other in ((loaded.source, model.source), (loaded.target, model.target)):
        assert one.encode("the limelight") == other.encode("the limelight")


def test_bf16_halves_the_file_and_rounds_each_weight_once(tmp_path: Path) -> None:
    model = saved()
    whole = save_model(model, tmp_path / "whole")
    half = save_model(model, tmp_path / "half", torch.bfloat16)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_model(half).model
    for name, parameter in model.model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter.bfloat16().float())
    again = save_model(load_model(half), tmp_path / "again", torch.bfloat16)
    assert (again / "model.safetensors").read_bytes() == (half / "model.safetensors").read_bytes()


def test_one_table_stays_one(tmp_path: Path) -> None:
    model = saved(shared=True)
    assert model.shared
    folder = save_model(model, tmp_path / "model")
    assert not (folder / "target.json").exists()
    loaded = load_model(folder)
    assert loaded.target is loaded.source
    assert loaded.model.encoder.embedding is loaded.model.decoder.embedding
    assert "encoder.embedding.table.weight" in load_file(folder / "model.safetensors")
    assert "decoder.embedding.table.weight" not in load_file(folder / "model.safetensors")


def test_an_older_model_is_replaced_and_rubbish_is_swept(tmp_path: Path) -> None:
    folder = save_model(saved("language"), tmp_path / "model")
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "model.json").write_text("half of it")
    save_model(saved(), folder)
    assert isinstance(load_model(folder).model, Transformer)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_every_folder_of_a_shape_loads_with_it(tmp_path: Path) -> None:
    for kind in ("rotary", "sinusoidal", "learned", "alibi", "none"):
        shape = replace(SHAPE, positions=kind, norm="pre", attention_bias=True, longest=11)
        assert load_model(save_model(saved(shape=shape), tmp_path / kind)).model.shape == shape


# ── Damage ──


def described(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """A change of what model.json says."""

    def damage(folder: Path) -> None:
        file = folder / "model.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return damage


def weighted(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """A change of the weights."""

    def damage(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return damage


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return damage


DAMAGES = {
    "no model.json": lambda folder: (folder / "model.json").unlink(),
    "half a model.json": cut("model.json"),
    "model.json of another kind": lambda folder: (folder / "model.json").write_text("[1, 2]"),
    "model.json in another encoding": lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe{"),
    "another format": described(lambda content: content.update(format=99)),
    "no format": described(lambda content: content.pop("format")),
    "no task": described(lambda content: content.pop("task")),
    "no prediction": described(lambda content: content.pop("prediction")),
    "unknown architecture": described(lambda content: content.update(architecture="recurrent")),
    "unknown word in the shape": described(lambda content: content["shape"].update(depth=3)),
    "a shape that is none": described(lambda content: content["shape"].update(heads=7)),
    "no heads": described(lambda content: content["shape"].update(heads=0)),
    "a shape of words": described(lambda content: content["shape"].update(width="wide")),
    "other layers": described(lambda content: content["shape"].update(decoder_layers=2)),
    "other width": described(lambda content: content["shape"].update(feed_forward=31)),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "half the weights": cut("model.safetensors"),
    "empty weights": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "a weight too few": weighted(lambda weights: weights.pop("decoder.blocks.0.self_attention.Wq.weight")),
    "a weight too many": weighted(lambda weights: weights.update(more=torch.ones(3))),
    "a weight that would spread": weighted(
        lambda weights: weights.update({"encoder.blocks.0.self_norm.weight": torch.ones(1)})
    ),
    "no tokenizer": lambda folder: (folder / "source.json").unlink(),
    "half a tokenizer": cut("source.json"),
    "half a target tokenizer": cut("target.json"),
    "the target's tokenizer missing": lambda folder: (folder / "target.json").unlink(),
    "a card in another encoding": lambda folder: (folder / "card.md").write_bytes(b"\xff"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_with_the_folder_s_name(damage: str, tmp_path: Path) -> None:
    folder = save_model(saved(), tmp_path / "model")
    DAMAGES[damage](folder)
    with pytest.raises(CheckpointError) as refusal:
        load_model(folder)
    if damage != "unknown architecture":
        assert str(folder) in str(refusal.value)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No model .*nowhere.*: give the path of a model's folder"):
        load_model(tmp_path / "nowhere")


def test_a_shipped_model_is_known_by_its_name() -> None:
    assert load_model("translate-en-de").task == "translate"


def test_other_peoples_models_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds a Hugging Face model.*limelight look"):
        load_model(tmp_path)


def test_what_is_saved_holds_no_code(tmp_path: Path) -> None:
    folder = save_model(saved(), tmp_path / "model")
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.json", "model.safetensors", "source.json", "target.json", "card.md"}
    assert json.loads((folder / "model.json").read_text())["shape"] == asdict(SHAPE)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_is_built_by_its_name(kind: str) -> None:
    shape = RecurrentConfig(width=6) if kind.startswith("recurrent") else SHAPE
    made = build(kind, shape, 5, 7, False, 3)
    assert type(made) is ARCHITECTURES[kind]
    assert architecture(made.role, shape) == kind


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(CheckpointError, match="one of transformer, language, classifier, recurrent"):
        build("convolution", SHAPE, 5, 7, False, 0)


def test_only_a_model_is_replaced(tmp_path: Path) -> None:
    model = saved()
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="holds something else"):
            save_model(model, place)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "model").mkdir()
    for _ in range(2):  # in an empty folder, then in the place of a model
        assert load_model(save_model(model, str(tmp_path / "model"))).task == model.task
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model", "notes.txt"]

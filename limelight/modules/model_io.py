"""A model's folder: everything that is needed to use it, and nothing that runs code.

    model.json            task, architecture, shape, classes, how to predict
    model.safetensors     the weights
    source.json           the tokenizer of what goes in
    target.json           the tokenizer of what comes out (where it is another one)
    card.md               data, licence, command, cost, results, limits

The shipped models, the user's own and the ones given to `train --from` all have this form.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from limelight.checked import checked
from limelight.errors import CheckpointError, InputError, LimelightError, one_of
from limelight.files import flush, save_tensors
from limelight.models import find_model
from limelight.modules.attention import Role
from limelight.modules.recurrent import (
    RecurrentClassifier,
    RecurrentConfig,
    RecurrentLanguageModel,
    RecurrentTranslator,
)
from limelight.modules.transformer import Classifier, LanguageModel, Transformer, TransformerConfig
from limelight.text.tokenizers import Tokenizer

FORMAT = 1
FILES = ("model.safetensors", "source.json", "target.json", "card.md", "model.json")
"""What a model's folder holds of ours. Other files in it are the user's own."""
EDITED = "card.edited.md"
"""Where a card goes that somebody has edited, when the folder's model is replaced."""


@dataclass(frozen=True)
class SavedModel:
    """A model with its tokenizers. `target` is the source's own tokenizer where they share one."""

    task: str
    model: nn.Module
    source: Tokenizer
    target: Tokenizer
    classes: tuple[str, ...] = ()
    prediction: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    card: str = ""

    @property
    def shared(self) -> bool:
        """Whether what goes in and what comes out are cut by one tokenizer."""
        return self.target is self.source

    @property
    def window(self) -> int | None:
        """How many tokens a language model was trained to read at once; None of other models, and where it is not
        known."""
        return getattr(self.model, "window", None)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


ARCHITECTURES: dict[str, type[nn.Module]] = {
    "transformer": Transformer,
    "language": LanguageModel,
    "classifier": Classifier,
    "recurrent": RecurrentTranslator,
    "recurrent-language": RecurrentLanguageModel,
    "recurrent-classifier": RecurrentClassifier,
}
"""Their names in model.json."""


def architecture(role: Role, shape: TransformerConfig | RecurrentConfig) -> str:
    """The name of the architecture that does `role` and whose blocks look like `shape`.

    >>> architecture("language", RecurrentConfig())
    'recurrent-language'
    """
    recurrent = isinstance(shape, RecurrentConfig)
    for name, kind in ARCHITECTURES.items():
        if cast(Any, kind).role == role and name.startswith("recurrent") == recurrent:
            return name
    raise AssertionError(role)


def build(
    kind: str,
    shape: TransformerConfig | RecurrentConfig,
    source: int,
    target: int,
    shared: bool,
    classes: int,
    window: int | None = None,
) -> nn.Module:
    """A fresh model of an architecture by name, for vocabularies of `source` and `target` tokens; `window` is how
    many tokens a language model is to read at once."""
    if kind not in ARCHITECTURES:
        raise CheckpointError(one_of("architecture", ARCHITECTURES, kind))
    made: Any = ARCHITECTURES[kind]
    match made.role:
        case "pairs":
            return made(shape, source, target, share=shared)
        case "language":
            return made(shape, target) if isinstance(shape, RecurrentConfig) else made(shape, target, window)
        case _:
            return made(shape, source, classes)


def place_for_model(folder: str | Path) -> Path:
    """The folder as a place that `save_model` may write to: a new one, an empty one, or that of an older model.

    Raises InputError for anything else, which would be lost.
    """
    folder = Path(os.path.realpath(folder))
    if folder.is_symlink():
        raise InputError(
            f"A model is written to a folder; {folder} is a link that leads to itself. Give another."
        )
    if folder.exists() and not holds_model(folder):
        if not folder.is_dir() or any(folder.iterdir()):
            raise InputError(
                f"A model is written to a new folder, or in the place of an older model; {folder} holds something "
                "else. Give another folder."
            )
    if folder.exists() and (newer := _format(folder)) > FORMAT:
        raise InputError(
            f"{folder} holds a model of format {newer}, of a newer version; this one writes {FORMAT} and would take "
            "its place. Give another folder, or move it away."
        )
    return folder


def _format(folder: Path) -> int:
    """What a model's folder says of its own form; that of this version where it says nothing."""
    try:
        written = json.loads((folder / "model.json").read_text(encoding="utf-8")).get("format")
    except (OSError, ValueError, AttributeError):
        return FORMAT
    return written if isinstance(written, int) else FORMAT


def holds_model(folder: Path) -> bool:
    """Whether a model of ours is kept in this folder itself, whole or not."""
    try:
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(described, dict) and "format" in described and "architecture" in described


@checked
def save_model(saved: SavedModel, folder: str | Path, precision: torch.dtype = torch.float32) -> Path:
    """Write a model's folder aside and rename it; an older model of the same name is replaced.

    What else lies in an older model's folder goes over into the new one, and so does, as `card.edited.md`, a card
    that somebody has edited. Where the model is the same as the older one, nothing is written.
    Raises InputError where the folder holds something else, OSError where the disk does not take it: the older model
    stays then.
    """
    folder = place_for_model(folder)
    partial, older = (folder.with_name(f".{folder.name}.{ending}") for ending in ("partial", "older"))
    if older.exists():  # somebody was killed on the way
        if folder.exists():
            _carry(older, folder)
        else:
            os.rename(older, folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _write(saved, partial, precision)
        if _same(partial, folder):
            shutil.rmtree(partial)
            return folder
        if folder.exists():
            os.rename(folder, older)  # kept until the new one stands in its place
        os.rename(partial, folder)
        flush(folder.parent)
    except BaseException:
        if older.exists() and not folder.exists():
            os.rename(older, folder)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if older.exists():
        _carry(older, folder)
    return folder


def _write(saved: SavedModel, folder: Path, precision: torch.dtype) -> None:
    """The files of a model, on disk when this returns."""
    shape = cast(TransformerConfig | RecurrentConfig, saved.model.shape)
    description = {
        "format": FORMAT,
        "task": saved.task,
        "architecture": architecture(cast(Role, saved.model.role), shape),
        "shape": asdict(shape),
        "shared": saved.shared,
        **({} if saved.window is None else {"window": saved.window}),
        "classes": list(saved.classes),
        "prediction": saved.prediction,
        "training": saved.training,
        "card": _digest(saved.card.encode("utf-8")) if saved.card else "",
    }
    (folder / "model.json").write_text(
        json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    weights = {
        name: tensor.detach().to(precision).contiguous() for name, tensor in saved.model.named_parameters()
    }
    save_tensors(weights, folder / "model.safetensors")
    # safetensors writes for the owner alone; a model is for sharing.
    (folder / "model.safetensors").chmod(0o644)
    saved.source.save(folder / "source.json")
    if not saved.shared:
        saved.target.save(folder / "target.json")
    if saved.card:
        (folder / "card.md").write_text(saved.card, encoding="utf-8", newline="\n")
    for file in folder.iterdir():
        flush(file)
    flush(folder)


def _same(new: Path, old: Path) -> bool:
    """Whether two folders hold one model; of the cards, whether both began as the same one."""
    return all(
        (new / name).is_file() == (old / name).is_file()
        and (not (new / name).is_file() or (new / name).read_bytes() == (old / name).read_bytes())
        for name in FILES
        if name != "card.md"
    )


def _carry(older: Path, folder: Path) -> None:
    """Move what is not ours, and an edited card, out of an older model's folder into its new one; remove the older.

    Where a name is taken in the new folder, a number is put behind it.
    """
    for path in sorted(older.iterdir()):
        if path.name not in FILES and not _same_file(path, folder / path.name):
            os.rename(path, _free(folder / path.name))
    if _edited(older) and not _same_file(older / "card.md", folder / "card.md"):
        os.rename(older / "card.md", _free(folder / EDITED))
    for path in sorted(older.iterdir()):  # ours, and what the new folder has too
        path.unlink(missing_ok=True)
    with suppress(OSError):
        older.rmdir()


def _free(place: Path) -> Path:
    """This place, or the first with a number behind its name, where nothing is."""
    numbered = (place.with_stem(f"{place.stem}-{number}") for number in range(2, 10**6))
    return next(each for each in chain([place], numbered) if not os.path.lexists(each))


def _edited(folder: Path) -> bool:
    """Whether the card is another than the one that was written with the model; one of an older version may be."""
    card = folder / "card.md"
    try:
        written = json.loads((folder / "model.json").read_text(encoding="utf-8")).get("card")
    except (OSError, ValueError, AttributeError):
        written = None
    return card.is_file() and _digest(card.read_bytes()) != written


def _same_file(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@checked
def load_model(name: str | Path) -> SavedModel:
    """Read a model's folder, a training run's, or that of a shipped model by its name.

    Its weights are float32, and it is ready to predict (eval mode). Raises CheckpointError with the reason where
    there is no such model, or it is incomplete or of another format.
    """
    folder = find_model(name)
    try:
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            raise CheckpointError(
                f"{folder} is of format {described['format']}; this version reads {FORMAT}."
            )
        source = Tokenizer.load(folder / "source.json")
        separate = folder / "target.json"
        target = Tokenizer.load(separate) if separate.is_file() else source
        classes = tuple(described["classes"])
        kind = described["architecture"]
        shape: TransformerConfig | RecurrentConfig = (
            RecurrentConfig if kind.startswith("recurrent") else TransformerConfig
        )(**described["shape"])
        window = described.get("window")
        model = build(kind, shape, len(source), len(target), described["shared"], len(classes), window)
        weights = load_file(folder / "model.safetensors")
        own = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        stored = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if different := sorted({name for name, _ in own.items() ^ stored.items()}):
            raise CheckpointError(f"{folder}/model.safetensors does not fit its model.json: {different[0]}.")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights[name])
        card = folder / "card.md"
        return SavedModel(
            described["task"],
            model.eval(),
            source,
            target,
            classes,
            described["prediction"],
            described["training"],
            card.read_text(encoding="utf-8") if card.is_file() else "",
        )
    except CheckpointError:
        raise
    except LimelightError as error:
        raise CheckpointError(f"{folder} is not a usable model: {error}") from error
    except (
        OSError,
        ArithmeticError,
        AttributeError,
        MemoryError,
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
        SafetensorError,
    ) as error:
        raise CheckpointError(f"{folder} is not a usable model: {error!r}.") from error

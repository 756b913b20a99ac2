"""A checkpoint of transformers as the model that it is: which class reads it, which adapter, and what is left out.

A checkpoint says in its config.json which class it was saved from. That class reads it: a chat model that can look at
pictures too is no less a decoder than one that cannot. What cannot write (classifiers, masked language models) is
read as the encoder inside it, and its head is left out; the reader's note says so. Weights that a checkpoint does not
hold would be random, so it is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limelight.errors import CheckpointError, LimelightError, MissingExtraError, require
from limelight.models import find_model

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ADAPTER = "adapter_config.json"
OWN_CODE = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModelForImageTextToText", "AutoModel")
"""What a checkpoint may bring code of its own for, in the order in which it is used."""
NAMED = 3
"""Weights that a message names."""


def is_hugging_face(name: str) -> bool:
    """Whether this names a Hugging Face model: a folder with a config.json or an adapter, or a name of the hub.

    A path that does not exist is none: `find_model` says so.
    """
    path = Path(name)
    if path.is_dir():
        return any((path / file).is_file() for file in ("config.json", ADAPTER)) and not any(
            (each / "model.json").is_file() for each in (path, path / "model")
        )
    return not path.exists() and HUB_NAME.fullmatch(name) is not None and not name.startswith(".")


@dataclass(frozen=True)
class Pretrained:
    """A model with its tokenizer. `note` says what a reader should know of how it was loaded; "" for nothing."""

    model: Any
    tokenizer: Any
    note: str = ""


def load_pretrained(name: str, trust_remote_code: bool = False) -> Pretrained:
    """From a folder, or by its name on the hub. Code that comes with a model runs only if it is trusted.

    A folder that peft has saved (adapter_config.json) is loaded on the model that it names as its base.
    Raises CheckpointError with the reason in one line, MissingExtraError where an adapter needs peft.
    """
    if not is_hugging_face(name):
        find_model(name)  # says what is wrong, or that it is one of ours
        raise CheckpointError(f"{name} is a model of Limelight's own; use load_reader.")
    transformers = require("transformers", extra="hf", purpose="A Hugging Face model")
    logs = transformers.utils.logging
    bars = logs.is_progress_bar_enabled()
    logs.disable_progress_bar()
    try:
        adapter = _adapter(transformers, name)
        home = name if adapter is None else _base(name, adapter)
        config = transformers.AutoConfig.from_pretrained(home, trust_remote_code=trust_remote_code)
        tokenizer = _tokenizer(transformers, name, home, trust_remote_code)
        model, note = _model(transformers, home, config, trust_remote_code)
        if adapter is not None:
            _put_on(model, name, adapter)
            kind = adapter.get("peft_type", "adapter")
            note = f"Read with its {kind} adapter on {home}. {note}".strip()
        return Pretrained(_reads_text(name, model), tokenizer, note)
    except LimelightError:
        raise
    except Exception as error:  # broken files raise whatever their libraries do, plain Exception too
        raise CheckpointError(_why_not(name, error, trust_remote_code)) from error
    finally:
        if bars:
            logs.enable_progress_bar()


# ---- the class ----------------------------------------------------------------------------------------


def _model(transformers: Any, name: str, config: Any, trusted: bool) -> tuple[Any, str]:
    """The model in the class that it was saved from, the encoder inside it where that cannot write, and a note."""
    trust = {"trust_remote_code": trusted}
    saved = class_of(transformers, config)
    if saved is None:
        auto = _by_type(transformers, config)
        model, missing = _loaded(getattr(transformers, auto), name, trust)
        if auto != "AutoModel" and missing:  # the body alone was saved
            model, missing = _loaded(transformers.AutoModel, name, trust)
        _demand_all(name, missing)
        return model, ""
    if not saved.can_generate() and getattr(config, "is_encoder_decoder", False):
        lists = transformers.models.auto.modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        if config.model_type in lists and saved.base_model_prefix and not _headed(saved):
            model, missing = _loaded(transformers.AutoModelForSeq2SeqLM, name, trust)
            if not missing:  # it writes with the embeddings that it reads with
                return model, ""
    model, missing = _loaded(saved, name, trust)
    _demand_all(name, missing)
    if model.can_generate():
        return model, ""
    body = body_of(model)
    if body is model:
        return model, ""
    return (
        body,
        f"The checkpoint is a {saved.__name__}: its {type(body).__name__} is read, its head left out.",
    )


def class_of(transformers: Any, config: Any) -> Any:
    """The class that a config names, where transformers has it; None where it does not."""
    own = getattr(config, "auto_map", None) or {}
    if type(config).__module__.startswith("transformers_modules") or not config.architectures:
        return next((_Automatic(getattr(transformers, auto)) for auto in OWN_CODE if auto in own), None)
    for name in config.architectures:
        found = getattr(transformers, name, None)
        if isinstance(found, type) and getattr(found, "config_class", None) is type(config):
            return found
    return None


class _Automatic:
    """One of the Auto classes in the place of a class: which it gives is known once it has."""

    base_model_prefix = ""

    def __init__(self, auto: Any) -> None:
        self.auto, self.__name__ = auto, auto.__name__

    def can_generate(self) -> bool:
        return self.auto.__name__ != "AutoModel"

    def from_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        return self.auto.from_pretrained(*args, **kwargs)


def body_of(model: Any) -> Any:
    """What a model that cannot write turns text into vectors with: without its head, and without a decoder."""
    body = getattr(model, "base_model", model)
    if getattr(model.config, "is_encoder_decoder", False):
        encoder = body.get_encoder() if hasattr(body, "get_encoder") else None
        body = body if encoder is None else encoder
    return body


def _headed(saved: Any) -> bool:
    return not saved.__name__.endswith("Model")


def _by_type(transformers: Any, config: Any) -> str:
    """An Auto class for a config that names no class that is known, by its type."""
    known = vars(transformers.models.auto.modeling_auto)

    def has(kind: str) -> bool:
        return config.model_type in known.get(f"MODEL_FOR_{kind}_MAPPING_NAMES", {})

    if getattr(config, "is_encoder_decoder", False) and has("SEQ_TO_SEQ_CAUSAL_LM"):
        return "AutoModelForSeq2SeqLM"
    if any(name.endswith(("CausalLM", "LMHeadModel")) for name in config.architectures or []):
        return "AutoModelForCausalLM"
    if has("CAUSAL_LM") and not has("MASKED_LM"):
        return "AutoModelForCausalLM"
    return "AutoModelForImageTextToText" if has("IMAGE_TEXT_TO_TEXT") else "AutoModel"


def _loaded(kind: Any, name: str, trust: dict[str, bool]) -> tuple[Any, list[str]]:
    """The model, ready to be read, and the weights that its checkpoint lacks."""
    model, info = kind.from_pretrained(name, output_loading_info=True, **trust)
    missing = [*info["missing_keys"], *(each[0] for each in info.get("mismatched_keys", ()))]
    return model.eval(), sorted(key for key in missing if "pooler" not in key)  # nobody reads what was pooled


def _demand_all(name: str, missing: list[str]) -> None:
    if missing:
        named = ", ".join(missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise CheckpointError(
            f"The checkpoint {name} must hold every weight of its model; it lacks {named}{more}, which "
            "would be random. Correct `architectures` in its config.json, or load the model yourself and give "
            "HuggingFaceReader(model, tokenizer)."
        )


def _reads_text(name: str, model: Any) -> Any:
    reads = getattr(model, "main_input_name", "input_ids")
    if reads != "input_ids":
        raise CheckpointError(
            f"{name} must read text; a {type(model).__name__} reads {reads}. Limelight captures its attention all "
            "the same: with limelight.watch(model) as seen: model(…)."
        )
    return model


# ---- adapters -----------------------------------------------------------------------------------------


def _adapter(transformers: Any, name: str) -> dict[str, Any] | None:
    """The adapter_config.json of a folder or a name of the hub; None where it has none."""
    path = Path(name, ADAPTER)
    if not Path(name).is_dir():
        try:
            found = transformers.utils.peft_utils.find_adapter_config_file(name)
        except Exception:  # what is wrong with the name is told where its model is loaded
            return None
        if found is None:
            return None
        path = Path(found)
    if not path.is_file():
        return None
    try:
        adapter = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} must be JSON, as peft writes it: {error}.") from error
    if not isinstance(adapter, dict):
        raise CheckpointError(f"{path} must hold the settings of an adapter, as peft writes it.")
    return adapter


def _base(name: str, adapter: dict[str, Any]) -> str:
    """The model that an adapter was made for."""
    base = adapter.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"The adapter {name} must name its base model; base_model_name_or_path in its {ADAPTER} is {base!r}. "
            "Write the model's folder there."
        )
    if find_spec("peft") is None:
        raise MissingExtraError(
            f"{name} is an adapter on {base}, which needs the package 'peft', which is not installed. Install it "
            "with: pip install peft"
        )
    if not Path(base).is_dir() and (HUB_NAME.fullmatch(base) is None or base.startswith((".", "/"))):
        raise CheckpointError(
            f"The base model of the adapter {name} must be there; {base} is no folder. Correct "
            f"base_model_name_or_path in its {ADAPTER}."
        )
    return base


def _put_on(model: Any, name: str, adapter: dict[str, Any]) -> None:
    """Put an adapter into a model. Raises CheckpointError where not all of it fits."""
    if adapter.get("peft_type") in ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING"):
        raise CheckpointError(
            f"The adapter {name} is of the kind {adapter['peft_type']}, which puts tokens before the text that no "
            "document holds. Adapters that change weights, such as LoRA, can be read."
        )
    found = model.load_adapter(name)
    wrong = [*getattr(found, "missing_keys", ()), *getattr(found, "unexpected_keys", ())]
    if wrong:
        raise CheckpointError(
            f"The adapter {name} must fit its base model, a {type(model).__name__}; {len(wrong)} of its weights do "
            f"not, such as {sorted(wrong)[0]}."
        )
    model.eval()


# ---- the tokenizer, and what went wrong ----------------------------------------------------------------


def _tokenizer(transformers: Any, name: str, home: str, trusted: bool) -> Any:
    """That of an adapter's folder where it has one, else that of its base."""
    own = name == home or any(
        Path(name, file).is_file() for file in ("tokenizer_config.json", "tokenizer.json")
    )
    return transformers.AutoTokenizer.from_pretrained(name if own else home, trust_remote_code=trusted)


def _why_not(name: str, error: Exception, trusted: bool) -> str:
    said = " ".join(str(error).split())
    if "trust_remote_code" in said and not trusted:
        return f"{name} brings code of its own, which Limelight does not run unless told: add --trust-remote-code."
    if not Path(name).exists() and isinstance(error, OSError):
        return (
            f"{name} is neither a folder here nor in the local cache, and the hub could not give it "
            "(no network, no such model, or one that needs a login). Give the path of a folder with a config.json."
        )
    first = said.split(". ")[0].rstrip(".")
    return f"{name} cannot be loaded: {first[:300]}."

"""The language models of generalisation: each learns from general text, and may read on in a task's own texts."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.common.contenders import as_large, parameters
from experiments.common.search import trial_of
from experiments.common.timed_training import curve, train_for
from limelight.errors import InputError
from limelight.modules.model_io import SavedModel, architecture, build, load_model, save_model
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import TransformerConfig
from limelight.recipes.recipe import Recipe, load_recipe
from limelight.recipes.task import TASKS
from limelight.training.loop import Evaluation, TrainConfig

LABELS = {"lstm": "LSTM", "attention": "Transformer"}
REFERENCE = TransformerConfig(128, 4, 512, decoder_layers=3, dropout=0.1)
"""Small, for little time: of a quarter of an hour a larger one would see too little text."""
RECURRENT = RecurrentConfig(decoder_layers=2, dropout=0.1)
VOCABULARY, WINDOW = 8000, 192
TOKENS = 3000
"""Of a batch, where a network is judged."""
GENERAL = TrainConfig(
    steps=1,
    tokens=2048,
    warmup=200,
    weight_decay=0.1,
    average=0.999,
    precision="auto",
    checkpoint_every=200,
)


def language(folder: Path, rival: str, data: str, seconds: float, rate: float) -> dict[str, Any]:
    """Train one language model on general text, and keep it in `model`."""
    recipe = recipe_of("language", REFERENCE)
    task, corpus = TASKS["language"](recipe), Path(data) / "general-en"
    rows = task.read(corpus, "train")
    saved = task.new(rows)
    saved = _as(rival, saved)
    valid = task.read(corpus, "valid")
    held_out = [(text[: 2**17], "") for text, _ in valid]  # enough to tell, and quickly read

    def evaluate(model: nn.Module) -> Evaluation:
        return task.judge(replace(saved, model=model), held_out)

    settings = replace(GENERAL, rate=rate)
    timed = train_for(
        seconds, saved.model, task.examples(saved, rows), settings, folder, evaluate, evaluations=8
    )
    trained = replace(saved, model=timed.outcome.model.eval())
    save_model(trained, folder / "model")
    perplexity = min(record["perplexity"] for record in timed.outcome.progress.history)
    return {
        "rival": rival,
        "label": LABELS[rival],
        "rate": rate,
        "shape": asdict(saved.model.shape),  # type: ignore[call-overload]
        "parameters": saved.parameters,
        "updates": timed.outcome.progress.step,
        "CPU seconds": timed.seconds,
        "perplexity": perplexity,
        "curve": curve(folder),
    }


def adapt(folder: Path, task: str, rival: str, data: str, seconds: float, rate: float) -> dict[str, Any]:
    """Let the language model read on in a task's training texts, without their labels, and keep it in `model`."""
    known = waited_for(folder.parent / language_name(rival))
    job, labelled = (
        TASKS["language"](recipe_of("language", REFERENCE)),
        TASKS["classify"](recipe_of("classify", REFERENCE)),
    )
    texts = {
        part: [("\n".join(text for text, _ in labelled.read(Path(data) / task, part)), "")]
        for part in ("train", "valid")
    }

    def evaluate(model: nn.Module) -> Evaluation:
        return job.judge(replace(known, model=model), texts["valid"])

    before = evaluate(known.model).measures["perplexity"]
    settings = replace(GENERAL, rate=rate)
    timed = train_for(
        seconds, known.model, job.examples(known, texts["train"]), settings, folder, evaluate, evaluations=4
    )
    save_model(replace(known, model=timed.outcome.model.eval()), folder / "model")
    return {
        "task": task,
        "rival": rival,
        "label": LABELS[rival],
        "rate": rate,
        "updates": timed.outcome.progress.step,
        "CPU seconds": timed.seconds,
        "before": before,
        "after": min(record["perplexity"] for record in timed.outcome.progress.history),
    }


def language_trial(folder: Path, rival: str, data: str, seconds: float, rate: float) -> dict[str, Any]:
    """One rate of a language model, judged on text that training has not seen."""

    def train() -> dict[str, float]:
        trained = language(folder, rival, data, seconds, rate)
        return {"score": -math.log(trained["perplexity"]), "CPU seconds": trained["CPU seconds"]}

    return trial_of(f"{rival}/language", f"{LABELS[rival]}, language model", {"rate": rate}, train)


def _as(rival: str, saved: SavedModel) -> SavedModel:
    """The language model as this rival has it, with as many parameters as the reference."""
    if rival not in LABELS:
        raise InputError(f"rival must be one of {', '.join(LABELS)}; got {rival!r}.")

    def make(shape: Any) -> nn.Module:
        return build(architecture("language", shape), shape, len(saved.source), len(saved.target), True, 0)

    shape: TransformerConfig | RecurrentConfig = REFERENCE
    if rival == "lstm":
        shape = as_large(make, RECURRENT, parameters(make, REFERENCE))
    torch.manual_seed(1)
    return replace(saved, model=make(shape))


def recipe_of(name: str, shape: TransformerConfig) -> Recipe:
    recipe = load_recipe(name)
    text = replace(recipe.text, source="bpe", size=VOCABULARY, window=WINDOW)
    return replace(recipe, text=text, model=shape, training=replace(recipe.training, tokens=TOKENS))


def language_name(rival: str) -> str:
    return f"generalisation-language-{rival}"


def adapted_name(task: str, rival: str) -> str:
    return f"generalisation-adapted-{task}-{rival}"


def waited_for(run: Path, pause: float = 5.0) -> SavedModel:
    """A language model of the plan, once it is there. Raises InputError where it will never be."""
    while not (run / "result.json").is_file():
        if not (run / "run.json").is_file():
            raise InputError(f"The language model of {run} must be trained first; the plan has it as a run.")
        time.sleep(pause)
    if not (run / "model").is_dir():
        raise InputError(
            f"{run} has a result but no weights: they were made on another machine. Delete it and the runs that "
            "began with it, and the same command does them again."
        )
    return load_model(run / "model")

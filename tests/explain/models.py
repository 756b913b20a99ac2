"""Tiny models with random weights, of every kind that `explain` can follow."""

from __future__ import annotations

from typing import Any

import torch

from limelight.modules.model_io import SavedModel, build
from limelight.modules.transformer import TransformerConfig
from limelight.predicting.predictor import Predictor
from limelight.text.tokenizers import Tokenizer

TEXTS = ["the light is on", "turn the light on", "lime is a fruit", "the limelight is bright"]
TEXT = "turn the limelight on"
ANSWERS = ["ein licht", "das licht ist an", "kalk licht"]

SHAPES: dict[str, dict[str, Any]] = {
    "rotary": {},
    "sinusoidal": {"positions": "sinusoidal", "activation": "gelu"},
    "learned": {"positions": "learned", "attention_bias": True},
    "alibi": {"positions": "alibi", "activation": "silu"},
    "none": {"positions": "none"},
    "paper": {"positions": "sinusoidal", "norm": "post"},
    "grouped": {"key_value_heads": 1},
}
"""What differs from the default shape."""


def predictor(architecture: str = "transformer", shared: bool = False, **shape: Any) -> Predictor:
    """Random weights that are larger than fresh ones, so that heads differ and scores spread."""
    torch.manual_seed(7)
    source = Tokenizer.train(TEXTS, kind="bpe", size=300)
    target = source if shared or architecture != "transformer" else Tokenizer.train(ANSWERS, kind="words")
    options = {"width": 24, "heads": 3, "feed_forward": 20, "encoder_layers": 2, "decoder_layers": 2} | shape
    classes = ("dim", "bright", "off") if architecture == "classifier" else ()
    model = build(
        architecture, TransformerConfig(**options), len(source), len(target), target is source, len(classes)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(1.5)
    prediction = {"beam": 2, "length_penalty": 0.6, "longest": 6}
    return Predictor(SavedModel("test", model, source, target, classes, prediction))

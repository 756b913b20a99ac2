"""What a trained model hands to a fine-tuning: weights, tokenizers, shape.

Dropout is not among them: it belongs to a training, so a fine-tuning has its own recipe's.

A language model → a classifier: what it knows of the language is kept, only the last layer is new. The classifier
has the language model's tokenizer, table and layers, and reads in the same direction; in place of the scores of
the next token stand those of the classes, from the mean over the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import cast

import torch

from limelight.errors import InputError
from limelight.modules.attention import Role
from limelight.modules.model_io import SavedModel, architecture, build
from limelight.modules.recurrent import RecurrentClassifier, RecurrentConfig, RecurrentLanguageModel
from limelight.modules.transformer import Classifier, LanguageModel, TransformerConfig

NEW_OUTPUT_RATE = 10.0
"""How many times as fast as the rest the new last layer learns: at the rate that keeps what the others know it
would get nowhere in the few updates that few labels give."""


def with_dropout(saved: SavedModel, dropout: float, window: int | None = None) -> SavedModel:
    """The same model with another dropout, and reading at least `window` tokens at once; `saved` is not changed."""
    window = max((each for each in (saved.window, window) if each is not None), default=None)
    shape = replace(cast(TransformerConfig | RecurrentConfig, saved.model.shape), dropout=dropout)
    kind = architecture(cast(Role, saved.model.role), shape)
    model = build(kind, shape, len(saved.source), len(saved.target), saved.shared, len(saved.classes), window)
    model.load_state_dict(saved.model.state_dict())
    return replace(saved, model=model.train(saved.model.training))


def classifier_from(language: SavedModel, classes: Sequence[str]) -> SavedModel:
    """A classifier that begins with the weights of a language model, which is itself not changed.

    Raises InputError for a model of another task, or for fewer than two classes.
    """
    if language.task != "language":
        raise InputError(f"A classifier is made from a language model; got one for {language.task!r}.")
    if len(classes) < 2:
        raise InputError(f"Classification needs at least two classes; got {list(classes)}.")
    known = deepcopy(language.model)
    model: Classifier | RecurrentClassifier
    if isinstance(known, LanguageModel):
        model = Classifier(
            replace(known.shape, encoder_layers=known.shape.decoder_layers, causal=True),
            len(language.source),
            len(classes),
        )
        model.encoder = known.decoder
    else:
        known = cast(RecurrentLanguageModel, known)
        model = RecurrentClassifier(
            replace(known.shape, encoder_layers=known.shape.decoder_layers, causal=True),
            len(language.source),
            len(classes),
        )
        model.embedding, model.encoder, model.norm = known.embedding, known.decoder, known.norm
    # The last layer begins at even scores, whatever the width of what comes before.
    torch.nn.init.zeros_(model.output.weight)
    torch.nn.init.zeros_(model.output.bias)
    return SavedModel("classify", model, language.source, language.source, tuple(sorted(classes)))

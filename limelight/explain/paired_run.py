"""PairedRun: one text through the model's own forward and through the float64 reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, TooLargeError
from limelight.explain.recorded_forward import RecordedForward, watch_forward
from limelight.explain.reference_model import (
    AttentionRun,
    BlockRun,
    ModelRun,
    ReferenceModel,
    StackRun,
)
from limelight.modules.transformer import Classifier, LanguageModel, Stack, Transformer
from limelight.predicting.predictor import Prediction, Predictor
from limelight.text.segmentation import Span
from limelight.text.tokenizers import END, START

MEMORY_LIMIT = 2**30
"""Bytes that the plain truth may take for its matrices, every cell of every stage of every layer."""
KEPT_STAGES = 5
"""Matrices that the plain truth keeps of one attention (scores, scaled, biased, masked, weights)."""


@dataclass(frozen=True)
class StackText:
    """What one stack reads: its text, its token ids with START or END, and the characters of each token.

    `first` is the place of the text's first token: 1 after a START, else 0. Special tokens cover no text.
    """

    name: str
    text: str
    ids: tuple[int, ...]
    labels: tuple[str, ...]
    spans: tuple[Span | None, ...]
    first: int

    @property
    def special(self) -> Tensor:
        """(N,) bool: START and END."""
        return torch.tensor([each is None for each in self.spans])

    @property
    def numbered(self) -> tuple[str, ...]:
        """The labels with their places, since a text may hold a token twice."""
        return tuple(f"{place} {label}" for place, label in enumerate(self.labels))

    @property
    def tensor(self) -> Tensor:
        return torch.tensor([self.ids])


@dataclass(frozen=True)
class PairedRun:
    """`encoder` and `decoder` are what those stacks read; None where the model has no such stack.

    Of a language model the decoder reads the prompt and its continuation, `prompt` tokens of it given.
    """

    predictor: Predictor
    prediction: Prediction
    encoder: StackText | None
    decoder: StackText | None
    prompt: int
    live: RecordedForward
    plain: ModelRun
    truth: ReferenceModel

    @property
    def model(self) -> Transformer | LanguageModel | Classifier:
        return self.truth.model

    @property
    def inputs(self) -> tuple[Tensor | None, Tensor | None]:
        """What the encoder and the decoder read, (1, M) and (1, N) ids."""
        source, target = (None if side is None else side.tensor for side in (self.encoder, self.decoder))
        return source, target

    def side(self, name: str) -> StackText:
        side = self.encoder if name == "encoder" else self.decoder
        assert side is not None
        return side

    def queries(self, kind: str) -> StackText:
        """What the rows of an attention belong to; `kind` is encoder, decoder (self-attention) or cross."""
        return self.side("encoder" if kind == "encoder" else "decoder")

    def keys(self, kind: str) -> StackText:
        """What its columns belong to."""
        return self.side("decoder" if kind == "decoder" else "encoder")

    def stack(self, name: str) -> Stack:
        stack = getattr(self.model, name)
        assert isinstance(stack, Stack)
        return stack

    def run(self, name: str) -> StackRun:
        run = self.plain.encoder if name == "encoder" else self.plain.decoder
        assert run is not None
        return run

    def block(self, name: str, layer: int) -> BlockRun:
        return self.run(name).blocks[layer]

    def attention(self, kind: str, layer: int) -> AttentionRun:
        block = self.block("encoder" if kind == "encoder" else "decoder", layer)
        if kind != "cross":
            return block.own
        assert block.cross is not None
        return block.cross


def walk(predictor: Predictor, text: str, weights: Mapping[str, Tensor] | None = None) -> PairedRun:
    """Predict, run the model once more over text and answer, and do the same in float64.

    `weights` are those of the plain truth; the model's own unless given.
    """
    if not isinstance(text, str):
        raise ArgumentTypeError(f"text must be one str; got {type(text).__name__}.")
    truth = ReferenceModel(predictor.model, weights)
    text = predictor.trimmed(text)
    prediction = predictor.predict([text])[0]
    saved = predictor.saved
    encoded = saved.source.encode(text)
    source_labels = [saved.source.token(each) for each in encoded.ids]
    target_labels = [saved.target.token(each) for each in prediction.target_ids]
    answer_spans = saved.target.decode_spans(prediction.target_ids)[1]
    encoder = decoder = None
    if isinstance(truth.model, LanguageModel):
        # Spelled alone, the continuation lacks the space that it may begin with.
        alone = saved.target.decode(prediction.target_ids)
        shift = len(text) + len(prediction.text) - len(alone)
        decoder = StackText(
            "decoder",
            text + prediction.text,
            (START, *prediction.source_ids, *prediction.target_ids),
            (saved.source.token(START), *source_labels, *target_labels),
            (None, *encoded.spans, *((start + shift, end + shift) for start, end in answer_spans)),
            first=1,
        )
    else:
        end = saved.source.token(END)
        encoder = StackText(
            "encoder",
            text,
            (*prediction.source_ids, END),
            (*source_labels, end),
            (*encoded.spans, None),
            first=0,
        )
    if isinstance(truth.model, Transformer):
        decoder = StackText(
            "decoder",
            prediction.text,
            (START, *prediction.target_ids),
            (saved.target.token(START), *target_labels),
            (None, *answer_spans),
            first=1,
        )
    sides = [each for each in (encoder, decoder) if each is not None]
    _refuse_too_long(truth.model, sides)
    tensors = [each.tensor for each in sides]
    source, target = (encoder.tensor if encoder else None), (decoder.tensor if decoder else None)
    live = watch_forward(truth.model, *tensors)
    plain = truth.run(source, target)
    return PairedRun(predictor, prediction, encoder, decoder, len(encoded.ids), live, plain, truth)


def _refuse_too_long(model: Transformer | LanguageModel | Classifier, sides: list[StackText]) -> None:
    shape = model.shape
    cells = 0
    for side in sides:
        length = len(side.ids)
        layers = shape.encoder_layers if side.name == "encoder" else shape.decoder_layers
        across = len(sides[0].ids) if side.name == "decoder" and len(sides) > 1 else 0
        cells += layers * length * (length + across)
    needed = cells * shape.heads * KEPT_STAGES * 8
    if needed > MEMORY_LIMIT:
        lengths = " and ".join(str(len(side.ids)) for side in sides)
        raise TooLargeError(
            f"explain computes every cell of every layer in float64, for {lengths} tokens {needed} bytes; the "
            f"limit is {MEMORY_LIMIT}. Give it a shorter text; `limelight look` reads long ones."
        )

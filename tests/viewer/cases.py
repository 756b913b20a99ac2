"""What the tests of the page share: a small subject whose every number can be computed in another way."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

import limelight as ll
from limelight.looking.look import look
from limelight.viewer.builders.from_look import subject_from_look
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.protocol.requests import Question
from limelight.viewer.protocol.responses import Answer
from limelight.viewer.subject import Subject
from tests.explain import models

TEXTS = {
    "a.md": "Save the file. Open it now! Then close.",
    "b.md": "Print all pages. Choose a printer, then click OK. 𝔸𝔹 ends it.",
    "c.md": "Fonts are chosen here.",
}
ASKED = "What is chosen?"
LAYERS, HEADS, WIDTH = (0, 2), 3, 5


@cache
def context() -> ll.Context:
    """Tokens that are shorter than words, and documents that are longer than sentences."""
    return ll.Context.of(ll.Tokenizer.train(list(TEXTS.values()) * 2, "bpe", 270), TEXTS, ASKED)


@cache
def matrices(causal: bool = True) -> dict[int, ll.AttentionMatrix]:
    """Layers 0 and 2, float32, of one text."""
    N, generator = len(context().ids), torch.Generator().manual_seed(7)
    mask = ll.masks.causal() if causal else None
    drawn = torch.randn(len(LAYERS), 2, 1, HEADS, N, WIDTH, generator=generator)
    return {
        layer: ll.AttentionMatrix(each[0] * 2, each[1], mask=mask)
        for layer, each in zip(LAYERS, drawn, strict=True)
    }


@cache
def subject(causal: bool = True) -> Subject:
    return build_subject(matrices(causal), context(), title="Three texts")


@cache
def translation() -> Subject:
    """An answer with its steps and its process, of a model with random weights."""
    made = models.predictor()
    [seen] = look(made, [models.TEXT])
    return subject_from_look(made, seen)


def ask(about: Subject, kind: str, **params: Any) -> Answer:
    return about.answer(Question.of(kind, params))


def large(tokens: int = 557, heads: int = 2, **options: Any) -> tuple[Subject, ll.AttentionMatrix]:
    """A matrix with several zooms, its tokens known by number only."""
    generator = torch.Generator().manual_seed(3)
    query, key = torch.randn(2, 1, heads, tokens, 7, generator=generator)
    matrix = ll.AttentionMatrix(query * 3, key, mask=ll.masks.causal(), **options)
    return build_subject(matrix), matrix

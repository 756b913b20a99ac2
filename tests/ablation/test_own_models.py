"""A model with tokens closed: the rows that are asked for are those of the whole, and of the float64 truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limelight.ablation.own_models import masked_forward
from limelight.explain.reference_model import ReferenceModel
from limelight.modules.transformer import LanguageModel, Transformer, TransformerConfig
from limelight.text.tokenizers import START

SHAPE = TransformerConfig(width=20, heads=2, feed_forward=29, encoder_layers=2, decoder_layers=3, longest=97)
SOURCE = [4, 9, 10, 5, 7, 8, 6]
TARGET = [5, 4, 6, 6, 4, 5, 6, 4, 5, 5]
ROWS = (-1, 3, slice(4, 9, 2), [7, 2, -1], slice(None))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["rotary", "alibi", "sinusoidal", "learned"])
@pytest.mark.parametrize("kind", ["transformer", "language", "windowed"])
def test_rows_are_those_of_the_whole(kind: str, positions: str, norm: str) -> None:
    torch.manual_seed(0)
    shape = replace(SHAPE, positions=positions, norm=norm)
    model: torch.nn.Module
    if kind == "transformer":
        model, read, written = Transformer(shape, 11, 7).eval(), SOURCE, TARGET
        source, target, taken = torch.tensor([SOURCE]), torch.tensor([[START, *TARGET]]), [2, 3]
    else:
        read, written, source, taken = [START, *TARGET], [], None, [1, 2]
        target = torch.tensor([read])
        model = LanguageModel(shape, 7, window=5 if kind == "windowed" else None).eval()
    kept_JM = torch.ones(3, len(read), dtype=torch.bool)
    kept_JM[1, taken] = False
    kept_JM[2, 1] = False
    truths = [ReferenceModel(model).run(source, target, without).scores[0] for without in ((), taken, [1])]
    for rows in ROWS:
        with torch.inference_mode():
            scores = masked_forward(model, read, written, rows)(kept_JM)
        for found, truth in zip(scores, truths, strict=True):
            wanted = truth[rows]
            open_rows = torch.ones(len(truth), dtype=torch.bool)
            if kind != "transformer":  # what a closed token itself reads is nobody's business
                open_rows[[1, 2]] = False
            at = open_rows[rows]
            assert found.shape == wanted.shape
            torch.testing.assert_close(found[at].double(), wanted[at], rtol=1e-4, atol=1e-5)

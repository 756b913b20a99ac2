"""Run one of Limelight's own models with some tokens masked as keys, for ablation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from limelight.matrix import masks
from limelight.matrix.masks import Mask
from limelight.modules.transformer import Classifier, LanguageModel, Stack, Transformer
from limelight.text.tokenizers import START


def masked_forward(
    model: nn.Module,
    ids: Sequence[int],
    target_ids: Sequence[int] = (),
    rows: int | slice | list[int] = slice(None),
) -> Callable[[Tensor], Tensor]:
    """Which tokens of `ids` are kept, bool (J, M) → the scores of the next tokens, or of the classes, for them.

    ids         as the model reads them, START and END included
    target_ids  what an encoder-decoder has written
    rows        which positions of the scores are given, one number without their axis; a classifier has none
    """
    device = next(model.parameters()).device
    ids_1M = torch.tensor([list(ids)], device=device)
    target_1N = torch.tensor([[START, *target_ids]], device=device)

    def output(kept_JM: Tensor) -> Tensor:
        J, kept_JM = len(kept_JM), kept_JM.to(device)
        mask = masks.dense(kept_JM[:, None, None, :])
        if isinstance(model, LanguageModel):
            visible = model.visible(ids_1M.shape[1]) & mask
            return _scores(model.decoder, ids_1M.expand(J, -1), rows, mask=visible)
        assert isinstance(model, (Transformer, Classifier))
        if isinstance(model, Transformer):
            last_JME = model.encoder(ids_1M.expand(J, -1), mask=mask)
            return _scores(
                model.decoder,
                target_1N.expand(J, -1),
                rows,
                last_JME,
                mask=masks.causal(),
                memory_mask=mask,
            )
        last_JME = model.encoder(ids_1M.expand(J, -1), mask=model.visible(mask))
        return model.output((last_JME * kept_JM[..., None]).sum(1) / kept_JM.sum(1, keepdim=True))

    return output


def _scores(
    decoder: Stack,
    ids_JN: Tensor,
    rows: int | slice | list[int],
    memory_JME: Tensor | None = None,
    *,
    mask: Mask,
    memory_mask: Mask | None = None,
) -> Tensor:
    """The scores of these rows."""
    places = torch.arange(ids_JN.shape[1])[rows]
    first = int(places.min()) if places.numel() else 0
    last_JNE = decoder.rows_from(first, ids_JN, memory_JME, mask=mask, memory_mask=memory_mask)
    return decoder.embedding.scores(last_JNE[:, places - first])

"""One of our own models with some of its tokens closed to everybody: what the removal check compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from limelight.matrix import masks
from limelight.modules.transformer import Classifier, LanguageModel, Transformer
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
            last_JNE = model.decoder(ids_1M.expand(J, -1), mask=model.visible(ids_1M.shape[1]) & mask)
            return model.decoder.embedding.scores(last_JNE)[:, rows]
        assert isinstance(model, (Transformer, Classifier))
        if isinstance(model, Transformer):
            last_JME = model.encoder(ids_1M.expand(J, -1), mask=mask)
            return model.decode(target_1N.expand(J, -1), last_JME, mask)[:, rows]
        last_JME = model.encoder(ids_1M.expand(J, -1), mask=model.visible(mask))
        return model.output((last_JME * kept_JM[..., None]).sum(1) / kept_JM.sum(1, keepdim=True))

    return output

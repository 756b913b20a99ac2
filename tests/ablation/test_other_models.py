"""A model without some of its tokens: the others stay where they are, in every way of numbering them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from limelight.ablation.other_models import masked_forward
from limelight.errors import InputError
from tests.capture import foreign
from tests.capture.foreign import HEADS, LAYERS, VOCABULARY, transformers

IDS = torch.tensor([[4, 5, 6, 7, 8]])
KEPT = torch.tensor([[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]]).bool()


def roberta() -> Any:
    """Positions from 2 on."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 20, "num_hidden_layers": LAYERS, "pad_token_id": 1}
    sizes |= {"num_attention_heads": HEADS, "intermediate_size": 13, "max_position_embeddings": 61}
    return transformers.RobertaModel(transformers.RobertaConfig(**sizes)).eval()


def opt() -> Any:
    """Positions that are counted along the mask."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 20, "num_hidden_layers": LAYERS, "ffn_dim": 13}
    sizes |= {"num_attention_heads": HEADS, "max_position_embeddings": 61, "word_embed_proj_dim": 12}
    return transformers.OPTForCausalLM(transformers.OPTConfig(**sizes)).eval()


@pytest.mark.parametrize("make", [foreign.llama, foreign.bert, roberta, opt])
def test_with_all_tokens_kept_it_is_the_model_itself(make: Callable[[], Any]) -> None:
    model = make()
    with torch.no_grad():
        found = model(input_ids=IDS)
    expected = found.logits if hasattr(found, "logits") else found.last_hidden_state
    torch.testing.assert_close(masked_forward(model, {"input_ids": IDS})(KEPT)[1:], expected)


@pytest.mark.parametrize("make", [roberta, opt])
def test_what_follows_a_gap_does_not_move(make: Callable[[], Any]) -> None:
    """What stands in the gap makes no difference, and the tokens behind it do not move up."""
    model = make()
    other = IDS.clone()
    other[0, 2] = 9
    one, two = (masked_forward(model, {"input_ids": ids}, rows=[3, 4])(KEPT[:1]) for ids in (IDS, other))
    torch.testing.assert_close(one, two)
    shorter = masked_forward(model, {"input_ids": IDS[:, [0, 1, 3, 4]]}, rows=[2, 3])(torch.ones(1, 4).bool())
    assert float((one - shorter).abs().max()) > 1e-3


def test_what_cannot_be_taken_away_is_refused() -> None:
    with pytest.raises(InputError, match="takes no attention_mask"):
        masked_forward(torch.nn.Linear(2, 2), {"input_ids": IDS})
    with pytest.raises(InputError, match="must hold input_ids"):
        masked_forward(foreign.bert(), {"inputs_embeds": torch.randn(1, 3, 24)})
    with pytest.raises(InputError, match="one text at a time; got a batch of 2"):
        masked_forward(foreign.bert(), {"input_ids": IDS.expand(2, -1)})

"""Models whose attention is known, because their weights were set: they must look at one given document.

There are three topics. Every word belongs to one of them or to none, and its embedding is one number per topic. A
word that asks (`ask0`, `ask1`, `ask2`) sends a query that only words of its topic answer, so strongly that every
other word gets less than one part in a million. Words of the topic share the attention evenly: what a document of
that topic must receive is known to the last digit.
"""

from __future__ import annotations

from typing import Any

import torch

from tests.capture import foreign

TOPICS = 3
WORDS = tuple(f"{name}{topic}" for topic in range(TOPICS) for name in ("sun", "moon", "star"))
ASKING = tuple(f"ask{topic}" for topic in range(TOPICS))
PLAIN = ("the", "of", "?", ".")
VOCABULARY = (*WORDS, *ASKING, *PLAIN)
SHARP = 40.0
"""How far above all others the score of a word of the topic is."""
WIDTH = 16
DOCUMENTS = {
    "a.txt": "the sun0 of moon0 . star0 of the sun0 .",
    "b.txt": "the sun1 of moon1 . star1 the moon1 of the star1 .",
    "c.txt": "the sun2 . moon2",
}


def tokenizer(special: bool) -> Any:
    return foreign.word_tokenizer(VOCABULARY, special=special)


def question(topic: int) -> str:
    return f"ask{topic}"


def encoder() -> Any:
    """BERT, one layer of two heads; head 0 looks at the topic, head 1 at everything alike."""
    model = foreign.bert(
        vocab_size=len(VOCABULARY) + 4,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=7,
    )
    embeddings = model.embeddings
    attention = model.encoder.layer[0].attention.self
    with torch.no_grad():
        for table in (embeddings.position_embeddings, embeddings.token_type_embeddings):
            table.weight.zero_()
        _topics(embeddings.word_embeddings.weight)
        _clean(embeddings.LayerNorm)
        _look(attention.query.weight.T, attention.key.weight.T)
        attention.query.bias.zero_()
        attention.key.bias.zero_()
    return model


def decoder() -> Any:
    """GPT-2, the same."""
    model = foreign.gpt2(
        vocab_size=len(VOCABULARY) + 4, n_embd=WIDTH, n_layer=1, n_head=2, n_positions=89, eos_token_id=None
    )
    block = model.transformer.h[0]
    with torch.no_grad():
        model.transformer.wpe.weight.zero_()
        _topics(model.transformer.wte.weight)
        _clean(block.ln_1)
        block.attn.c_attn.bias.zero_()
        weight = block.attn.c_attn.weight  # (width, 3 · width): queries, keys, values
        _look(weight[:, :WIDTH], weight[:, WIDTH : 2 * WIDTH])
    return model


def expected(topic: int) -> dict[str, float]:
    """What head 0 of a word that asks must give to each document."""
    home = list(DOCUMENTS)[topic]
    return {name: float(name == home) for name in DOCUMENTS}


def _topics(table_VE: torch.Tensor) -> None:
    """Topic t of a word in dimension t, what it asks for in dimension 3 + t."""
    table_VE.zero_()
    for place, word in enumerate(VOCABULARY, start=4):
        if word in WORDS:
            table_VE[place, int(word[-1])] = 1
        elif word in ASKING:
            table_VE[place, TOPICS + int(word[-1])] = 1
        else:
            table_VE[place, -1] = 1


def _clean(norm: torch.nn.LayerNorm) -> None:
    """A norm that turns a one-hot vector into a multiple of itself: the mean that it takes away is given back."""
    norm.weight.fill_(1)
    norm.bias.fill_(1 / (WIDTH - 1) ** 0.5)


def _look(query_EE: torch.Tensor, key_EE: torch.Tensor) -> None:
    """Head 0: what is asked for meets the topic. Head 1: nothing meets anything."""
    query_EE.zero_()
    key_EE.zero_()
    length = WIDTH / (WIDTH - 1) ** 0.5  # of a one-hot vector after the norm
    for topic in range(TOPICS):
        query_EE[TOPICS + topic, topic] = SHARP * (WIDTH / 2) ** 0.5 / length**2
        key_EE[topic, topic] = 1

"""A random call of a public function: arguments that fit, of which one or two are changed for something odd."""

from __future__ import annotations

import json
import math
import random
import reprlib
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import torch

import limelight as ll
from benchmarks.door_inputs import TEXTS, Sandbox, bad_path, file, folder, model, recipe, text
from limelight.errors import LimelightError

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 60

ODD: list[Callable[[], Any]] = [
    lambda: None,
    lambda: "",
    lambda: "x",
    lambda: "\ud83d",
    lambda: b"x",
    lambda: -1,
    lambda: 0,
    lambda: 1,
    lambda: 2.5,
    lambda: math.nan,
    lambda: math.inf,
    lambda: 10**30,
    lambda: -(10**30),
    lambda: True,
    list,
    lambda: [[]],
    lambda: [None],
    lambda: ["a", 1],
    dict,
    lambda: {"a": None},
    lambda: object(),
    lambda: (),
    lambda: torch.empty(0),
    lambda: torch.tensor(math.nan),
    lambda: torch.zeros(2, 3, dtype=torch.complex64),
    lambda: torch.ones(1).expand(10**12),
    lambda: torch.empty(2, 2, device="meta"),
    lambda: torch.ones(3, dtype=torch.bool),
    lambda: np.float32(1.5),
    lambda: np.zeros((2, 2)),
    lambda: print,
    lambda: int,
    lambda: 1j,
    lambda: range(3),
    lambda: {1, 2},
    lambda: [10**30],
    lambda: [math.nan],
]

Call = tuple[str, Callable[..., Any], dict[str, Any]]
"""What it is called, the function, and arguments that fit; those that begin with `*` are positional."""


@cache
def predictor(folder: str) -> ll.Predictor:
    return ll.Predictor.load(folder)


def matrix(dice: random.Random) -> ll.AttentionMatrix:
    made = torch.Generator().manual_seed(dice.randrange(1000))
    n = dice.choice((1, 5))
    query, key, value = (torch.randn(1, 2, n, 8, generator=made) for _ in range(3))
    return ll.AttentionMatrix(query, key, value, mask=ll.masks.causal())


def segments() -> ll.Segments:
    return ll.Segments.from_spans("a b c d e", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)])


def calls(dice: random.Random, box: Sandbox) -> dict[str, Callable[[], Call]]:
    """Every public door, by name, with a call of it that fits."""
    mine = predictor(
        str(box.shared / "models" / dice.choice(("translate", "language", "classify", "pronounce")))
    )
    saved = mine.saved
    five = torch.randn(1, 2, 5, 8)
    shape = ll.TransformerConfig(16, 2, 16, 1, 1)
    words = ll.Word2vec(width=3, window=2, least=1, negative=2, epochs=1, subsample=0.0, learning_rate=0.02)

    def fits(name: str, function: Callable[..., Any], /, **arguments: Any) -> tuple[str, Callable[[], Call]]:
        return name, lambda: (name, function, arguments)

    def read(name: str, reduction: Callable[..., Any], /, **arguments: Any) -> tuple[str, Callable[[], Call]]:
        return fits(name, lambda **given: matrix(dice).read(reduction(**given)), **arguments)

    def look_method(name: str, /, **arguments: Any) -> tuple[str, Callable[[], Call]]:
        return fits(f"Predictor.{name}", getattr(mine, name), **arguments)

    def watched(**given: Any) -> Any:
        with ll.watch(**given) as seen:
            given["model"](torch.ones(1, 5, 16))
        return len(seen)

    def kept(**given: Any) -> Any:
        with ll.record_attention(**given) as seen:
            return len(seen)

    def lazily(**given: Any) -> Any:
        with ll.lazy_attentions(**given) as inner:
            return inner

    small = ll.AttentionMatrix(five, five, five)
    return dict(
        (
            fits(
                "AttentionMatrix",
                ll.AttentionMatrix,
                query=five,
                key=five,
                value=five,
                mask=ll.masks.causal(),
                scale=0.5,
                bias=None,
                softcap=None,
                sink=None,
                score_mod=None,
            ),
            fits("AttentionMatrix.rows", lambda **a: matrix(dice).rows(*a.values()), i=0),
            fits("AttentionMatrix.dense", lambda **a: matrix(dice).dense(**a), limit=2**20),
            fits(
                "AttentionMatrix[…]",
                lambda **a: matrix(dice)[tuple(a.values())],
                b=0,
                h=1,
                i=slice(None),
                j=0,
            ),
            fits("AttentionMatrix @", lambda **a: small @ a["value"], value=five),
            fits("AttentionMatrix.T @", lambda **a: small.T @ a["value"], value=five),
            fits("AttentionMatrix.read", lambda **a: small.read(*a.values()), reduction=ll.Entropy()),
            fits("masks.causal", ll.masks.causal, offset=0),
            fits("masks.window", ll.masks.window, w=2, offset=None),
            fits("masks.lengths", ll.masks.lengths, query=None, key=[3], side="right"),
            fits("masks.documents", ll.masks.documents, query_ids=[0, 0, 1], key_ids=None, earlier=False),
            fits("masks.dense", ll.masks.dense, seen=torch.ones(5, 5, dtype=torch.bool)),
            fits(
                "masks.function",
                ll.masks.function,
                mask_mod=lambda b, h, q, k: q >= k,
                batch=None,
                heads=None,
            ),
            fits("biases.alibi", ll.biases.alibi, heads=2),
            read("TopK", ll.TopK, k=2, limit=2**20),
            read("BottomK", ll.BottomK, k=2, limit=2**20),
            read("MeanDistance", ll.MeanDistance, offset=None),
            read("Histogram", ll.Histogram, bins=4, low=-3.0, high=0.0),
            read("ValueNorms", ll.ValueNorms, output=None),
            read("Downsample", ll.Downsample, height=3, width=3, limit=2**20),
            fits("Pool", lambda **a: small.read(ll.Pool(**a)), rows=[0, 0, 1, 1, 1], cols=[0, 0, 1, 1, 1]),
            fits(
                "Quantiles",
                lambda **a: small.read(ll.Quantiles(a["share"], limit=a["limit"])),
                share=0.5,
                limit=2**20,
            ),
            read("SinkMass", ll.SinkMass, keys=(0,)),
            fits(
                "Reweighted",
                lambda **a: small.read(ll.Reweighted(**a)),
                reduction=ll.Received(),
                factors=torch.ones(5),
            ),
            fits(
                "Rollout",
                ll.Rollout,
                layers=[small, small],
                heads="mean",
                residual=0.5,
                renormalise=True,
                values=False,
            ),
            fits(
                "MultiHeadAttention",
                ll.MultiHeadAttention,
                width=16,
                heads=2,
                key_value_heads=None,
                dropout=0.0,
            ),
            fits(
                "MultiHeadAttention()",
                ll.MultiHeadAttention(16, 2),
                x=torch.ones(1, 5, 16),
                memory=None,
                mask=None,
            ),
            fits("record_attention", kept, model=mine.model),
            fits(
                "TransformerConfig",
                ll.TransformerConfig,
                **asdict(ll.TransformerConfig(16, 2, 8, 1, 1, key_value_heads=1, longest=7)),
            ),
            fits(
                "Transformer",
                ll.Transformer,
                shape=shape,
                source_vocabulary=7,
                target_vocabulary=5,
                share=False,
            ),
            fits("LanguageModel", ll.LanguageModel, shape=shape, vocabulary=7, window=5),
            fits("Classifier", ll.Classifier, shape=shape, vocabulary=7, classes=2),
            fits("Tokenizer.train", ll.Tokenizer.train, texts=TEXTS, kind="words", size=300),
            fits(
                "Tokenizer.load", ll.Tokenizer.load, path=box.shared / "models" / "translate" / "source.json"
            ),
            fits("Tokenizer.encode", saved.source.encode, text=text(dice)),
            fits("Tokenizer.encode_batch", saved.source.encode_batch, texts=[text(dice)]),
            fits("Tokenizer.decode", saved.source.decode, ids=[4, 5]),
            fits("Tokenizer.decode_spans", saved.source.decode_spans, ids=[4, 5]),
            fits("Tokenizer.token", saved.source.token, id=4),
            fits("Segments.of", ll.Segments.of, documents=[text(dice)], tokenizer=saved.source, names=None),
            fits(
                "Segments.from_spans",
                ll.Segments.from_spans,
                text="a b",
                spans=[(0, 1), (2, 3)],
                documents=None,
            ),
            fits("Segments.index", segments().index, level="word"),
            fits("Segments.units", segments().units, level="word"),
            fits(
                "Context.of",
                ll.Context.of,
                tokenizer=saved.source,
                documents=[text(dice)],
                question=text(dice),
            ),
            fits("Word2vec", ll.Word2vec, **asdict(words)),
            fits("Word2vec.train", words.train, texts=TEXTS),
            fits("Word2vec.train_on_tokens", words.train_on_tokens, sequences=[["a", "b"]]),
            fits("WordVectors", ll.WordVectors, words=("a", "b"), vectors=torch.ones(2, 3)),
            fits("WordVectors.load", ll.WordVectors.load, path=file(dice, box, "vectors")),
            fits("WordVectors.nearest", ll.WordVectors(("a", "b"), torch.eye(2)).nearest, word="a", count=1),
            fits("WordVectors.save", ll.WordVectors(("a", "b"), torch.eye(2)).save, path=box.here / "v.txt"),
            fits(
                "WordVectors.embedding_table",
                ll.WordVectors(("a", "the"), torch.eye(2)).embedding_table,
                tokenizer=saved.source,
                seed=0,
            ),
            fits("load_model", ll.load_model, name=model(dice, box)),
            fits("Predictor.load", ll.Predictor.load, folder=model(dice, box)),
            fits(
                "save_model", ll.save_model, saved=saved, folder=box.here / "saved", precision=torch.float32
            ),
            fits("Predictor", ll.Predictor, saved=saved, batch_tokens=100),
            look_method(
                "predict",
                texts=[text(dice), text(dice)],
                beam=2,
                length_penalty=0.5,
                longest=3,
                sampling=None,
                prefix=None,
            ),
            fits(
                "Predictor.stream", lambda **a: [*mine.stream(**a)], text=text(dice), sampling=None, longest=3
            ),
            look_method("score", text=text(dice), answer=text(dice)),
            fits(
                "Predictor.trace",
                lambda **a: mine.trace(**a),
                prediction=mine.predict(["the light"], longest=3)[0],
            ),
            look_method("options", beam=2, length_penalty=0.5, longest=3),
            fits(
                "Sampling",
                lambda **a: mine.predict(["the light"], sampling=ll.Sampling(**a), longest=2),
                temperature=0.7,
                top_k=2,
                top_p=0.5,
                seed=1,
            ),
            fits("look", ll.look, predictor=mine, texts=[text(dice)], heads=None, beam=1, answers=None),
            fits(
                "explain_text",
                ll.explain_text,
                predictor=mine,
                text=text(dice),
                token=None,
                layer=-1,
                head=None,
            ),
            fits(
                "OwnReader",
                lambda **a: ll.look_documents(ll.OwnReader(**a), {"a": "the light"}),
                predictor=mine,
                name="x",
            ),
            fits(
                "HuggingFaceReader", ll.HuggingFaceReader, model=mine.model, tokenizer=saved.source, name=""
            ),
            fits("load_reader", ll.load_reader, name=str(model(dice, box)), trust_remote_code=False),
            fits(
                "look_documents",
                ll.look_documents,
                reader=ll.OwnReader(mine),
                documents={"a": "the light", "b": "x y"},
                question="a light",
                heads=None,
                layers=None,
                chat=False,
                windows=False,
                overlap=None,
                remove=None,
                answer_tokens=2,
            ),
            fits(
                "look_conversation",
                ll.look_conversation,
                reader=ll.OwnReader(mine),
                messages=[{"role": "user", "content": "a"}],
                answer_tokens=2,
            ),
            fits("atlas", ll.atlas, matrices=[small], ids=[4, 5, 6, 5, 4], sinks=(0,), batch=0),
            fits(
                "atlas_of",
                ll.atlas_of,
                reader=ll.OwnReader(mine),
                documents={"a": "the light"},
                length=3,
                times=2,
            ),
            fits(
                "attention_between",
                ll.attention_between,
                matrices=[small],
                segments=segments(),
                rows="word",
                columns="word",
                heads=None,
                batch=0,
            ),
            fits(
                "attention_to_units",
                ll.attention_to_units,
                matrices=[small],
                segments=segments(),
                rows=[1],
                among=None,
                heads=None,
                weigh="weight",
                sink_free=False,
                batch=0,
            ),
            fits(
                "Reading",
                ll.Reading,
                values=np.ones((2, 2)),
                axes=("a", "b"),
                labels=(("x", "y"), ("z", "w")),
                unit="share",
                how="by hand",
            ),
            fits(
                "Reading.from_json",
                ll.Reading.from_json,
                data=json.loads(
                    json.dumps(ll.Reading(np.ones(2), ("a",), (("x", "y"),), "share", "by hand").to_json())
                ),
            ),
            fits(
                "save_html",
                ll.save_html,
                what=small,
                path=box.here / "page.html",
                text=None,
                queries=None,
                title="",
                slices=(),
                budget=10**6,
                batch=0,
            ),
            fits("show", ll.show, what=small, text=None, queries=None, title="", height=640, batch=0),
            fits(
                "watch",
                watched,
                model=ll.MultiHeadAttention(16, 2),
                read=(),
                verify=False,
                offload=None,
                values=True,
            ),
            fits("lazy_attentions", lazily, model=mine.model),
            fits("load_recipe", ll.load_recipe, name="translate"),
            fits("load_recipe of a file", ll.load_recipe, name=_written(box, recipe(dice))),
            fits(
                "train_recipe",
                ll.train_recipe,
                recipe=ll.load_recipe("classify"),
                data=folder(dice, box),
                out=bad_path(dice, box),
                start=None,
            ),
        )
    )


def _written(box: Sandbox, text: str) -> Any:
    path = box.here / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


ROUND = {"show": 0.2, "train_recipe": 0.2}
"""How often a door is tried that takes long, of the times that it is drawn."""


def draw(dice: random.Random, box: Sandbox) -> Call:
    """A call, one or two of its arguments changed."""
    known = calls(dice, box)
    name = dice.choice(sorted(known))
    name, function, arguments = known[name]()
    arguments = dict(arguments)
    for _ in range(dice.choice((1, 1, 1, 2)) if dice.random() < 0.9 else 0):
        if not arguments:
            break
        place = dice.choice(sorted(arguments))
        arguments[place] = dice.choice((*ODD, lambda: bad_path(dice, box), lambda: text(dice)))()
    return name, function, arguments


def told(call: Call) -> str:
    name, _, arguments = call
    return f"{name}({', '.join(f'{place}={SHORT.repr(value)}' for place, value in arguments.items())})"


def try_function(call: Call) -> str | None:
    """Call it; None where it gives an answer or refuses as it should. Anything else is raised, with its place."""
    _, function, arguments = call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(**arguments)
        except LimelightError as error:
            return None if str(error) else "an error without a message"
    return None

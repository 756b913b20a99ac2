"""Limelight shows what a Transformer attends to: every token, at every distance, exactly.

    text → tokens → embeddings → positions → Q, K, V → attention matrix → readings → pictures

>>> import torch, limelight as ll
>>> query, key = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 7, 8)
>>> matrix = ll.AttentionMatrix(query, key, mask=ll.masks.causal())     # nothing is stored
>>> received, entropy = matrix.read(ll.Received(), ll.Entropy())        # one pass, results in the order asked
>>> matrix[0, 1, 3:, :].shape                                           # any block, exactly
torch.Size([2, 7])

Names are loaded when they are first used, so that `import limelight` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limelight._version import __version__ as __version__

if TYPE_CHECKING:
    from limelight.ablation.leave_one_out import leave_one_out
    from limelight.capture import watch
    from limelight.capture.lazy.context import lazy_attentions
    from limelight.errors import LimelightError
    from limelight.explain.api import explain_text
    from limelight.matrix import (
        ArgMax,
        AttentionMatrix,
        AttentionOutput,
        BottomK,
        Downsample,
        Entropy,
        Histogram,
        MeanDistance,
        Pool,
        Quantiles,
        Received,
        Reweighted,
        Rollout,
        RowStats,
        SinkMass,
        TopK,
        ValueNorms,
        biases,
        masks,
    )
    from limelight.modules.attention import MultiHeadAttention, record_attention
    from limelight.modules.model_io import load_model, save_model
    from limelight.modules.transformer import (
        PRESETS,
        Classifier,
        LanguageModel,
        Transformer,
        TransformerConfig,
    )
    from limelight.modules.word2vec import Word2vec
    from limelight.modules.word_vectors import WordVectors
    from limelight.predicting.predictor import Predictor
    from limelight.predicting.sampling import Sampling
    from limelight.readings.atlas import atlas
    from limelight.readings.documents import attention_between, attention_to_units
    from limelight.readings.reading import Reading
    from limelight.tasks.documents import look_conversation, look_documents
    from limelight.tasks.heads import atlas_of
    from limelight.tasks.hugging_face import HuggingFaceReader
    from limelight.tasks.loading import load_reader
    from limelight.tasks.look import look
    from limelight.tasks.own import OwnReader
    from limelight.tasks.recipe import load_recipe
    from limelight.tasks.run import train_recipe
    from limelight.text.contexts import Context
    from limelight.text.segments import Segments
    from limelight.text.tokenizers import Tokenizer
    from limelight.viewer.api import save_html, show


_HOME = {
    "AttentionMatrix": "matrix",
    "BottomK": "matrix",
    "Classifier": "modules.transformer",
    "Context": "text.contexts",
    "MeanDistance": "matrix",
    "Entropy": "matrix",
    "Histogram": "matrix",
    "HuggingFaceReader": "tasks.hugging_face",
    "LanguageModel": "modules.transformer",
    "LimelightError": "errors",
    "MultiHeadAttention": "modules.attention",
    "ValueNorms": "matrix",
    "AttentionOutput": "matrix",
    "OwnReader": "tasks.own",
    "ArgMax": "matrix",
    "Downsample": "matrix",
    "Pool": "matrix",
    "Predictor": "predicting.predictor",
    "Quantiles": "matrix",
    "Reading": "readings.reading",
    "Received": "matrix",
    "Rollout": "matrix",
    "RowStats": "matrix",
    "PRESETS": "modules.transformer",
    "Sampling": "predicting.sampling",
    "Segments": "text.segments",
    "TransformerConfig": "modules.transformer",
    "SinkMass": "matrix",
    "Tokenizer": "text.tokenizers",
    "TopK": "matrix",
    "Transformer": "modules.transformer",
    "Reweighted": "matrix",
    "Word2vec": "modules.word2vec",
    "WordVectors": "modules.word_vectors",
    "atlas": "readings.atlas",
    "atlas_of": "tasks.heads",
    "attention_between": "readings.documents",
    "biases": "matrix",
    "explain_text": "explain.api",
    "record_attention": "modules.attention",
    "lazy_attentions": "capture.lazy.context",
    "load_model": "modules.model_io",
    "load_reader": "tasks.loading",
    "load_recipe": "tasks.recipe",
    "look": "tasks.look",
    "look_conversation": "tasks.documents",
    "look_documents": "tasks.documents",
    "attention_to_units": "readings.documents",
    "masks": "matrix",
    "leave_one_out": "ablation.leave_one_out",
    "save_html": "viewer.api",
    "save_model": "modules.model_io",
    "show": "viewer.api",
    "train_recipe": "tasks.run",
    "watch": "capture",
}

__all__ = [
    "AttentionMatrix",
    "BottomK",
    "Classifier",
    "Context",
    "MeanDistance",
    "Entropy",
    "Histogram",
    "HuggingFaceReader",
    "LanguageModel",
    "LimelightError",
    "MultiHeadAttention",
    "ValueNorms",
    "AttentionOutput",
    "OwnReader",
    "ArgMax",
    "Downsample",
    "Pool",
    "Predictor",
    "Quantiles",
    "Reading",
    "Received",
    "Rollout",
    "RowStats",
    "PRESETS",
    "Sampling",
    "Segments",
    "TransformerConfig",
    "SinkMass",
    "Tokenizer",
    "TopK",
    "Transformer",
    "Reweighted",
    "Word2vec",
    "WordVectors",
    "atlas",
    "atlas_of",
    "attention_between",
    "biases",
    "explain_text",
    "record_attention",
    "lazy_attentions",
    "load_model",
    "load_reader",
    "load_recipe",
    "look",
    "look_conversation",
    "look_documents",
    "attention_to_units",
    "masks",
    "leave_one_out",
    "save_html",
    "save_model",
    "show",
    "train_recipe",
    "watch",
]


_MODULES = ("errors", "matrix")


def home_of(name: str) -> str:
    """The module of this package that a public name comes from, such as `matrix`."""
    return _HOME[name]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"limelight.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'limelight' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"limelight.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

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
    from limelight.ablation.leave_one_out import removal_check
    from limelight.capture import watch
    from limelight.capture.lazy.context import lazy_attentions
    from limelight.errors import LimelightError
    from limelight.explain.api import explain_text
    from limelight.matrix import (
        AttentionMatrix,
        Bottom,
        Distance,
        Entropy,
        Histogram,
        Norms,
        Output,
        Peak,
        Picture,
        Pool,
        Quantiles,
        Received,
        Rollout,
        RowStats,
        SinkMass,
        Top,
        Weighted,
        biases,
        masks,
    )
    from limelight.modules.attention import MultiHeadAttention, kept_attention
    from limelight.modules.model_io import load_model, save_model
    from limelight.modules.transformer import SHAPES, Classifier, LanguageModel, Shape, Transformer
    from limelight.modules.word2vec import Word2vec
    from limelight.modules.word_vectors import WordVectors
    from limelight.predicting.predictor import Predictor
    from limelight.predicting.sampling import Sampling
    from limelight.readings.atlas import atlas
    from limelight.readings.documents import between, looked_at
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
    "Bottom": "matrix",
    "Classifier": "modules.transformer",
    "Context": "text.contexts",
    "Distance": "matrix",
    "Entropy": "matrix",
    "Histogram": "matrix",
    "HuggingFaceReader": "tasks.hugging_face",
    "LanguageModel": "modules.transformer",
    "LimelightError": "errors",
    "MultiHeadAttention": "modules.attention",
    "Norms": "matrix",
    "Output": "matrix",
    "OwnReader": "tasks.own",
    "Peak": "matrix",
    "Picture": "matrix",
    "Pool": "matrix",
    "Predictor": "predicting.predictor",
    "Quantiles": "matrix",
    "Reading": "readings.reading",
    "Received": "matrix",
    "Rollout": "matrix",
    "RowStats": "matrix",
    "SHAPES": "modules.transformer",
    "Sampling": "predicting.sampling",
    "Segments": "text.segments",
    "Shape": "modules.transformer",
    "SinkMass": "matrix",
    "Tokenizer": "text.tokenizers",
    "Top": "matrix",
    "Transformer": "modules.transformer",
    "Weighted": "matrix",
    "Word2vec": "modules.word2vec",
    "WordVectors": "modules.word_vectors",
    "atlas": "readings.atlas",
    "atlas_of": "tasks.heads",
    "between": "readings.documents",
    "biases": "matrix",
    "explain_text": "explain.api",
    "kept_attention": "modules.attention",
    "lazy_attentions": "capture.lazy.context",
    "load_model": "modules.model_io",
    "load_reader": "tasks.loading",
    "load_recipe": "tasks.recipe",
    "look": "tasks.look",
    "look_conversation": "tasks.documents",
    "look_documents": "tasks.documents",
    "looked_at": "readings.documents",
    "masks": "matrix",
    "removal_check": "ablation.leave_one_out",
    "save_html": "viewer.api",
    "save_model": "modules.model_io",
    "show": "viewer.api",
    "train_recipe": "tasks.run",
    "watch": "capture",
}

__all__ = [
    "AttentionMatrix",
    "Bottom",
    "Classifier",
    "Context",
    "Distance",
    "Entropy",
    "Histogram",
    "HuggingFaceReader",
    "LanguageModel",
    "LimelightError",
    "MultiHeadAttention",
    "Norms",
    "Output",
    "OwnReader",
    "Peak",
    "Picture",
    "Pool",
    "Predictor",
    "Quantiles",
    "Reading",
    "Received",
    "Rollout",
    "RowStats",
    "SHAPES",
    "Sampling",
    "Segments",
    "Shape",
    "SinkMass",
    "Tokenizer",
    "Top",
    "Transformer",
    "Weighted",
    "Word2vec",
    "WordVectors",
    "atlas",
    "atlas_of",
    "between",
    "biases",
    "explain_text",
    "kept_attention",
    "lazy_attentions",
    "load_model",
    "load_reader",
    "load_recipe",
    "look",
    "look_conversation",
    "look_documents",
    "looked_at",
    "masks",
    "removal_check",
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

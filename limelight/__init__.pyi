"""The public names and where each is defined: the one list of them. They are loaded when they are first used."""

from . import errors as errors, matrix as matrix
from .ablation.leave_one_out import leave_one_out as leave_one_out
from .capture import watch as watch
from .capture.lazy.context import lazy_attentions as lazy_attentions
from .errors import LimelightError as LimelightError
from .explain.api import explain_text as explain_text
from .looking.documents import look_conversation as look_conversation, look_documents as look_documents
from .looking.head_atlas import atlas_of as atlas_of
from .looking.hugging_face_reader import HuggingFaceReader as HuggingFaceReader
from .looking.limelight_reader import OwnReader as OwnReader
from .looking.load import load_reader as load_reader
from .looking.look import look as look
from .matrix import (
    ArgMax as ArgMax,
    AttentionMatrix as AttentionMatrix,
    AttentionOutput as AttentionOutput,
    BottomK as BottomK,
    Downsample as Downsample,
    Entropy as Entropy,
    Histogram as Histogram,
    MeanDistance as MeanDistance,
    Pool as Pool,
    Quantiles as Quantiles,
    Received as Received,
    Reweighted as Reweighted,
    Rollout as Rollout,
    RowStats as RowStats,
    SinkMass as SinkMass,
    TopK as TopK,
    ValueNorms as ValueNorms,
    biases as biases,
    masks as masks,
)
from .modules.attention import (
    MultiHeadAttention as MultiHeadAttention,
    record_attention as record_attention,
)
from .modules.model_io import load_model as load_model, save_model as save_model
from .modules.transformer import (
    PRESETS as PRESETS,
    Classifier as Classifier,
    LanguageModel as LanguageModel,
    Transformer as Transformer,
    TransformerConfig as TransformerConfig,
)
from .modules.word2vec import Word2vec as Word2vec
from .modules.word_vectors import WordVectors as WordVectors
from .predicting.predictor import Predictor as Predictor
from .predicting.sampling import Sampling as Sampling
from .readings.atlas import atlas as atlas
from .readings.documents import (
    attention_between as attention_between,
    attention_to_units as attention_to_units,
)
from .readings.reading import Reading as Reading
from .recipes.recipe import load_recipe as load_recipe
from .recipes.train import train_recipe as train_recipe
from .text.contexts import Context as Context
from .text.segments import Segments as Segments
from .text.tokenizers import Tokenizer as Tokenizer
from .viewer.api import save_html as save_html, show as show

__version__: str

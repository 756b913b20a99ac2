"""The public names and where each is defined: the one list of them. They are loaded when they are first used."""

from . import errors as errors
from . import matrix as matrix
from .ablation.leave_one_out import leave_one_out as leave_one_out
from .capture import watch as watch
from .capture.lazy.context import lazy_attentions as lazy_attentions
from .errors import LimelightError as LimelightError
from .explain.api import explain_text as explain_text
from .looking.documents import look_conversation as look_conversation
from .looking.documents import look_documents as look_documents
from .looking.head_atlas import atlas_of as atlas_of
from .looking.hugging_face_reader import HuggingFaceReader as HuggingFaceReader
from .looking.limelight_reader import OwnReader as OwnReader
from .looking.load import load_reader as load_reader
from .looking.look import look as look
from .matrix import (
    ArgMax as ArgMax,
)
from .matrix import (
    AttentionMatrix as AttentionMatrix,
)
from .matrix import (
    AttentionOutput as AttentionOutput,
)
from .matrix import (
    BottomK as BottomK,
)
from .matrix import (
    Downsample as Downsample,
)
from .matrix import (
    Entropy as Entropy,
)
from .matrix import (
    Histogram as Histogram,
)
from .matrix import (
    MeanDistance as MeanDistance,
)
from .matrix import (
    Pool as Pool,
)
from .matrix import (
    Quantiles as Quantiles,
)
from .matrix import (
    Received as Received,
)
from .matrix import (
    Reweighted as Reweighted,
)
from .matrix import (
    Rollout as Rollout,
)
from .matrix import (
    RowStats as RowStats,
)
from .matrix import (
    SinkMass as SinkMass,
)
from .matrix import (
    TopK as TopK,
)
from .matrix import (
    ValueNorms as ValueNorms,
)
from .matrix import (
    biases as biases,
)
from .matrix import (
    masks as masks,
)
from .modules.attention import (
    MultiHeadAttention as MultiHeadAttention,
)
from .modules.attention import (
    record_attention as record_attention,
)
from .modules.model_io import load_model as load_model
from .modules.model_io import save_model as save_model
from .modules.transformer import (
    PRESETS as PRESETS,
)
from .modules.transformer import (
    Classifier as Classifier,
)
from .modules.transformer import (
    LanguageModel as LanguageModel,
)
from .modules.transformer import (
    Transformer as Transformer,
)
from .modules.transformer import (
    TransformerConfig as TransformerConfig,
)
from .modules.word2vec import Word2vec as Word2vec
from .modules.word_vectors import WordVectors as WordVectors
from .predicting.predictor import Predictor as Predictor
from .predicting.sampling import Sampling as Sampling
from .readings.atlas import atlas as atlas
from .readings.documents import (
    attention_between as attention_between,
)
from .readings.documents import (
    attention_to_units as attention_to_units,
)
from .readings.reading import Reading as Reading
from .recipes.recipe import load_recipe as load_recipe
from .recipes.train import train_recipe as train_recipe
from .text.contexts import Context as Context
from .text.segments import Segments as Segments
from .text.tokenizers import Tokenizer as Tokenizer
from .viewer.api import save_html as save_html
from .viewer.api import show as show

__version__: str

"""Reader: what `look` needs of a model: tokens, an answer, its attention, masked forwards.

`hugging_face_reader.py` reads Hugging Face models, `limelight_reader.py` ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from limelight.errors import ArgumentTypeError
from limelight.matrix import AttentionMatrix
from limelight.readings.reading import Head
from limelight.text.contexts import Context

ANSWER = "answer"
"""The name of the part that the model has written."""
Architecture = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True)
class ForwardPass:
    """One forward over a context (and the answer), and the attention in it.

    context  the tokens of the keys: in a decoder the answer's too, as a part of its own
    layers   self-attention over the context, layer → matrix; what its parts see of each other
    looking  the matrices that are read for what was looked at: `layers`, or the cross-attention
    rows     which of their queries look
    who      who looks: "answer", "question", "text"
    answer   what the model wrote; None where it writes nothing, or was not asked
    note     what a reader of the numbers should know
    """

    context: Context
    layers: Mapping[int, AttentionMatrix]
    looking: Mapping[int, AttentionMatrix]
    rows: tuple[int, ...]
    who: str
    answer: str | None = None
    note: str = ""
    output: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    """Which tokens of the context are kept, (J, tokens) → the output for them; None where it cannot be had."""
    gives: Literal["distribution", "vector"] = "distribution"
    """What `output` gives."""


class Reader(Protocol):
    """A model and its tokenizer, ready to read documents."""

    @property
    def architecture(self) -> Architecture: ...

    @property
    def longest(self) -> int | None:
        """How many tokens it reads at once; None where nothing says so."""

    @property
    def name(self) -> str: ...

    @property
    def heads(self) -> Sequence[Head] | None:
        """The heads to read where nobody says which; None for all."""

    @property
    def ordinary(self) -> Sequence[int]:
        """The ids of the tokens that stand for text."""

    def context(self, documents: Mapping[str, str], question: str | None, chat: bool) -> Context:
        """The documents and the question as it reads them."""

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> Context:
        """The messages in the model's chat template, up to where it would answer; the last one asks."""

    def run(self, context: Context, answer_tokens: int) -> ForwardPass:
        """Read a context that fits; where it was asked and can write, let it answer in at most so many tokens."""


def check_reader(reader: object) -> None:
    """Raises ArgumentTypeError for what is no Reader, such as a model alone."""
    if not hasattr(reader, "context") or not hasattr(reader, "run"):
        raise ArgumentTypeError(
            f"A reader must be given, a model with its tokenizer; got {type(reader).__name__}. Of a model by its "
            "name load_reader(name) makes one, of one in memory HuggingFaceReader(model, tokenizer) or "
            "OwnReader(predictor)."
        )


def text_rows(context: Context) -> list[int]:
    """The tokens that stand in a document or the question."""
    homes = context.segments.index("document").tolist()
    return [token for token, home in enumerate(homes) if home >= 0]

"""Limelight's own models, read as `hugging_face_reader.py` reads other people's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from limelight.ablation.own_models import masked_forward
from limelight.checked import checked_class
from limelight.errors import InputError
from limelight.looking.look import NO_ATTENTION
from limelight.looking.readers import ANSWER, Architecture, ForwardPass, text_rows
from limelight.modules.attention import Role
from limelight.modules.recurrent import RecurrentConfig
from limelight.predicting.limits import last_position
from limelight.predicting.predictor import Prediction, Predictor, Trace
from limelight.readings.alignment_heads import AlignmentHeads
from limelight.readings.reading import Head
from limelight.readings.words import by_layer
from limelight.text.contexts import QUESTION, Context
from limelight.text.segments import Segments
from limelight.text.tokenizers import END, PAD, START, UNKNOWN

ARCHITECTURES: dict[Role, Architecture] = {
    "language": "decoder",
    "classes": "encoder",
    "pairs": "encoder-decoder",
}
"""By the role of a model, attention or recurrence."""
NO_TEMPLATE = "A chat template belongs to a Hugging Face tokenizer; this model of ours has none."
TRANSLATES = (
    "The model translates: its answer is a translation of the documents and the question, no reply to it."
)


@checked_class
@dataclass(frozen=True, eq=False)
class OwnReader:
    """A model that Limelight has trained."""

    predictor: Predictor
    name: str = ""

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[cast(Role, self.predictor.model.role)]

    @property
    def longest(self) -> int | None:
        """The end of learned positions; the others are computed, so any length can be read."""
        return last_position(self.predictor.model)

    @property
    def heads(self) -> Sequence[Head] | None:
        """Those that the model's folder names for alignment."""
        chosen = self.predictor.saved.prediction.get("alignment")
        return AlignmentHeads.from_json(chosen).heads if chosen else None

    @property
    def ordinary(self) -> Sequence[int]:
        return range(1 + max(PAD, UNKNOWN, START, END), len(self.predictor.saved.source))

    def context(self, documents: Mapping[str, str], question: str | None, chat: bool) -> Context:
        if chat:
            raise InputError(NO_TEMPLATE)
        context = Context.of(self.predictor.saved.source, documents, question)
        if self.architecture == "decoder":
            return _with_special(context, (START,), ())
        return _with_special(context, (), (END,))

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> Context:
        raise InputError(NO_TEMPLATE)

    def run(self, context: Context, answer_tokens: int) -> ForwardPass:
        decoder, encoder = (self.architecture == each for each in ("decoder", "encoder"))
        own = list(context.ids[1:] if decoder else context.ids[:-1])
        text = context.segments.text
        if encoder or (decoder and not (context.asked and answer_tokens)):
            prediction = Prediction(text, "", math.nan, own, [])
        else:
            most = max(answer_tokens, 1)  # an encoder-decoder must write
            [prediction] = self.predictor.predict([text], beam=1, longest=most, trim=False)
        trace = self.predictor.trace(prediction)
        if not trace.matrices:
            raise InputError(NO_ATTENTION)
        asking = context.tokens_of(-1) if context.asked else text_rows(context)
        who = QUESTION if context.asked else "text"
        if encoder:
            layers = by_layer(trace.layers("encoder"))
            return ForwardPass(
                context, layers, layers, tuple(asking), who, output=self._output(context, trace, slice(None))
            )
        written = prediction.target_ids
        if not decoder:
            rows = tuple(range(max(len(written), 1)))
            looking, layers = (by_layer(trace.layers(kind)) for kind in ("cross", "encoder"))
            output = self._output(context, trace, list(rows))
            note = TRANSLATES if context.asked and self.predictor.saved.task == "translate" else ""
            return ForwardPass(context, layers, looking, rows, ANSWER, prediction.text, note, output)
        layers = by_layer(trace.layers("decoder"))
        if not written:
            return ForwardPass(
                context, layers, layers, tuple(asking), who, output=self._output(context, trace, [-1])
            )
        spelled, spans = self.predictor.saved.target.decode_spans(written)
        whole = context.followed_by(written, spelled, spans, ANSWER)
        first = len(context.ids) - 1
        rows = tuple(range(first, first + len(written)))
        output = self._output(whole, trace, list(rows))
        return ForwardPass(whole, layers, layers, rows, ANSWER, prediction.text, output=output)

    def _output(
        self, context: Context, trace: Trace, rows: slice | list[int]
    ) -> Callable[[Tensor], Tensor] | None:
        """The scores of the next tokens, or of the classes, with some tokens closed to everybody.

        None where the model is recurrent: to it nothing can be closed.
        """
        if isinstance(self.predictor.model.shape, RecurrentConfig):
            return None
        return masked_forward(self.predictor.model, context.ids, trace.prediction.target_ids, rows)


def _with_special(context: Context, before: tuple[int, ...], after: tuple[int, ...]) -> Context:
    """With start or end tokens around it, which cover no characters."""
    old = context.segments
    spans = (*[(0, 0)] * len(before), *old.spans, *[(0, 0)] * len(after))
    segments = Segments(old.text, spans, old.documents, old.names)
    return replace(context, ids=(*before, *context.ids, *after), segments=segments)

"""Other people's models: Hugging Face encoders, decoders and encoder-decoders, to read documents with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from limelight.ablation.other_models import masked_forward
from limelight.capture import watch
from limelight.checked import checked_class
from limelight.errors import InputError, LimelightError
from limelight.looking.pretrained import body_of, load_pretrained
from limelight.looking.readers import ANSWER, Architecture, ForwardPass, text_rows
from limelight.looking.unwrap import unwrapped
from limelight.matrix import AttentionMatrix
from limelight.readings.words import by_layer
from limelight.text.contexts import QUESTION, Context
from limelight.text.segmentation import Span

WINDOW = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
"""What configurations call the number of positions they have."""
COUNTED_BEHIND_PADDING = ("create_position_ids_from_input_ids", "create_position_ids_from_inputs_embeds")
"""What the embeddings of models have whose first token stands behind the row of padding."""
NO_LIMIT = 10**9
"""Above this a tokenizer's `model_max_length` means that nobody knows."""


@checked_class
@dataclass(frozen=True, eq=False)
class HuggingFaceReader:
    """A Hugging Face model with its tokenizer.

    model      a model of transformers; or what holds one: a pipeline, a SentenceTransformer, a PeftModel, a compiled
               or parallel model
    tokenizer  its tokenizer or processor; unless given, the one that the model brings
    name       what it is called in what is shown
    note       what a reader of its numbers should know

    Raises ArgumentTypeError where there is no model of transformers or no tokenizer.
    """

    model: Any
    tokenizer: Any = None
    name: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        model, tokenizer, note = unwrapped(self.model, self.tokenizer)
        if getattr(model.config, "is_encoder_decoder", False) and not _can_write(model):
            model = body_of(model)
        for name, value in (("model", model), ("tokenizer", tokenizer)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "note", f"{self.note} {note}".strip())

    @classmethod
    def load(cls, name: str, trust_remote_code: bool = False) -> HuggingFaceReader:
        """From a folder, or by its name on the hub. Code that comes with a model runs only if it is trusted.

        It is read in the class that it was saved from; `note` says where a head was left out. A folder that peft has
        saved is read on its base model. Raises CheckpointError with the reason in one line.
        """
        found = load_pretrained(name, trust_remote_code)
        return cls(found.model, found.tokenizer, name, found.note)

    @property
    def architecture(self) -> Architecture:
        if not _can_write(self.model):
            return "encoder"
        return "encoder-decoder" if getattr(self.model.config, "is_encoder_decoder", False) else "decoder"

    @property
    def longest(self) -> int | None:
        config = self.model.config.get_text_config()
        places = [getattr(config, name, None) for name in WINDOW]
        known = [place for place in places if isinstance(place, int) and place > 0]
        told = getattr(self.tokenizer, "model_max_length", None)
        if isinstance(told, int) and told < NO_LIMIT:
            known.append(told)
        # RoBERTa's kind begins to count behind the padding's row, so that the last rows cannot be reached.
        for module in self.model.modules():
            table = getattr(module, "position_embeddings", None)
            begins = getattr(table, "padding_idx", None)
            counts = any(hasattr(module, name) for name in COUNTED_BEHIND_PADDING)
            if table is not None and counts and isinstance(begins, int):
                known.append(len(table.weight) - begins - 1)
        return min(known, default=None)

    @property
    def heads(self) -> None:
        """Nobody has chosen any."""

    @property
    def ordinary(self) -> Sequence[int]:
        special = set(self.tokenizer.all_special_ids)
        known = min(len(self.tokenizer), self.model.config.get_text_config().vocab_size)
        return [id for id in range(known) if id not in special]

    def context(self, documents: Mapping[str, str], question: str | None, chat: bool) -> Context:
        context = Context.of(self.tokenizer, documents, question, chat)
        ends = {self.tokenizer.eos_token_id, self.tokenizer.sep_token_id} - {None}
        if self.architecture == "decoder" and context.ids and context.ids[-1] in ends and not chat:
            return context.head(len(context.ids) - 1)  # a text that has ended is not gone on with
        return context

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> Context:
        if self.architecture != "decoder":
            raise InputError(
                f"A conversation needs a model that goes on with a text; this is an {self.architecture}."
            )
        return replace(Context.chat(self.tokenizer, messages, answer_next=True), asked=True)

    def run(self, context: Context, answer_tokens: int) -> ForwardPass:
        try:
            run = self._run(context, answer_tokens)
        except LimelightError:
            raise
        except Exception as error:  # models that cannot do without a picture raise whatever they do
            said = " ".join(str(error).split()).split(". ")[0][:300] or "it says nothing of why"
            raise InputError(
                f"{self.name or 'The model'}, a {type(self.model).__name__}, could not read text alone: "
                f"{type(error).__name__}: {said}."
            ) from error
        return replace(run, note=f"{run.note} {self.note}".strip())

    # ---- inside -----------------------------------------------------------------------------------

    def _run(self, context: Context, answer_tokens: int) -> ForwardPass:
        ids = torch.tensor([context.ids], device=self.model.device)
        with torch.no_grad():
            if self.architecture == "encoder-decoder":
                return self._translated(context, ids, answer_tokens)
            if self.architecture == "decoder" and context.asked and answer_tokens:
                return self._continued(context, ids, answer_tokens)
            layers = self._watched(ids)
        rows = context.tokens_of(-1) if context.asked else text_rows(context)  # the question is the last part
        who = QUESTION if context.asked else "text"
        if self.architecture == "decoder":
            output = masked_forward(self.model, {"input_ids": ids}, rows=[-1])
            return ForwardPass(context, layers, layers, tuple(rows), who, output=output)
        output = masked_forward(self.model, {"input_ids": ids}, rows=list(rows))
        return ForwardPass(context, layers, layers, tuple(rows), who, output=output, gives="vector")

    def _watched(self, ids: Tensor) -> dict[int, AttentionMatrix]:
        with watch(self.model) as seen:
            self.model(input_ids=ids, **_uncached(self.model))
        return _layers(seen, "self")

    def _continued(self, context: Context, ids: Tensor, most: int) -> ForwardPass:
        """A decoder: the answer stands behind the text, and row i predicts token i + 1."""
        written = self._generated({"input_ids": ids}, most)[0, ids.shape[1] :].tolist()
        text, spans = _spelled(self.tokenizer, written)
        note = "" if written else "The model ended at once: the row that says so is read."
        whole = context.followed_by(written, text, spans, ANSWER) if written else context
        all_ids = torch.tensor([whole.ids], device=ids.device)
        layers = self._watched(all_ids)
        first = ids.shape[1] - 1
        rows = tuple(range(first, first + max(len(written), 1)))
        output = masked_forward(self.model, {"input_ids": all_ids}, rows=list(rows))
        return ForwardPass(whole, layers, layers, rows, ANSWER, text, note, output)

    def _translated(self, context: Context, ids: Tensor, most: int) -> ForwardPass:
        """An encoder-decoder: cross-attention, row i predicts token i of the answer."""
        encoder = self.model.get_encoder()
        with watch(encoder) as seen:
            states = encoder(input_ids=ids)  # read once; all that follows goes on from here
        layers = _layers(seen, "self")
        written = self._generated({"input_ids": ids, "encoder_outputs": states}, max(most, 1))[0].tolist()
        answer = written[1:]
        read = torch.tensor(
            [written[: max(len(answer), 1)]], device=ids.device
        )  # row i predicts answer token i
        with watch(self.model) as seen:
            self.model(encoder_outputs=states, decoder_input_ids=read, **_uncached(self.model))
        rows = range(read.shape[1])
        output = masked_forward(self.model, {"input_ids": ids, "decoder_input_ids": read}, rows=list(rows))
        text = self.tokenizer.decode(answer, skip_special_tokens=True)
        return ForwardPass(context, layers, _layers(seen, "cross"), tuple(rows), ANSWER, text, output=output)

    def _generated(self, inputs: dict[str, Any], most: int) -> Tensor:
        """Greedily, so that the same text has the same answer."""
        mask = torch.ones_like(inputs["input_ids"])
        pad = self.tokenizer.pad_token_id
        if pad is None:
            pad = getattr(self.model.generation_config, "eos_token_id", None)
        pad = pad[0] if isinstance(pad, Sequence) else pad
        found: Tensor = self.model.generate(
            **inputs, attention_mask=mask, max_new_tokens=most, do_sample=False, num_beams=1, pad_token_id=pad
        )
        return found


def _can_write(model: Any) -> bool:
    """Whether a model goes on with a text, rather than turns it into vectors."""
    return bool(getattr(model, "can_generate", lambda: False)())


def _layers(seen: Any, kind: str) -> dict[int, AttentionMatrix]:
    calls = [call for call in seen if call.kind == kind]
    if twice := [number for number, count in Counter(call.layer for call in calls).items() if count > 1]:
        named = ", ".join(call.name for call in calls if call.layer == twice[0])
        raise InputError(
            f"A model must have one {kind}-attention a layer to be read as one; layer {twice[0]} of this one has "
            f"several: {named}. Read them one by one: with limelight.watch(model) as seen: model(…)."
        )
    found = by_layer(calls)
    if not found:
        raise InputError(f"The model has no {kind}-attention to read.")
    return found


def _uncached(model: Any) -> dict[str, bool]:
    return {"use_cache": False} if hasattr(model.config, "use_cache") else {}


def _spelled(tokenizer: Any, ids: list[int]) -> tuple[str, list[Span]]:
    """The text of some ids, and the characters that each of them adds to it.

    A token that ends in the middle of a character adds none; the one that completes it has them all.
    """
    spans: list[Span] = []
    text = ""
    for count in range(1, len(ids) + 1):
        now = tokenizer.decode(ids[:count], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        whole = now.rstrip("\ufffd") if count < len(ids) else now
        longer = len(whole) if len(whole) > len(text) else len(text)
        spans.append((len(text), longer))
        text = whole if len(whole) > len(text) else text
    return text, spans

"""Text in, answer out, and the attention of the forward that gives that answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limelight.errors import InputError
from limelight.matrix import AttentionMatrix
from limelight.modules.attention import kept_attention
from limelight.modules.saved import SavedModel, load_model
from limelight.modules.transformer import Shape
from limelight.predicting.decoders import Decoder, language_decoder, pair_decoder
from limelight.predicting.sampling import Sampling, sample
from limelight.predicting.search import BEAM, LENGTH_PENALTY, LONGEST, NEVER, Hypothesis, all_numbers, search
from limelight.text.segments import Segments
from limelight.text.tokenizers import END, PAD, START, Tokenizer

DEFAULTS = {"beam": BEAM, "length_penalty": LENGTH_PENALTY, "longest": LONGEST}
"""How answers are searched for where neither the caller nor the model's folder says so."""


@dataclass(frozen=True)
class Prediction:
    """An answer to a text. `log_probability` is that of the whole answer, in nats.

    source_ids and target_ids are what the model was given and has written, without START and END; `others` are
    further answers (or classes) with their log-probabilities, best first by the search's score: that is adjusted
    by length, so a later one may have the higher log-probability. Those cut at the longest length come last.
    """

    source: str
    text: str
    log_probability: float
    source_ids: list[int]
    target_ids: list[int]
    complete: bool = True
    others: list[tuple[str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; the log-probability of a drawn answer, which is NaN, becomes null."""
        log_probability = None if math.isnan(self.log_probability) else self.log_probability
        others = [list(other) for other in self.others]
        return vars(self) | {"log_probability": log_probability, "others": others}


@dataclass(frozen=True)
class Trace:
    """What the model attends to while it gives an answer.

    matrices  module name → AttentionMatrix, one batch, in the order of execution
    source    the tokens and words of the source text
    target    the tokens and words of the answer; a classifier writes none

    Where the tokens stand in the matrices:

    encoder            [source …, END]
    decoder, rows      [START, target …]: row i predicts target i, the last row END
    language model     [START, source …, target …]: row i predicts the next token; `source` holds both texts,
                       and `target` begins at `answer_start`
    """

    prediction: Prediction
    matrices: dict[str, AttentionMatrix]
    source: Segments
    target: Segments | None
    answer_start: int = 0

    def __repr__(self) -> str:
        answer = self.prediction
        return f"Trace({answer.source!r} → {answer.text!r}, {len(self.matrices)} matrices)"

    def layers(self, kind: str) -> list[AttentionMatrix]:
        """The matrices of `encoder`, `decoder` (self-attention) or `cross`, first layer first."""
        ending = {"encoder": ("encoder.", "self_attention"), "decoder": ("decoder.", "self_attention")}
        start, end = ending.get(kind, ("", "cross_attention"))
        return [
            matrix for name, matrix in self.matrices.items() if name.startswith(start) and name.endswith(end)
        ]


class Predictor:
    """A saved model at work.

    >>> predictor = Predictor.load("translate-en-de")                  # doctest: +SKIP
    >>> predictor.predict(["Click the button."])[0].text               # doctest: +SKIP
    'Klicken Sie auf die Schaltfläche.'
    """

    def __init__(self, saved: SavedModel, batch_tokens: int = 4000) -> None:
        self.saved = saved
        self.model = saved.model.eval()
        self.batch_tokens = batch_tokens

    @classmethod
    def load(cls, folder: str | Path) -> Predictor:
        """From a model's folder, or a shipped model by its name."""
        return cls(load_model(folder))

    def options(
        self, *, beam: int | None = None, length_penalty: float | None = None, longest: int | None = None
    ) -> dict[str, Any]:
        """How an answer is searched for: what is given, else what the model was saved with, else the default."""
        given = {"beam": beam, "length_penalty": length_penalty, "longest": longest}
        return {
            name: self.saved.prediction.get(name, DEFAULTS[name]) if value is None else value
            for name, value in given.items()
        }

    @torch.inference_mode()
    def predict(
        self,
        texts: Sequence[str],
        *,
        beam: int | None = None,
        length_penalty: float | None = None,
        longest: int | None = None,
        sampling: Sampling | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Prediction]:
        """Answers in the order of the texts. What is not given is as the model was saved with.

        With `sampling` the answer is drawn rather than searched for. `progress` hears how many texts are done by now.
        """
        if isinstance(texts, str):
            raise InputError("predict() takes a list of texts; got one string. Write predict([text]).")
        ids = [encoded.ids for encoded in self.saved.source.encode_batch(list(texts))]
        options = self.options(beam=beam, length_penalty=length_penalty, longest=longest)
        answers: list[Prediction | None] = [None] * len(texts)
        done = 0
        for rows in self._batches([len(each) for each in ids]):
            batch = [ids[row] for row in rows]
            if self.model.role == "classes":
                found = self._classify(batch)
            elif sampling is not None:
                longest = self._longest(batch, options["longest"])
                found = [[drawn] for drawn in self._draw(batch, sampling, longest, rows)]
            else:
                first, decoder = self._start(batch)
                found = search(
                    decoder, first, **options | {"longest": self._longest(batch, options["longest"])}
                )
            for row, hypotheses in zip(rows, found, strict=True):
                answers[row] = self._prediction(texts[row], ids[row], hypotheses)
            done += len(rows)
            progress(done)
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    def stream(
        self, text: str, sampling: Sampling | None = None, longest: int | None = None
    ) -> Iterator[str]:
        """The answer to one text, piece by piece as it comes: predict() with beam = 1, or drawn by `sampling`.

        `longest` is as the model was saved with, unless given.
        """
        batch = [self.saved.source.encode(text).ids]
        most = self._longest(batch, self.options(longest=longest)["longest"])
        first, decoder = self._start(batch)
        ids: list[int] = []
        whole = shown = ""
        for token in sample(decoder, first, sampling, most):
            if int(token) == END:
                break
            ids.append(int(token))
            whole = self.saved.target.decode(ids)
            if not whole.endswith("\ufffd"):  # a character whose bytes have not all come yet
                yield whole[len(shown) :]
                shown = whole
        if whole != shown:
            yield whole[len(shown) :]

    @torch.inference_mode()
    def score(self, text: str, answer: str) -> Prediction:
        """An answer that somebody else wrote, with the log-probability that the model gives it: what `trace` follows.

        Raises InputError for a model that writes no answer of its own beside the text.
        """
        if self.model.role != "pairs":
            raise InputError(
                f"A given answer is for models that write one text for another; this one's task is "
                f"{self.saved.task!r}."
            )
        source, target = self.saved.source.encode(text).ids, self.saved.target.encode(answer).ids
        inputs = {"source": self._tensor([[*source, END]]), "target": self._tensor([[START, *target]])}
        scores_NV = all_numbers(self.model(**inputs))[0]
        never = sorted(set(NEVER) - set(target))  # as in a search, but for what stands there
        scores_NV[:, never] = -math.inf
        written_N = self._tensor([*target, END])
        log_p_N = scores_NV.log_softmax(-1).gather(-1, written_N[:, None])
        return Prediction(text, answer, float(log_p_N.sum()), source, target)

    @torch.no_grad()  # not inference mode: of its tensors nobody knows whether they are still what was read
    def trace(self, prediction: Prediction) -> Trace:
        """One forward over a text and its answer, and the attention matrices of every layer in it."""
        target = None
        if self.model.role == "language":
            ids = prediction.source_ids + prediction.target_ids
            inputs = {"target": self._tensor([[START, *ids]])}
            source = Segments.from_spans(*self.saved.target.decode_spans(ids))
        else:
            inputs = {"source": self._tensor([[*prediction.source_ids, END]])}
            source = _as_written(self.saved.source, prediction.source, prediction.source_ids)
        if self.model.role == "pairs":
            inputs["target"] = self._tensor([[START, *prediction.target_ids]])
            target = _as_written(self.saved.target, prediction.text, prediction.target_ids)
        with kept_attention(self.model) as matrices:
            self.model(**inputs)
        return Trace(prediction, dict(matrices), source, target, len(prediction.source_ids))

    def _tensor(self, values: list[Any]) -> Tensor:
        """On the device that the model is on."""
        return torch.tensor(values, device=next(self.model.parameters()).device)

    def _start(self, batch: list[list[int]]) -> tuple[Tensor, Decoder]:
        """What the decoder reads first, and the decoder, for source texts as token ids."""
        if self.model.role == "language":
            return self._tensor([[START, *ids] for ids in batch]), language_decoder(self.model)
        if self.model.role != "pairs":
            raise InputError(f"A model for the task {self.saved.task!r} writes no text: use predict().")
        return self._tensor([[START]] * len(batch)), pair_decoder(self.model, *self._padded(batch))

    def _padded(self, batch: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Source texts with END and padding (B, M), and their lengths with END (B,)."""
        longest = max(map(len, batch)) + 1
        source = [[*ids, END, *[PAD] * (longest - 1 - len(ids))] for ids in batch]
        return self._tensor(source), self._tensor([len(ids) + 1 for ids in batch])

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Texts of like length together; for a language model of equal length, so that no prompt is padded."""
        exact = self.model.role == "language"
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
            longest = lengths[batch[0]] + 1 if batch else 0
            different = exact and batch and lengths[row] + 1 != longest
            if batch and (different or (len(batch) + 1) * longest > self.batch_tokens):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _longest(self, batch: list[list[int]], longest: int) -> int:
        """Of an answer to these, in tokens: learned positions end, and what they leave after a prompt is written."""
        shape = self.model.shape
        if not isinstance(shape, Shape) or shape.positions != "learned":
            return longest
        read = max(map(len, batch), default=0) if self.model.role == "language" else 0
        return max(1, min(longest, shape.longest - read - 1))

    def _draw(
        self, batch: list[list[int]], sampling: Sampling, longest: int, numbers: Sequence[int]
    ) -> list[Hypothesis]:
        first, decoder = self._start(batch)
        rows = torch.stack(list(sample(decoder, first, sampling, longest, numbers)), dim=1).tolist()
        cut = [row[: row.index(END)] if END in row else row for row in rows]
        return [
            Hypothesis(ids, float("nan"), float("nan"), len(ids) < len(row))
            for ids, row in zip(cut, rows, strict=True)
        ]

    def _classify(self, batch: list[list[int]]) -> list[list[Hypothesis]]:
        scores = all_numbers(self.model(*self._padded(batch))).log_softmax(-1)
        order = scores.sort(-1, descending=True)
        return [
            [Hypothesis([place], value, value) for value, place in zip(values, places, strict=True)]
            for values, places in zip(order.values.tolist(), order.indices.tolist(), strict=True)
        ]

    def _prediction(self, text: str, ids: list[int], hypotheses: list[Hypothesis]) -> Prediction:
        classes = self.saved.classes
        texts = [
            classes[each.ids[0]] if classes else self.saved.target.decode(each.ids) for each in hypotheses
        ]
        best = hypotheses[0]
        others = [
            (other, each.log_probability) for other, each in zip(texts[1:], hypotheses[1:], strict=True)
        ]
        return Prediction(
            text, texts[0], best.log_probability, ids, [] if classes else best.ids, best.complete, others
        )


def _as_written(tokenizer: Tokenizer, text: str, ids: list[int]) -> Segments:
    """The tokens of a text as it was written: a letter that the model does not know is still that letter here."""
    encoded = tokenizer.encode(text)
    if encoded.ids == ids:
        return Segments.from_spans(text, encoded.spans)
    return Segments.from_spans(*tokenizer.decode_spans(ids))

"""Text in, answer out, and the attention of the forward that gives that answer."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limelight.checked import checked
from limelight.errors import ArgumentTypeError, InputError, check_whole
from limelight.modules.attention import record_attention
from limelight.modules.model_io import SavedModel, load_model
from limelight.predicting.decoders import Decoder, language_decoder, pair_decoder
from limelight.predicting.limits import (
    MOST_SCORES,
    Namer,
    batches,
    beyond_window,
    check_readable,
    enough_memory,
    room_for_answer,
    text_number,
)
from limelight.predicting.prediction import Prediction, Trace, as_written, unknown_of
from limelight.predicting.sampling import Sampling, sample
from limelight.predicting.search import (
    BEAM,
    LENGTH_PENALTY,
    LONGEST,
    NEVER,
    Hypothesis,
    all_numbers,
    check_search,
    search,
)
from limelight.text.decoding import trimmed
from limelight.text.segments import Segments
from limelight.text.tokenizers import END, PAD, START, Encoded

__all__ = ["DEFAULTS", "Prediction", "Predictor", "Trace"]

DEFAULTS = {"beam": BEAM, "length_penalty": LENGTH_PENALTY, "longest": LONGEST}
"""How answers are searched for where neither the caller nor the model's folder says so."""


class Predictor:
    """A saved model at work.

    >>> predictor = Predictor.load("translate-en-de")                  # doctest: +SKIP
    >>> predictor.predict(["Click the button."])[0].text               # doctest: +SKIP
    'Klicken Sie auf die Schaltfläche.'
    """

    @checked
    def __init__(self, saved: SavedModel, batch_tokens: int = 4000) -> None:
        if not isinstance(saved, SavedModel):
            raise ArgumentTypeError(
                f"Predictor takes a loaded model; got {type(saved).__name__}. Write Predictor.load(folder)."
            )
        check_whole("batch_tokens", batch_tokens, 1)
        self.saved = saved
        self.model = saved.model.eval()
        self.batch_tokens = batch_tokens

    @classmethod
    @checked
    def load(cls, folder: str | Path) -> Predictor:
        """From a model's folder, or a shipped model by its name."""
        return cls(load_model(folder))

    @checked
    def options(
        self, *, beam: int | None = None, length_penalty: float | None = None, longest: int | None = None
    ) -> dict[str, Any]:
        """How an answer is searched for: what is given, else what the model was saved with, else the default."""
        given = {"beam": beam, "length_penalty": length_penalty, "longest": longest}
        return {
            name: self.saved.prediction.get(name, DEFAULTS[name]) if value is None else value
            for name, value in given.items()
        }

    @checked
    def trimmed(self, text: str) -> str:
        """A text as the model reads it: without white space and byte order marks at its ends, as all rows of pairs
        and of classes were when it was trained. A language model goes on from a text as it stands.
        """
        return text if self.model.role == "language" else trimmed(text)

    @torch.inference_mode()
    @checked
    def predict(
        self,
        texts: Sequence[str],
        *,
        beam: int | None = None,
        length_penalty: float | None = None,
        longest: int | None = None,
        sampling: Sampling | None = None,
        prefix: str | Sequence[str] | None = None,
        trim: bool = True,
        progress: Callable[[int], None] = lambda done: None,
        name: Namer = text_number,
    ) -> list[Prediction]:
        """Answers in the order of the texts. What is not given is as the model was saved with.

        sampling   the answer is drawn rather than searched for
        prefix     how the answer begins: one for all texts or one for each, white space at its ends dropped. Only
                   for models that write one text for another
        trim       texts are read as `trimmed` gives them
        progress   hears how many texts are done by now
        name       what errors call the text at a place of the list, counted from 0

        Raises InputError for options out of range, a text or prefix longer than the model can read or write, and
        words of a prefix that the model cannot write; TooLargeError where there is not enough memory.
        """
        if isinstance(texts, str):
            raise InputError("predict() takes a list of texts; got one string. Write predict([text]).")
        if not isinstance(sampling, Sampling | None):
            raise ArgumentTypeError(f"sampling must be a Sampling; got {type(sampling).__name__}.")
        texts = list(texts)
        options = self.options(beam=beam, length_penalty=length_penalty, longest=longest)
        check_search(**options)
        read = [self.trimmed(text) for text in texts] if trim else texts
        encoded = self.saved.source.encode_batch(read)
        lengths = [len(each) for each in encoded]
        prefixes = self._prefixes(prefix, len(texts), options["longest"])
        check_readable(self.model, lengths, name)
        answers: list[Prediction | None] = [None] * len(texts)
        done = 0
        width = 1 if sampling is not None or self.saved.classes else options["beam"]
        most_rows = max(1, MOST_SCORES // (width * max(len(self.saved.target), 1)))
        exact = self.model.role == "language"
        for rows in batches(lengths, [*map(len, prefixes)], self.batch_tokens, most_rows, exact):
            with enough_memory(rows, lengths, name):
                batch, begun = [encoded[row].ids for row in rows], [prefixes[row] for row in rows]
                if self.model.role == "classes":
                    found = self._classify(batch)
                elif sampling is not None:
                    found = [
                        [drawn] for drawn in self._draw(batch, begun, sampling, options["longest"], rows)
                    ]
                else:
                    found = self._search(batch, begun, options)
            for row, hypotheses in zip(rows, found, strict=True):
                answers[row] = self._prediction(texts[row], read[row], encoded[row], hypotheses)
            done += len(rows)
            progress(done)
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    @checked
    def stream(
        self,
        text: str,
        sampling: Sampling | None = None,
        longest: int | None = None,
        prefix: str | None = None,
    ) -> Generator[str, None, Prediction]:
        """The answer to one text, piece by piece as it comes: predict() with beam = 1, or drawn by `sampling`.

        `longest` is as the model was saved with, unless given. What the generator returns is the whole answer,
        without its log-probability.
        """
        read = self.trimmed(text)
        encoded = self.saved.source.encode(read)
        options = self.options(longest=longest)
        check_search(**options)
        [begun] = self._prefixes(prefix, 1, options["longest"])
        check_readable(self.model, [len(encoded)], lambda place: "The text")
        most = room_for_answer(self.model, self._read(encoded.ids), options["longest"])
        first, decoder = self._start([encoded.ids], [begun])
        ids, complete, shown = list(begun), False, ""
        for token in sample(decoder, first, sampling, most - len(begun)):
            if complete := int(token) == END:
                break
            ids.append(int(token))
            whole = self._spelled(text, encoded.ids, ids)
            if not whole.endswith("\ufffd"):  # a character whose bytes have not all come yet
                yield whole[len(shown) :]
                shown = whole
        answer = self._prediction(text, read, encoded, [Hypothesis(ids, math.nan, math.nan, complete)])
        if answer.text != shown:
            yield answer.text[len(shown) :]
        return answer

    @torch.inference_mode()
    @checked
    def score(self, text: str, answer: str) -> Prediction:
        """An answer that somebody else wrote, with the log-probability that the model gives it: what `trace` follows.

        Raises InputError for a model that writes no answer of its own beside the text.
        """
        if self.model.role != "pairs":
            raise InputError(
                f"A given answer is for models that write one text for another; this one's task is "
                f"{self.saved.task!r}."
            )
        read = self.trimmed(text)
        source, target = self.saved.source.encode(read), self.saved.target.encode(self.trimmed(answer)).ids
        check_readable(
            self.model, [len(source), len(target)], lambda place: ("The text", "The answer")[place]
        )
        log_p = float(self._log_probability([source.ids], [[*target, END]]))
        return Prediction(text, answer, log_p, source.ids, target, unknown=unknown_of(read, source))

    @checked
    def full(self, answer: Prediction) -> bool:
        """Whether an answer fills what the model can write: where it was cut, no larger `longest` allows more."""
        read = self._read(answer.source_ids)
        return len(answer.target_ids) >= room_for_answer(self.model, read, len(answer.target_ids) + 1)

    @torch.no_grad()  # not inference mode: of its tensors nobody knows whether they are still what was read
    @checked
    def trace(self, prediction: Prediction) -> Trace:
        """One forward over a text and its answer, and the attention matrices of every layer in it."""
        target = None
        if self.model.role == "language":
            ids = prediction.source_ids + prediction.target_ids
            inputs = {"target": self._tensor([[START, *ids]])}
            source = Segments.from_spans(*self.saved.target.decode_spans(ids))
        else:
            inputs = {"source": self._tensor([[*prediction.source_ids, END]])}
            source = as_written(self.saved.source, prediction.source, prediction.source_ids)
        if self.model.role == "pairs":
            inputs["target"] = self._tensor([[START, *prediction.target_ids]])
            target = as_written(self.saved.target, prediction.text, prediction.target_ids)
        with record_attention(self.model) as matrices:
            self.model(**inputs)
        return Trace(prediction, dict(matrices), source, target, len(prediction.source_ids))

    def _tensor(self, values: list[Any]) -> Tensor:
        """On the device that the model is on."""
        return torch.tensor(values, device=next(self.model.parameters()).device)

    def _start(self, batch: list[list[int]], begun: list[list[int]]) -> tuple[Tensor, Decoder]:
        """What the decoder reads first, and the decoder, for sources and what is written already, as token ids."""
        if self.model.role == "language":
            return self._tensor([[START, *ids] for ids in batch]), language_decoder(self.model)
        if self.model.role != "pairs":
            raise InputError(f"A model for the task {self.saved.task!r} writes no text: use predict().")
        first = self._tensor([[START, *prefix] for prefix in begun])
        return first, pair_decoder(self.model, *self._padded(batch))

    def _padded(self, batch: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Source texts with END and padding (B, M), and their lengths with END (B,)."""
        longest = max(map(len, batch)) + 1
        source = [[*ids, END, *[PAD] * (longest - 1 - len(ids))] for ids in batch]
        return self._tensor(source), self._tensor([len(ids) + 1 for ids in batch])

    def _prefixes(self, prefix: str | Sequence[str] | None, count: int, longest: int) -> list[list[int]]:
        """The token ids that each answer begins with."""
        if prefix is None:
            return [[]] * count
        if self.model.role != "pairs":
            way = (
                "put it at the end of the text" if self.model.role == "language" else "a class is not written"
            )
            raise InputError(f"A prefix is for models that write one text for another; here, {way}.")
        prefixes = [prefix] * count if isinstance(prefix, str) else list(prefix)
        if len(prefixes) != count:
            raise InputError(
                f"prefix must be one for all or one for each of the {count} texts; got {len(prefixes)}."
            )
        if not all(isinstance(each, str) for each in prefixes):
            raise ArgumentTypeError(f"A prefix must be a str; got {reprlib.repr(prefixes)}.")
        found = self.saved.target.encode_batch(["" if each.isspace() else each.strip() for each in prefixes])
        for text, encoded in zip(prefixes, found, strict=True):
            if unknown := unknown_of(text.strip(), encoded):
                raise InputError(
                    f"The prefix {text!r} holds what this model cannot write: {' '.join(unknown)}."
                )
            if len(encoded) >= longest:
                raise InputError(
                    f"The prefix {text!r} has {len(encoded)} tokens, an answer {longest} at most. Allow a longer one."
                )
        return [encoded.ids for encoded in found]

    def _read(self, ids: list[int]) -> int:
        """Tokens that the decoder has read before it writes, START aside."""
        return len(ids) if self.model.role == "language" else 0

    def _search(
        self, batch: list[list[int]], begun: list[list[int]], options: dict[str, Any]
    ) -> list[list[Hypothesis]]:
        written = len(begun[0])
        longest = room_for_answer(self.model, max(map(self._read, batch)), options["longest"])
        given_B = self._log_probability(batch, begun) if written else None
        first, decoder = self._start(batch, begun)
        rest = options | {"longest": max(1, longest - written)}
        found = search(decoder, first, **rest, given_B=given_B, written=written)
        return [
            [replace(each, ids=[*prefix, *each.ids]) for each in hypotheses]
            for prefix, hypotheses in zip(begun, found, strict=True)
        ]

    def _log_probability(self, sources: list[list[int]], written: list[list[int]]) -> Tensor:
        """Of what an encoder-decoder has written, all of one length, with START before it: (B,) in nats."""
        source_BM, lengths_B = self._padded(sources)
        target_BN = self._tensor([[START, *ids[:-1]] for ids in written])
        scores_BNV = all_numbers(self.model(source_BM, target_BN, lengths_B)).clone()
        written_BN1 = self._tensor(written)[..., None]
        # As in a search, some tokens are never written, but for what stands there.
        never = torch.zeros_like(scores_BNV, dtype=torch.bool)
        never[..., list(NEVER)] = True
        never.scatter_(-1, written_BN1, False)
        log_p_BNV = scores_BNV.masked_fill(never, -math.inf).log_softmax(-1)
        return log_p_BNV.gather(-1, written_BN1)[..., 0].sum(-1)

    def _draw(
        self,
        batch: list[list[int]],
        begun: list[list[int]],
        sampling: Sampling,
        longest: int,
        numbers: Sequence[int],
    ) -> list[Hypothesis]:
        most = room_for_answer(self.model, max(map(self._read, batch)), longest)
        first, decoder = self._start(batch, begun)
        drawn = list(sample(decoder, first, sampling, max(1, most - len(begun[0])), numbers))
        rows = torch.stack(drawn, dim=1).tolist()
        cut = [row[: row.index(END)] if END in row else row for row in rows]
        return [
            Hypothesis([*prefix, *ids], math.nan, math.nan, len(ids) < len(row))
            for prefix, ids, row in zip(begun, cut, rows, strict=True)
        ]

    def _classify(self, batch: list[list[int]]) -> list[list[Hypothesis]]:
        scores = all_numbers(self.model(*self._padded(batch))).log_softmax(-1)
        order = scores.sort(-1, descending=True)
        return [
            [Hypothesis([place], value, value) for value, place in zip(values, places, strict=True)]
            for values, places in zip(order.values.tolist(), order.indices.tolist(), strict=True)
        ]

    def _prediction(self, text: str, read: str, encoded: Encoded, hypotheses: list[Hypothesis]) -> Prediction:
        classes = self.saved.classes
        texts = [
            classes[each.ids[0]] if classes else self._spelled(text, encoded.ids, each.ids)
            for each in hypotheses
        ]
        best = hypotheses[0]
        written = [] if classes else best.ids
        return Prediction(
            text,
            texts[0],
            best.log_probability,
            encoded.ids,
            written,
            best.complete,
            [(other, each.log_probability) for other, each in zip(texts[1:], hypotheses[1:], strict=True)],
            best.score,
            unknown_of(read, encoded),
            beyond_window(self.model, 1 + len(encoded) + len(written)),
        )

    def _spelled(self, text: str, source_ids: list[int], ids: list[int]) -> str:
        """What was written, as text; of a language model with the space that parts it from its prompt."""
        if self.model.role != "language" or not source_ids:
            return self.saved.target.decode(ids)
        whole = self.saved.target.decode([*source_ids, *ids])
        written = whole.removeprefix(self.saved.target.decode(source_ids))
        # Tokens that are words know no spaces: one is put between any two, unless the prompt brings it along.
        spaced = self.saved.target.kind == "words" and text[-1:].isspace()
        return written.removeprefix(" ") if spaced else written

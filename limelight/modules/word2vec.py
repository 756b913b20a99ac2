"""Word2vec: one vector a word, learned from the words that stand near it, before any Transformer is trained.

Skip-gram with negative sampling (Mikolov et al. 2013, arXiv:1310.4546, equation 4): the vector of a word is
pulled towards the vectors of its neighbours in the text and pushed away from words drawn at random,

    log σ(v_neighbour · v_word) + Σ log σ(−v_random · v_word).

Training runs on gensim (`pip install 'limelight[train]'`); what comes out is a plain `WordVectors`, which
needs nothing of it.

    vectors = Word2vec(width=100).train(read_texts("books").values())
    vectors.nearest("king", 5)
    vectors.save("books.vec")
"""

from __future__ import annotations

import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from limelight.checked import checked, checked_class
from limelight.errors import ArgumentTypeError, InputError, TooLargeError, check_number, check_whole, require
from limelight.modules.word_vectors import WordVectors
from limelight.text.segmentation import words

__all__ = ["Word2vec", "WordVectors", "words_of"]

MOST = {"width": 100_000, "negative": 10_000, "workers": 1024}
"""More than these a setting may not be: nobody means it, and memory or time would run out."""
MOST_NUMBERS = 2**31
"""In the two tables that training holds: 8 GiB each."""
GENSIM_LONGEST = 10_000  # gensim drops what a sequence holds beyond this many words, without a word


@checked_class
@dataclass(frozen=True)
class Word2vec:
    """How to train: skip-gram with negative sampling. One worker and one seed give the same bits each time.

    - `width`: numbers in each vector.
    - `window`: neighbours up to this many words away on either side; the reach is drawn anew at each word.
    - `least`: words that occur less often than this are left out.
    - `negative`: random words for each pair of neighbours.
    - `epochs`: times through the text.
    - `subsample`: a word that makes up more than this share of the text is skipped now and then;
      0 skips none. Over a small alphabet (letters, sounds) every token is that frequent:
      use 0 there.
    - `learning_rate`: at the start; it falls in a straight line to almost zero.
    - `workers`: more than one is faster and no longer repeatable.
    """

    width: int = 100
    window: int = 5
    least: int = 5
    negative: int = 5
    epochs: int = 5
    subsample: float = 1e-3
    learning_rate: float = 0.025
    workers: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "window", "least", "negative", "epochs", "workers"):
            check_whole(f"Word2vec: {name}", getattr(self, name), 1, MOST.get(name, 10**9))
        check_whole("Word2vec: seed", self.seed, -(2**63), 2**64 - 1)
        check_number("Word2vec: subsample", self.subsample, 0, 1)
        check_number("Word2vec: learning_rate", self.learning_rate, 0, 1000)
        if self.learning_rate == 0:
            raise InputError("Word2vec: learning_rate must be above 0; got 0.")

    @checked
    def train(self, texts: Iterable[str], progress: Callable[[int, int], None] | None = None) -> WordVectors:
        """Vectors for the words of `texts`, as `words_of` cuts them. No neighbourhood crosses texts.

        `progress(done, epochs)` is called after every epoch.
        """
        if isinstance(texts, str):
            raise ArgumentTypeError("train takes several texts; got one str. Wrap it in a list: [text].")
        return self.train_on_tokens(map(words_of, texts), progress)

    @checked
    def train_on_tokens(
        self, sequences: Iterable[Sequence[str]], progress: Callable[[int, int], None] | None = None
    ) -> WordVectors:
        """Vectors for the tokens of `sequences`, taken as they are: the way to a subword model's table.

        `[tokenizer.token(id) for id in tokenizer.encode(text).ids]` makes one sequence.
        """
        pieces = [
            list(sequence[start : start + GENSIM_LONGEST])
            for sequence in map(_no_bare_text, sequences)
            for start in range(0, len(sequence), GENSIM_LONGEST)
        ]
        counts = Counter(word for piece in pieces for word in piece)
        if sum(count >= self.least for count in counts.values()) < 2:
            raise InputError(
                f"Word2vec needs two words or more that occur at least {self.least} times; "
                f"the text has {counts.total()} words, the most frequent one "
                f"{max(counts.values(), default=0)} times. "
                "Give more text, or lower `least`."
            )
        kept = sum(count >= self.least for count in counts.values())
        if kept * self.width > MOST_NUMBERS:
            raise TooLargeError(
                f"Word2vec holds a vector for each of {kept:,} words; at width {self.width:,} that is more than "
                f"{MOST_NUMBERS:,} numbers. Make the vectors narrower, or raise `least`."
            )
        return _train_with_gensim(self, pieces, counts.total(), progress)


def words_of(text: str) -> list[str]:
    """The words of a text by the rules of `limelight.text.segmentation`, in small letters and the normal form NFC.

    Punctuation, symbols and emoji are left out. Where a letter is written does not matter, nor whether its accent is
    a character of its own: one word has one vector. Every Chinese character and every kana is a word.

    >>> words_of("Élève préféré, 東京!") == words_of("E\u0301le\u0300ve PRÉFÉRÉ 東京")
    True
    """
    if not isinstance(text, str):
        raise ArgumentTypeError(f"A text must be a str; got {type(text).__name__}.")
    text = unicodedata.normalize("NFC", text.lower())
    pieces = (text[start:end] for start, end in words(text))
    return [piece for piece in pieces if any(map(str.isalnum, piece))]


def _no_bare_text(sequence: Sequence[str]) -> Sequence[str]:
    if isinstance(sequence, str):
        raise ArgumentTypeError(
            "train_on_tokens takes lists of tokens; got a text. Use train(texts) for texts."
        )
    if not isinstance(sequence, Sequence) or not all(isinstance(token, str) for token in sequence):
        raise ArgumentTypeError(
            f"train_on_tokens takes lists of tokens, each a str; got {reprlib.repr(sequence)}."
        )
    return sequence


def _train_with_gensim(
    settings: Word2vec,
    pieces: list[list[str]],
    words: int,
    progress: Callable[[int, int], None] | None,
) -> WordVectors:
    gensim = require("gensim.models.word2vec", extra="train", purpose="Training Word2vec")
    callbacks = require("gensim.models.callbacks", extra="train", purpose="Training Word2vec")

    class AfterEpoch(callbacks.CallbackAny2Vec):  # type: ignore[name-defined]
        done = 0

        def on_epoch_end(self, model: object) -> None:
            self.done += 1
            if progress is not None:
                progress(self.done, settings.epochs)

    trained = gensim.Word2Vec(
        pieces,
        sg=1,
        hs=0,
        vector_size=settings.width,
        window=min(settings.window, GENSIM_LONGEST),  # no sequence is longer
        min_count=settings.least,
        negative=settings.negative,
        epochs=settings.epochs,
        sample=settings.subsample,
        alpha=settings.learning_rate,
        workers=settings.workers,
        seed=settings.seed % 2**32,  # what its generator takes
        # The learning rate falls once a batch: small texts need small batches to see it fall.
        batch_words=min(GENSIM_LONGEST, max(1, words // 20)),
        callbacks=[AfterEpoch()],
    ).wv
    return WordVectors(tuple(trained.index_to_key), torch.tensor(trained.vectors))

"""How right are word links, judged by those that people set? Precision, recall and alignment error rate.

People have linked phrases (experiments/data/bibles.py). In words that is:

    sure      one word and one word, linked to each other and to nothing else
    possible  every word of a phrase and every word of the phrase that it is linked to

With the links A that a method makes for the words that people say something of, Och and Ney (2003, "A Systematic
Comparison of Various Statistical Alignment Models", equations 22 to 24) define

    precision = |A ∩ possible| / |A|        recall = |A ∩ sure| / |sure|
    alignment error rate = 1 - (|A ∩ sure| + |A ∩ possible|) / (|A| + |sure|)

The Spanish editor put articles and prepositions into the phrase of their noun (`los cielos`), the English one did
not (the `heaven`). So nothing is known of a link from a word of a phrase of several words to a word in no phrase
(`los` to `the`): it counts neither for nor against.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.data.bibles import LinkedVerse, Phrase, Verse
from limelight.text.segmentation import Span

Link = tuple[int, int]
"""(target word, source word), by their numbers."""


@dataclass(frozen=True)
class Gold:
    """What people say of the words of one verse.

    judged  the target words that they say something of: those of linked phrases
    untold  links of which nothing is known
    """

    sure: frozenset[Link]
    possible: frozenset[Link]
    judged: frozenset[int]
    untold: frozenset[Link]


@dataclass(frozen=True)
class Score:
    """Counts over any number of verses; scores of several add up."""

    links: int = 0
    in_sure: int = 0
    in_possible: int = 0
    sure: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.links + other.links,
            self.in_sure + other.in_sure,
            self.in_possible + other.in_possible,
            self.sure + other.sure,
        )

    @property
    def precision(self) -> float:
        return self.in_possible / max(self.links, 1)

    @property
    def recall(self) -> float:
        return self.in_sure / max(self.sure, 1)

    @property
    def error_rate(self) -> float:
        return 1 - (self.in_sure + self.in_possible) / max(self.links + self.sure, 1)

    def to_json(self) -> dict[str, float]:
        """Plain values for `json.dumps`: the counts, and the three measures."""
        measures = {"precision": self.precision, "recall": self.recall, "error rate": self.error_rate}
        return {"links": self.links, "sure": self.sure} | measures


def gold(verse: LinkedVerse, target_words: Sequence[Span], source_words: Sequence[Span]) -> Gold:
    """What people say of these words, given as the characters that they stand at."""
    targets = [_inside(phrase, target_words, verse.target) for phrase in verse.target.phrases]
    sources = [_inside(phrase, source_words, verse.source) for phrase in verse.source.phrases]
    of_source, of_target = (Counter(link[side] for link in verse.links) for side in (0, 1))
    sure, possible, judged = set(), set(), set()
    untold: set[Link] = set()
    in_phrases = {word for words in sources for word in words}
    outside = [number for number in range(len(source_words)) if number not in in_phrases]
    for source, target in verse.links:
        pairs = {(t, s) for t in targets[target] for s in sources[source]}
        possible |= pairs
        judged |= set(targets[target])
        if len(pairs) == 1 == of_source[source] == of_target[target]:
            sure |= pairs
        if len(targets[target]) > 1:
            untold |= {(t, s) for t in targets[target] for s in outside}
    return Gold(frozenset(sure), frozenset(possible), frozenset(judged), frozenset(untold))


def score(links: Iterable[Link], verse: Gold) -> Score:
    """How right these links of one verse are; those of words that nobody says anything of do not count."""
    made = {link for link in links if link[0] in verse.judged} - verse.untold
    return Score(len(made), len(made & verse.sure), len(made & verse.possible), len(verse.sure))


def _inside(phrase: Phrase, words: Sequence[Span], verse: Verse) -> list[int]:
    """The words within a phrase; punctuation is none."""
    return [
        number
        for number, (start, end) in enumerate(words)
        if phrase.start <= start
        and end <= phrase.end
        and any(sign.isalnum() for sign in verse.text[start:end])
    ]

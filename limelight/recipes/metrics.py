"""What a task is judged by. Error rates and accuracies are shares, 0 … 1; BLEU and chrF are 0 … 100."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from limelight.errors import InputError, require


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions that turn one row of symbols into the other.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def references_of(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Every right answer for each source: a word may have several pronunciations.

    >>> references_of([("read", "R IY D"), ("read", "R EH D")])
    {'read': ['R IY D', 'R EH D']}
    """
    found: dict[str, list[str]] = defaultdict(list)
    for source, target in rows:
        found[source].append(target)
    return dict(found)


def pronunciation_errors(answers: Sequence[str], references: Sequence[list[str]]) -> tuple[float, float]:
    """(word error rate, phoneme error rate) against the nearest of each word's pronunciations.

    WER is the share of words with no reference that is equal; PER the edit distance in phones to the nearest
    reference, over the phones of those references.
    """
    _same_number(answers, references)
    wrong, edits, phones = 0, 0, 0
    for answer, rights in zip(answers, references, strict=True):
        distance, length = min(
            (edit_distance(answer.split(), right.split()), len(right.split())) for right in rights
        )
        wrong += distance > 0
        edits += distance
        phones += length
    return wrong / len(answers), edits / max(phones, 1)


def bleu(answers: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU as sacrebleu computes it with its default settings."""
    _same_number(answers, references)
    return float(_sacrebleu().corpus_bleu(list(answers), [list(references)]).score)


def bleu_chance(answers: Sequence[str], references: Sequence[str], draws: int = 1000) -> float:
    """How far BLEU would move with other sentences of the same kind: half the width of its 95% interval.

    The interval is that of so many draws of the sentences with replacement (Koehn 2004, "Statistical Significance
    Tests for Machine Translation Evaluation", §4), the same ones in every call.
    """
    _same_number(answers, references)
    metric = _sacrebleu().BLEU()
    drawn = metric.corpus_score(list(answers), [list(references)], n_bootstrap=draws)
    told = json.loads(drawn.format(signature=str(metric.get_signature()), width=6, is_json=True))
    return float(told.get("confidence_var", 0.0))  # none where no draw has a match


def chrf(answers: Sequence[str], references: Sequence[str]) -> float:
    """Corpus chrF (character n-gram F-score) as sacrebleu computes it."""
    _same_number(answers, references)
    return float(_sacrebleu().corpus_chrf(list(answers), [list(references)]).score)


def accuracy(answers: Sequence[str], references: Sequence[str]) -> float:
    """The share of equal answers."""
    _same_number(answers, references)
    return sum(answer == right for answer, right in zip(answers, references, strict=True)) / len(answers)


def macro_f1(answers: Sequence[str], references: Sequence[str]) -> float:
    """The mean over the classes of the references of 2·hits / (predicted + actual)."""
    _same_number(answers, references)
    hits = Counter(right for answer, right in zip(answers, references, strict=True) if answer == right)
    named, actual = Counter(answers), Counter(references)
    return sum(2 * hits[kind] / (named[kind] + actual[kind]) for kind in actual) / len(actual)


def _same_number(answers: Sequence[str], references: Sequence[object]) -> None:
    if not answers or len(answers) != len(references):
        raise InputError(
            f"A measure needs one answer for each reference, and at least one; got {len(answers)} answers "
            f"and {len(references)} references."
        )


def _sacrebleu():  # type: ignore[no-untyped-def]
    return require("sacrebleu", extra="train", purpose="BLEU and chrF")

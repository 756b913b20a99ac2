"""What the words alone say of a text's class, without a network: the least that a classifier should beat.

Logistic regression on the TF-IDF of words and of pairs of words, as scikit-learn has it. It knows no order beyond
pairs, learns from the labels alone, and was not searched for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from limelight.errors import require
from limelight.recipes.task import Rows

STRENGTH = 30.0
"""The inverse of the regularisation: words are many and seldom, so each must be allowed to count."""
ROUNDS = 1000


@dataclass(frozen=True)
class Answers:
    """What it answers, and the processor seconds of its training."""

    classes: list[str]
    seconds: float


def answers(given: Rows, texts: list[str]) -> Answers:
    """Learn from labelled rows, and name the class of each text. Raises MissingExtraError without
    scikit-learn."""
    features: Any = require(
        "sklearn.feature_extraction.text", extra="compare", purpose="A classifier without a network"
    )
    linear: Any = require("sklearn.linear_model", extra="compare", purpose="A classifier without a network")
    start = time.process_time()
    counted = features.TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    known = counted.fit_transform([text for text, _ in given])
    model = linear.LogisticRegression(C=STRENGTH, max_iter=ROUNDS)
    model.fit(known, [label for _, label in given])
    spent = time.process_time() - start
    return Answers([str(each) for each in model.predict(counted.transform(texts))], spent)

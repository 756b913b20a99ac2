"""Readings: labelled numbers out of attention matrices.

reading.py          Reading: values, their axes, their unit, how they were made; tabular.py: as pandas, CSV, JSON
token_groups.py     Groups: which word (or sentence, document) every token of an axis belongs to
words.py            AttentionMatrix → Reading: attention between words, what words receive
documents.py        which document, sentence and word was looked at
unit_membership.py  where tokens count: in a word, a sentence, a document that is ranked, or elsewhere
row_attention.py    what some rows of a matrix give to its keys
head_patterns.py    the share of attention that falls on a pattern: previous token, same token, first token
padding.py          which tokens are padding, and where texts begin
atlas.py            what kind of reader each head is
alignment.py        cross-attention → which source words each target word attends to
alignment_heads.py  which heads align: chosen by the words that stand on both sides
rollout.py          Rollout → Reading: what words hold of each other through all layers
render/             Readings in the terminal (rich) and as figures (matplotlib)
"""

from __future__ import annotations

from limelight.readings.alignment import Alignment, Link, alignment
from limelight.readings.alignment_heads import (
    AlignmentHeads,
    Example,
    choose_heads,
    shared_words,
)
from limelight.readings.reading import Entry, Head, Reading, name_heads, visible
from limelight.readings.rollout import word_rollout
from limelight.readings.token_groups import Groups
from limelight.readings.words import (
    ReceivedWords,
    average_heads,
    received_words,
    word_attention,
)

__all__ = [
    "Alignment",
    "AlignmentHeads",
    "Entry",
    "Example",
    "Groups",
    "Head",
    "Link",
    "Reading",
    "ReceivedWords",
    "alignment",
    "average_heads",
    "choose_heads",
    "name_heads",
    "received_words",
    "shared_words",
    "visible",
    "word_attention",
    "word_rollout",
]

"""What people read: attention matrices → words, alignments, ranks, pictures.

reading.py    Reading: values, their axes, their unit, how they were made
groups.py     Groups: which word (or sentence, document) every token of an axis belongs to
measures.py   AttentionMatrix → Reading: attention between words, what words receive
documents.py  which document, sentence and word was looked at; ranked.py, rows.py, shares.py beside it
removal.py    close a part of the text to everybody, and see how far the output moves
atlas.py      what kind of reader each head is          atlas_shown.py  in the terminal and as a picture
alignment.py  cross-attention → which source words each target word attends to
heads.py      which heads align: chosen by the words that stand on both sides
rollout.py    Rollout → Reading: what words hold of each other through all layers
pictures.py   Reading → figure (matplotlib)        stage_pictures.py, curve_pictures.py  the stages of the process
document_pictures.py  documents, sentences and words as bars
canvas.py     what all pictures stand on: sizes, fonts, `save` to PNG, SVG, PDF; colours.py: their one ramp
tables.py     Reading → pandas, CSV, JSON, Parquet, NumPy
terminal.py   Reading → the terminal (rich)
"""

from __future__ import annotations

from limelight.readings.alignment import Alignment, Link, alignment
from limelight.readings.groups import Groups
from limelight.readings.heads import AlignmentHeads, Example, choose_heads, shared_words
from limelight.readings.measures import ReceivedWords, average_heads, received_words, word_attention
from limelight.readings.reading import Entry, Head, Reading, name_heads, visible
from limelight.readings.rollout import word_rollout

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

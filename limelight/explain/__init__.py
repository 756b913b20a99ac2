"""`limelight explain`: what happens between a text and its answer, stage by stage, each with one check.

api.py               explain_text: all stages in order
explanation.py       what it returns: Explanation, Stage, Numbers, Check
stages/              the stages, one file a group, in the order of the process
recorded_forward.py  the model's own forward, recorded      reference_model.py  the same in float64, from weights
paired_run.py        one text through both                  selection.py        which token, layer, head and step
attention_view.py    one query and head, in both runs       formulas.py         positions, masks, activations
tables.py            numbers in the forms stages share      captions.py         shapes and checks in words
render/              as text in the terminal, and as one HTML page that runs no script
"""

from __future__ import annotations

from limelight.explain.api import explain_text
from limelight.explain.explanation import Check, Explanation, Numbers, Stage

__all__ = ["Check", "Explanation", "Numbers", "Stage", "explain_text"]

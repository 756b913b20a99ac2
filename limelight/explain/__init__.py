"""`limelight explain`: what happens between a text and its answer, stage by stage, each with one check.

explanation.py  what it hands back: Explanation, Stage, Numbers, Check
live.py         the model's own forward, watched            plain.py    the same in float64, from the weights
walk.py         one text through both                       choice.py   which token, layer, head and step
inputs.py, heads.py, turns.py, weights.py, layers.py, answers.py, removal.py, beyond.py
                the stages, in the order of the process; stages.py has all of them in order: `explain_text`
view.py         one attention, query and head, in both runs formulas.py positions, masks, activations in float64
drawn.py        numbers in the forms that stages share      wording.py  shapes and checks in words
terminal.py     for the terminal, by letters.py             page.py     one offline HTML page, by figures.py
"""

from __future__ import annotations

from limelight.explain.api import explain_text
from limelight.explain.explanation import Check, Explanation, Numbers, Stage

__all__ = ["Check", "Explanation", "Numbers", "Stage", "explain_text"]

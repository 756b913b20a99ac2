"""Attention that a model computes in plain operations, followed from Q·Kᵀ to weights·V without running it again.

tape.py           notes what happens between the two products, as a mode; module_tape.py: in one module
matmuls.py        the two products, as torch functions say them      scores.py   what is known of a tensor of scores
score_ops.py      what may be done to scores; shape_ops.py: to their shape; weight_ops.py: to weights after softmax
axis_origins.py   what the axes of tensors count                     torch_ops.py  torch functions by what they do
head_mixing.py    heads that are mixed                               relative_lookups.py  DeBERTa's additions
to_inputs.py      scores in the words of AttentionMatrix            reasons.py  why something was missed, in words
"""

"""The stages of the process, in its order, each with its formula, shapes, numbers and one check.

embedding.py  text → tokens → embeddings → positions     query_key.py      Q, K, V → heads → scores → scale → mask
positional.py rotary turns, ALiBi                        softmax_value.py  softmax → weights · V → heads joined
sublayers.py  Wo, residual, norm, feed-forward           output.py         scores → probabilities → the answer
ablation.py   one token masked from everybody            path_length_and_fused.py  two last comparisons
"""

"""Families of models that compute attention in plain operations, outside transformers' attention interface.

A family is a row of `registry.py`: which module computes the attention, and how it is followed there. Most are
followed by the tape of op_tracing/; those whose scores are no plain product have a small file of their own. The model
is not changed.
"""

"""Text in, answer out, with the attention behind it.

predictor.py  Predictor: a trained model, ready to answer          prediction.py  what it returns
decoders.py   a model that writes one token at a time               search.py      beam search; sampling.py: sampling
limits.py     what a model can read and write at most
"""

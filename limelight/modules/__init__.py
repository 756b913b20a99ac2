"""The modules of the process, in the order in which data meets them.

embeddings.py   a learned vector a token          positions.py    sinusoidal, learned, rotary, ALiBi
attention.py    multi-head attention              transformer.py  encoder, decoder, encoder-decoder from one block
recurrent.py    recurrent networks with the same interface; recurrent_attention.py: their attention
word2vec.py     Word2vec; word_vectors.py: words and their vectors      model_io.py  a model's folder
"""

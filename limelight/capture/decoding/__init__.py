"""The steps of a decoder that writes token by token, joined to one matrix.

joined_steps.py    the calls of one attention that belong to one text, as one call
open_sequences.py  all texts that one attention is writing, and which of them a call goes on with
caches.py          the cache of the running call, and how much of the text it says it holds
unused_cache.py    memory of a static cache that no key was written to yet
segmented_mask.py  one mask made of the masks of several steps
"""

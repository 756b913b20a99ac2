"""Steps of a decoder: the cache that they are computed with, the room in it, and the texts that they belong to.

caches.py   the cache of the running call, and how much of the text it says that it holds
room.py     keys behind the text, for which a static cache has memory
strands.py  all texts that one attention is writing, and which of them a step goes on with
"""

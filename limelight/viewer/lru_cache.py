"""An LRU cache of answers, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

BYTES = 2**28


class Cache:
    """Key → envelope, at most `limit` bytes of envelopes.

    >>> cache = Cache(limit=3)
    >>> cache.put("a", b"12"); cache.put("b", b"34")
    >>> cache.get("a"), cache.get("b"), cache.bytes
    (None, b'34', 2)
    """

    def __init__(self, limit: int = BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, answer: bytes) -> None:
        with self._lock:
            self.bytes -= len(self._kept.pop(key, b""))
            if len(answer) > self.limit:
                return
            self._kept[key] = answer
            self.bytes += len(answer)
            while self.bytes > self.limit:
                _, gone = self._kept.popitem(last=False)
                self.bytes -= len(gone)

"""What the latest queries found, whoever asked: most searches of a shop, and every further page, were asked before.

A snapshot and an index do not change, so neither do a query's candidates, what its words say about their titles, and
where those words stand in them. Who asks and what was taken since comes in each time.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from services.search.ranking import WordFeatures
from services.search.retrieval import Retrieved

EACH = 4_096
"""Bytes of a query beside its arrays: words, titles with marks."""
LARGEST = 1 / 64
"""A query that takes more than this share of the room is not kept."""


@dataclass(frozen=True)
class KeptQuery:
    """What a query `found`; `features`: of the query and its candidates alone, by what was wanted; `titles`: of shown
    items with the words found marked, by snapshot index."""

    found: Retrieved
    features: WordFeatures = field(default_factory=dict)
    titles: dict[int, str] = field(default_factory=dict)


class KeptQueries:
    """The latest queries, in about `room` bytes. Safe for several threads."""

    def __init__(self, room: int, bytes_per_candidate: int) -> None:
        self._room, self._each = room, bytes_per_candidate
        self._kept: OrderedDict[Hashable, tuple[KeptQuery, int]] = OrderedDict()
        self._taken = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, find: Callable[[], Retrieved]) -> KeptQuery:
        """The query kept under a key, else what `find` finds."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        query = KeptQuery(find())
        size = EACH + self._each * len(query.found.candidates) + query.found.nbytes
        if size <= LARGEST * self._room:
            self._keep(key, query, size)
        return query

    def _keep(self, key: Hashable, query: KeptQuery, size: int) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = query, size
            self._taken += size
            while self._taken > self._room:
                self._taken -= self._kept.popitem(last=False)[1][1]

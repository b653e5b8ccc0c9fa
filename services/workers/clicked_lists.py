"""Lists to learn search from, of the searches that led to something."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine

from feature_repo import names
from services.core.clock import utc_now
from services.core.errors import NotReady
from services.db.query_feedback import WEIGHTS
from services.db.search_lists import shown_searches
from services.db.session import transaction
from services.features.portrait import Portrait, unpack
from services.features.served_lists import PORTRAIT
from services.features.snapshot import ItemSnapshot
from services.profiles.reference_store import load_reference
from services.registry.manifest import DataRange
from services.search.features import FEATURES
from services.search.query_memory import BoundMemory, QueryMemory
from services.search.ranker import untrained_vector
from services.search.taught_lists import ShownSearch, taught_lists
from services.workers.search_shop import SearchShop

if TYPE_CHECKING:
    from services.features.offline.reader import OfflineReader

CLICKS = "clicks"
SINCE = timedelta(days=90)
MOST_SEARCHES, MOST_LISTS, OTHERS = 100_000, 10_000, 20
"""Searches that tell how places are examined; of these, lists that teach; candidates in each that were not shown."""
ONLINE = timedelta(minutes=1)
"""How long before a search its portrait was stored at the latest: what came later the request may not have read."""


def clicked_lists(
    publish: Any, shop: SearchShop, engine: Engine, history: Callable[[], "OfflineReader"], seed: int
) -> Any:
    """The lists of the searches that led to something. The older half of them makes the memory that the newer half is
    ranked with: a click must not be explained by itself."""
    now = utc_now()
    with transaction(engine) as connection:
        prior = load_reference(connection).examination
        searches = shown_searches(connection, now - SINCE, now, now, MOST_SEARCHES)
    if not searches.num_rows:
        raise NotReady("Nobody has searched yet: searches and the clicks that name them teach the ranker")
    seen = SeenResults.of(searches, shop.snapshot)
    led = np.flatnonzero(np.bincount(seen.search[seen.clicked], minlength=searches.num_rows) > 0)
    older, newer = led[: len(led) // 2], led[len(led) // 2 :][-MOST_LISTS:]
    pipeline = shop.pipeline.with_memory(BoundMemory(memory_of(searches.take(pa.array(older))), shop.snapshot))
    taught = searches.take(pa.array(newer))
    rows = [seen.rows_of(search) for search in newer.tolist()]
    portraits = portraits_at(taught, history) if taught.num_rows else []
    moments = [moment.timestamp() for moment in taught["timestamp"].to_pylist()]
    queries = taught["query"].to_pylist()
    vectors = shop.vectors_of(pipeline, queries)
    items = [seen.item[each] for each in rows]
    asked = [ShownSearch(*each) for each in zip(queries, items, moments, vectors, portraits, strict=True)]
    made = taught_lists(pipeline, shop.terms, asked, others=OTHERS, seed=seed)
    owner = np.repeat(np.arange(len(rows)), np.diff(made.starts))
    row = np.full(len(made.place), -1, np.int64)
    shown = made.place >= 0
    first = np.cumsum([0, *(len(each) for each in rows[:-1])]) if rows else np.zeros(0, np.int64)
    flat = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    row[shown] = flat[first[owner[shown]] + made.place[shown]]
    results = publish.ShownResults(seen.pair, seen.position, seen.clicked)
    graded = publish.lists_of_clicks(made.features, made.starts, row, results, prior)
    users = [user for user in taught["user_id"].to_pylist() if user is not None]
    data = DataRange(
        events=int(seen.clicked.sum()),
        users=len(set(users)),
        items=len(np.unique(seen.item)),
        first=searches["timestamp"][0].as_py().isoformat(),
        last=searches["timestamp"][-1].as_py().isoformat(),
        target="click",
        digest=publish.digest_of(graded),
    )
    query = taught["normalised"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    texts = pair_texts(publish, shop, made.searched, made.item)
    return publish.SearchData(CLICKS, graded, query, FEATURES, untrained_vector(), data, texts)


def pair_texts(publish: Any, shop: SearchShop, searched: list[str], item: NDArray[np.int32]) -> Any:
    """What a cross-encoder reads of lists: what is searched for in each, and the title of each row's item."""
    distinct, title = np.unique(item, return_inverse=True)
    return publish.PairTexts(searched, shop.snapshot.titles.take(distinct), title.astype(np.int64))


@dataclass(frozen=True)
class SeenResults:
    """Everything that the searches showed, in their order: `search`, `item` (indices of the snapshot; what the shop has
    no more is left out), `pair`: which query × item, `position`, `clicked`: whether anything came of it."""

    search: NDArray[np.int64]
    item: NDArray[np.int32]
    pair: NDArray[np.int64]
    position: NDArray[np.int64]
    clicked: NDArray[np.bool_]

    @classmethod
    def of(cls, searches: pa.Table, snapshot: ItemSnapshot) -> "SeenResults":
        search, item = _exploded(searches["item_ids"], snapshot)
        position = searches["positions"].combine_chunks().flatten().to_numpy().astype(np.int64)
        taken_search, taken = _exploded(searches["taken_items"], snapshot)
        size = np.int64(max(snapshot.count, 1))
        clicked = np.isin(search * size + item, taken_search[taken >= 0] * size + taken[taken >= 0])
        known = item >= 0
        query = searches["normalised"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        _, once = np.unique((search * size + item)[known], return_index=True)
        kept = np.sort(np.flatnonzero(known)[once])
        pair = np.unique(query[search[kept]] * size + item[kept], return_inverse=True)[1]
        return cls(search[kept], item[kept].astype(np.int32), pair.astype(np.int64), position[kept], clicked[kept])

    def rows_of(self, search: int) -> NDArray[np.int64]:
        """The rows of one search, in their order."""
        first, last = np.searchsorted(self.search, (search, search + 1))
        return np.arange(first, last)


def _exploded(lists: pa.ChunkedArray, snapshot: ItemSnapshot) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(which list, index of the item in the snapshot or −1) of each element."""
    whole = lists.combine_chunks()
    owner = np.repeat(np.arange(len(whole)), np.diff(whole.offsets.to_numpy()))
    return owner, snapshot.indices(whole.flatten().to_pylist()).astype(np.int64)


def memory_of(searches: pa.Table) -> QueryMemory:
    """What people took after these searches, as `services.db.query_feedback` weighs it, without fading."""
    taken = searches["taken_items"].combine_chunks()
    owner = np.repeat(np.arange(len(taken)), np.diff(taken.offsets.to_numpy()))
    weight = [WEIGHTS[kind] for kind in searches["taken_types"].combine_chunks().flatten().to_pylist()]
    rows = pa.table(
        {
            "query": searches["normalised"].take(pa.array(owner)),
            "item_id": taken.flatten(),
            "weight": pa.array(weight, pa.float64()),
        }
    )
    return QueryMemory.of(
        rows.group_by(["query", "item_id"]).aggregate([("weight", "sum")]).rename_columns({"weight_sum": "weight"})
    )


def portraits_at(searches: pa.Table, history: Callable[[], "OfflineReader"]) -> list[Portrait | None]:
    """The portrait of who asked, as the offline store's point-in-time join knows it a minute before the search."""
    named = np.flatnonzero(searches["user_id"].is_valid().to_numpy())
    found: list[Portrait | None] = [None] * searches.num_rows
    if not named.size:
        return found
    asked = searches.select(["user_id", "timestamp"]).take(pa.array(named))
    moments = [moment - ONLINE for moment in asked["timestamp"].to_pylist()]
    entities = pa.table(
        {names.USER_ID: asked["user_id"], names.EVENT_TIMESTAMP: pa.array(moments, pa.timestamp("us", "UTC"))}
    )
    packed = history().historical(entities, names.RETRIEVAL_SERVICE)[PORTRAIT].to_pylist()
    for place, portrait in zip(named.tolist(), packed, strict=True):
        found[place] = None if portrait is None else unpack(portrait)
    return found

"""A shop of judged products, as search would serve it: snapshot, search index, vectors of products and queries."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.names import ENGAGEMENT_FEATURES
from services.cli.offline_data import text_vectors
from services.core.clock import utc_now
from services.core.settings import Settings
from services.encoders.text import load_text_encoder
from services.features import snapshot_build
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_tables import SnapshotTables
from services.search.index import build
from services.search.index.search_index import SearchIndex
from services.search.item_terms import ItemTerms
from services.search.item_terms_build import build_item_terms
from services.search.judged import ResultList, read_queries, searched_texts
from services.search.pipeline import SearchPipeline


class Judgements(Protocol):
    """What is needed of `training.search_judgements.Judgements`."""

    @property
    def queries(self) -> list[str]: ...

    @property
    def items(self) -> pl.DataFrame: ...

    @property
    def item(self) -> NDArray[np.int64]: ...

    @property
    def starts(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class SearchShop:
    """`rows` int32 (items,): the snapshot's index of each judged product. `encodes`: its products have vectors."""

    pipeline: SearchPipeline
    terms: ItemTerms
    rows: NDArray[np.int32]
    encodes: bool


def search_shop(judgements: Judgements, settings: Settings, *, encode: bool = True) -> SearchShop:
    """The shop whose catalogue is the judged products. `encode`: with the configured text encoder."""
    items = catalogue_of(judgements.items)
    vectors, space = text_vectors(items, settings) if encode else (np.zeros((len(items), 1), np.float32), "")
    with tempfile.TemporaryDirectory(prefix="portrait-search-") as folder:
        pipeline = open_search(items, vectors, space, Path(folder))
    terms = build_item_terms(pipeline.snapshot.titles, pipeline.index.analyser)
    rows = pipeline.snapshot.indices(judgements.items["item_id"].to_list())
    return SearchShop(pipeline, terms, rows, encode)


def open_search(items: pl.DataFrame, vectors: NDArray[np.float32], space: str, folder: Path) -> SearchPipeline:
    """Snapshot and search index of a catalogue without events, built in `folder`, which may go once they are open."""
    table = items.to_arrow(compat_level=pl.CompatLevel.oldest())
    ids = items["item_id"].to_list()
    none = pa.array([], pa.string())
    engagement = {name: pa.nulls(len(ids), pa.float32()) for name in ENGAGEMENT_FEATURES}
    known = np.linalg.norm(vectors, axis=1) > 0
    held = np.flatnonzero(known).tolist()
    tables = SnapshotTables(
        items=table,
        engagement=pa.table({"item_id": pa.array(ids, pa.string()), **engagement}),
        vectors=pa.table(
            {
                "item_id": pa.array([ids[row] for row in held], pa.string()),
                "space": pa.array([space] * len(held), pa.string()),
                "vector": pa.array([vectors[row].astype("<f4").tobytes() for row in held], pa.binary()),
            }
        ),
        co_engagement=pa.table({"item_id": none, "neighbour_id": none, "score": pa.array([], pa.float32())}),
    )
    now = utc_now()
    version = snapshot_build.build_snapshot(tables, folder / "snapshots", now=now)
    snapshot = ItemSnapshot.open(folder / "snapshots" / version)
    snapshot.warm()
    index = SearchIndex.open(folder / "search" / build.build_index(table, folder / "search", now=now))
    return SearchPipeline(snapshot, index)


def catalogue_of(items: pl.DataFrame) -> pl.DataFrame:
    """The judged products in the catalogue's columns, ascending by id."""

    def text(name: str) -> pl.Expr:
        return pl.col(name) if name in items.columns else pl.lit(None, pl.String).alias(name)

    categories = pl.col("categories").str.split(">").list.eval(pl.element().str.strip_chars())
    return items.select(
        "item_id",
        text("title").fill_null(""),
        text("description"),
        text("brand"),
        (categories if "categories" in items.columns else pl.lit([], pl.List(pl.String))).alias("categories"),
        price=pl.lit(None, pl.Float64),
        currency=pl.lit(None, pl.String),
        attributes=pl.lit("{}"),
        available=pl.lit(True),
        published_at=pl.lit(None, pl.Datetime("us", "UTC")),
    ).sort("item_id")


def query_vectors(queries: Sequence[str], settings: Settings) -> NDArray[np.float32]:
    """float32 (queries, D), from the cache where they were made before."""
    encoder = load_text_encoder(settings.text_encoder, settings.device)
    digest = hashlib.blake2b("\0".join([encoder.version, *queries]).encode("utf-8", "surrogatepass"), digest_size=16)
    cached = settings.home / "cache" / f"queries-{digest.hexdigest()}.npy"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        temporary = cached.with_suffix(".tmp.npy")
        np.save(temporary, encoder.encode(queries, purpose="query"))
        temporary.rename(cached)
    return np.load(cached)


def result_lists(
    judgements: Judgements,
    shop: SearchShop,
    settings: Settings,
    queries: Sequence[str] | None = None,
    *,
    correct: bool = True,
) -> list[ResultList]:
    """The judged products of each query, with the vector of what is searched for. `queries` asks other words for the
    same lists (misspelt ones)."""
    asked = judgements.queries if queries is None else queries
    vectors: Sequence[NDArray[np.float32] | None] = [None] * len(asked)
    if shop.encodes:
        understood = read_queries(shop.pipeline, asked, correct=correct)
        vectors = query_vectors(searched_texts(asked, understood), settings)  # type: ignore[assignment] - rows of an array are arrays
    bounds = judgements.starts.tolist()
    items = (shop.rows[judgements.item[first:last]] for first, last in pairwise(bounds))
    return [ResultList(*each) for each in zip(asked, items, vectors, strict=True)]

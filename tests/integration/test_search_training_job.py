"""The job that trains the search ranker from the database's clicks, and the gateway's search that takes it up."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from feature_repo.names import ENGAGEMENT_FEATURES
from services.core.addresses import Addresses
from services.core.errors import InvalidInput, NotReady
from services.core.metrics import ServingMetrics
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.events import insert_events
from services.db.impressions import ServedList, insert_impressions
from services.db.items import read_items, upsert_items
from services.db.search_lists import shown_searches
from services.db.searches import AnsweredSearch
from services.db.session import make_engine, transaction
from services.features import snapshot_build
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.features.snapshot_tables import SnapshotTables
from services.registry.search_artefact import RANKER
from services.registry.storage import open_search_registry
from services.search.result import Mode
from services.serve.search_request import WireSearch
from services.serve.search_serving import SearchFiles, Searching
from services.workers.handlers import Handlers
from services.workers.search_index import bring_index

NOW = datetime.now(UTC)
THINGS = ("lamp", "sofa", "desk", "rug", "vase", "stool")
KINDS = ("brass", "oak", "green", "small", "plain", "blue", "old", "new", "deluxe", "round")
SHOWN, SEARCHES = 8, 720


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url)
    with transaction(made) as connection:
        connection.execute(
            text(
                "TRUNCATE events, event_keys, items, impressions, searches, query_statistics, query_items, users, "
                "checkpoints"
            )
        )
    yield made
    made.dispose()


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Handlers:
    """A shop of sixty things with an index and a snapshot, and the handlers of its workers."""
    items = [(f"{thing}-{kind}", f"{kind} {thing}") for thing in THINGS for kind in KINDS]
    with transaction(engine) as connection:
        upsert_items(connection, pa.table({"item_id": [i for i, _ in items], "title": [t for _, t in items]}))
        rows = read_items(connection)
    paths = HomePaths(tmp_path)
    bring_index(engine, paths.search, "english")
    ids = rows["item_id"].to_pylist()
    none = {name: pa.nulls(len(ids), pa.float32()) for name in ENGAGEMENT_FEATURES}
    text_type, empty = pa.string(), pa.array([], pa.string())
    tables = SnapshotTables(
        items=rows,
        engagement=pa.table({"item_id": pa.array(ids, text_type), **none}),
        vectors=pa.table({"item_id": empty, "space": empty, "vector": pa.array([], pa.binary())}),
        co_engagement=pa.table({"item_id": empty, "neighbour_id": empty, "score": pa.array([], pa.float32())}),
    )
    snapshot_build.publish(paths.snapshots, snapshot_build.build_snapshot(tables, paths.snapshots, now=NOW))
    encoders = SimpleNamespace(space="", text=SimpleNamespace(version="none"))
    settings = Settings(home=tmp_path, mlflow_tracking_uri="none")
    stores = SimpleNamespace(reader=SimpleNamespace(historical=nobody))
    context = SimpleNamespace(engine=engine, paths=paths, settings=settings, stores=stores, encoders=encoders)
    return Handlers(context)


def nobody(entities: pa.Table, features: str) -> pa.Table:
    """Nothing is known of anybody at any time."""
    assert entities.column_names == ["user_id", "event_timestamp"]
    return pa.table({"user_serving__packed": pa.nulls(entities.num_rows, pa.binary())})


def search_and_click(engine: Engine, refused: str = "refuses") -> None:
    """Searches for a thing show eight kinds of it in turn; people take the deluxe one where they look."""
    rng = np.random.default_rng(0)
    lists, events = [], []
    for n in range(SEARCHES):
        thing, at = THINGS[n % len(THINGS)], NOW - timedelta(days=2, minutes=n)
        order = rng.permutation(len(KINDS))[:SHOWN]
        shown = [f"{thing}-{KINDS[k]}" for k in order]
        user = refused if n % 30 == 0 else f"user-{n}" if n % 2 else None
        stamp = at.timestamp()
        search = AnsweredSearch(f"r{n}", user, None, stamp, f"{thing}", thing, None, "lexical", len(KINDS))
        even = ([1.0] * SHOWN, [1.0] * SHOWN, [["lexical"]] * SHOWN)
        lists.append(
            ServedList(f"r{n}", user or "", "search", stamp, "search@untrained-1", shown, *even, search=search)
        )
        wanted = f"{thing}-deluxe"
        if wanted in shown and rng.random() < 1 / (1 + shown.index(wanted)):
            events.append((f"e{n}", user or "visitor", wanted, f"r{n}", at + timedelta(seconds=30)))
    with transaction(engine) as connection:
        insert_impressions(connection, lists)
        refusal = "INSERT INTO users (user_id, consent) VALUES (:user, '{\"personalisation\": false}')"
        connection.execute(text(refusal), {"user": refused})
        names = ("event_id", "user_id", "item_id", "request_id", "timestamp")
        frame = pl.DataFrame(dict(zip(names, zip(*events, strict=True), strict=True)))
        clicks = frame.with_columns(type=pl.lit("click"))
        insert_events(connection, clicks.to_arrow(compat_level=pl.CompatLevel.oldest()))


def searching(files: SearchFiles, paths: HomePaths) -> Searching:
    folder = current_snapshot(paths.snapshots)
    assert folder is not None
    found = files.over(ItemSnapshot.open(folder))
    assert found is not None
    return found


def test_clicks_train_a_ranker_that_the_gateway_serves_until_it_is_damaged(
    engine: Engine, shop: Handlers, tmp_path: Path
) -> None:
    paths = HomePaths(tmp_path)
    with pytest.raises(NotReady, match="searched"):
        shop.train({"what": "search-ranker"}, lambda share: None)
    search_and_click(engine)
    with transaction(engine) as connection:
        searches = shown_searches(connection, NOW - timedelta(days=9), NOW, NOW, SEARCHES)
    assert searches.num_rows == SEARCHES - SEARCHES // 30 and "refuses" not in searches["user_id"].to_pylist()
    shares: list[float] = []
    result = shop.train({"what": "search-ranker", "promote": True}, shares.append)
    registry = open_search_registry(paths, None)
    manifest = registry.manifest(result["version"])
    assert (manifest.kind, manifest.taught_by, manifest.data.target) == ("search-ranker", "clicks", "click")
    assert manifest.data.users > 20 and shares == sorted(shares)
    assert result["promoted"] == (registry.rollout().champion == result["version"])
    registry.promote(result["version"], force=True)
    files = SearchFiles(paths.search, paths.suggest, ServingMetrics(), rankers=paths.search_rankers)
    request = WireSearch("lamp", explain=True)
    serving = searching(files, paths)
    found = serving.finish(serving.begin(None, request, serving.pipeline.read(request), None, NOW.timestamp()))
    assert found.versions["ranker"] == result["version"] and all(found.reasons or [])
    assert {item.split("-")[0] for item in found.item_ids} == {"lamp"}
    (registry.folder / result["version"] / RANKER).write_bytes(b"damaged")
    again = searching(SearchFiles(paths.search, paths.suggest, ServingMetrics(), rankers=paths.search_rankers), paths)
    found = again.finish(again.begin(None, request, again.pipeline.read(request), None, NOW.timestamp()))
    assert found.versions["ranker"] == "untrained-1" and Mode.RANKER_REFUSED in found.modes


def test_the_features_job_forgets_what_was_shown_before_the_retention(engine: Engine, shop: Handlers) -> None:
    search_and_click(engine)
    pruned = shop._prune(NOW - timedelta(days=2, minutes=SEARCHES / 2))
    assert pruned["searches"] == SEARCHES // 2 - 1 and pruned["impressions"] == SHOWN * (SEARCHES // 2 - 1)
    with transaction(engine) as connection:
        assert shown_searches(connection, NOW - timedelta(days=9), NOW, NOW, SEARCHES).num_rows > 0


def test_judgements_train_it_too_where_they_are_of_the_shops_products(shop: Handlers, tmp_path: Path) -> None:
    lines = ["query,item_id,grade"]
    for n, (thing, kind) in enumerate((t, k) for t in THINGS for k in KINDS):
        others = [THINGS[(n + step) % len(THINGS)] for step in range(1, 4)]
        for query in (f"{kind} {thing}", f"{thing} {kind}"):
            lines += [f"{query},{thing}-{kind},3"] + [f"{query},{other}-{kind},1" for other in others]
    (tmp_path / "judged.csv").write_text("\n".join(lines))
    asked = {"what": "search-ranker", "judgements": str(tmp_path / "judged.csv")}
    with pytest.raises(InvalidInput, match="`seed`"):
        shop.train({**asked, "seed": "one"}, lambda share: None)
    result = shop.train(asked, lambda share: None)
    manifest = open_search_registry(HomePaths(tmp_path), None).manifest(result["version"])
    assert (manifest.taught_by, manifest.data.target, result["promoted"]) == ("judged.csv", "judgement", False)
    (tmp_path / "foreign.csv").write_text("query,item_id,grade\na,x,1\na,y,2\n")
    with pytest.raises(InvalidInput, match="import these products"):
        shop.train({"what": "search-ranker", "judgements": str(tmp_path / "foreign.csv")}, lambda share: None)

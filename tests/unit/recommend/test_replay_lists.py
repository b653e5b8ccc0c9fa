"""A data set of served lists made again: what agrees, what differs, and what cannot be made again any more."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from recommend_shop import SECONDS, portrait

from services.features.portrait import pack
from services.features.served_lists import DATA, MANIFEST, PORTRAIT, SCHEMA, ListsManifest, file_digest
from services.features.snapshot import ItemSnapshot
from services.features.transforms import FEATURES
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.replay_lists import MODEL_GONE, OTHER_FEATURES, PORTRAIT_GONE, SNAPSHOT_GONE, replay_lists
from services.recommend.request import RecommendationRequest
from services.registry.manifest import feature_hash
from services.registry.registry import BLEND

REQUEST = RecommendationRequest("ada", count=3)


@pytest.fixture
def row(shop: ItemSnapshot) -> dict:
    """A list as the export writes it."""
    found = RecommendationPipeline(shop).recommend(portrait(), REQUEST, SECONDS, seed="r1")
    return {
        "request_id": "r1",
        "user_id": "ada",
        "timestamp": datetime.fromtimestamp(SECONDS, UTC),
        "portrait_at": datetime.fromtimestamp(SECONDS - 60, UTC),
        "snapshot": shop.version,
        "model_version": BLEND,
        "feature_hash": feature_hash(FEATURES),
        "request": msgspec.json.encode(REQUEST),
        "features": np.ascontiguousarray(found.features, "<f4").tobytes(),
        "item_ids": found.item_ids,
        "scores": found.scores,
        "propensities": found.propensities,
        "event_items": [],
        "event_types": [],
        PORTRAIT: pack(portrait()),
    }


def written(folder: Path, *rows: dict) -> Path:
    folder.mkdir()
    with pa.ipc.new_file(str(folder / DATA), SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), SCHEMA))
    manifest = ListsManifest(
        digest=file_digest(folder / DATA), bytes=(folder / DATA).stat().st_size, lists=len(rows), labelled=0,
        without_portrait=0, since="", until="", labelled_until="", feature_service="retrieval", service_hash="",
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


def test_what_agrees_and_what_differs_and_what_is_gone(shop: ItemSnapshot, row: dict, tmp_path: Path) -> None:
    forged = np.frombuffer(row["features"], "<f4").copy()
    forged[2] += 0.01
    rows = [
        row,
        row | {"request_id": "forged", "features": forged.tobytes()},
        row | {"snapshot": "19990101T000000-gone"},
        row | {"model_version": "v1"},
        row | {"feature_hash": "another"},
        row | {PORTRAIT: None},
    ]
    report = replay_lists(written(tmp_path / "lists", *rows), shop.folder.parent, tmp_path / "models", 100)
    assert (report.replayed, report.strangers, report.values) == (2, 0, 2 * 3 * len(FEATURES))
    assert report.skipped == {SNAPSHOT_GONE: 1, MODEL_GONE: 1, OTHER_FEATURES: 1, PORTRAIT_GONE: 1}
    ((request_id, said),) = report.differences.items()
    assert request_id == "forged" and said[0].startswith(f"{FEATURES[2]} of {row['item_ids'][0]} was")


def test_the_newest_lists_are_made_again_first(shop: ItemSnapshot, row: dict, tmp_path: Path) -> None:
    rows = [row | {"request_id": "old", "features": b"\0" * len(row["features"])}, row]
    report = replay_lists(written(tmp_path / "lists", *rows), shop.folder.parent, tmp_path / "models", 1)
    assert (report.replayed, report.differences) == (1, {})

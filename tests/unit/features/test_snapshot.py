"""The item snapshot: what it answers, that equal input gives equal files, and that damage is noticed."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.names import ENGAGEMENT_FEATURES, ENGAGEMENT_LEVELS
from services.core.errors import CorruptArtefact, InvalidInput
from services.features import item_ids, neighbour_pairs
from services.features.arrow_columns import text_column
from services.features.item_ids import ItemIdIndex
from services.features.nearest import INDEX_FILE
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.features.snapshot_build import build_snapshot, prune, publish
from services.features.snapshot_files import MANIFEST, StringColumn
from services.features.snapshot_tables import SnapshotTables

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")
TEXTS = pa.list_(pa.string())


def day(number: int) -> datetime:
    return datetime(2026, 10, number, tzinfo=UTC)


def engagement(**by_item: dict[str, float]) -> pa.Table:
    rows = [{"item_id": item, **values} for item, values in by_item.items()]
    schema = pa.schema([("item_id", pa.string()), *((name, pa.float32()) for name in ENGAGEMENT_FEATURES)])
    return pa.Table.from_pylist(rows, schema=schema)


def vectors(space: str = "s", **by_item: list[float]) -> pa.Table:
    return pa.table(
        {
            "item_id": pa.array(list(by_item), pa.string()),
            "space": pa.array([space] * len(by_item), pa.string()),
            "vector": pa.array([np.array(v, "<f4").tobytes() for v in by_item.values()], pa.binary()),
        }
    )


def pairs(*rows: tuple[str, str, float]) -> pa.Table:
    names = ("item_id", "neighbour_id", "score")
    schema = pa.schema([("item_id", pa.string()), ("neighbour_id", pa.string()), ("score", pa.float32())])
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=schema)


def catalogue() -> pa.Table:
    """Four items, given out of order; `d` cannot be bought."""
    return pa.table(
        {
            "item_id": ["c", "a", "d", "b"],
            "title": ["Crème", "Apple", "Drum", "Brush"],
            "brand": ["Zed", "Acme", None, "Acme"],
            "categories": pa.array([["Care", "Skin"], ["Food"], [], ["Care", "Hair", "Care"]], TEXTS),
            "price": pa.array([3.0, None, 1.0, 2.5]),
            "currency": ["EUR", "EUR", None, "USD"],
            "attributes": ['{"colour": ["red", "blue"], "vegan": true}', "{}", "{}", '{"size": 3.0, "colour": "red"}'],
            "available": [True, True, False, True],
            "published_at": pa.array([day(3), None, day(9), day(5)], MOMENT),
            "created_at": pa.array([day(1), day(20), day(1), day(1)], MOMENT),
        }
    )


def tables(**changes: pa.Table) -> SnapshotTables:
    parts = {
        "items": catalogue(),
        "engagement": engagement(
            a={"popularity": 0.2, "trend": 3.0},
            b={"popularity": 0.9, "trend": 0.5},
            d={"popularity": 1.0, "trend": 9.0},
            gone={"popularity": 1.0, "trend": 1.0},
        ),
        "vectors": vectors(a=[2, 0], b=[0, 5], d=[1, 0], c=[0, 0]),
        "co_engagement": pairs(("a", "b", 0.5), ("a", "c", 0.75), ("a", "a", 1.0), ("b", "a", 0.25), ("b", "gone", 1)),
    }
    return SnapshotTables(**{**parts, **changes})


@pytest.fixture
def opened(tmp_path: Path) -> ItemSnapshot:
    return ItemSnapshot.open(publish(tmp_path, build_snapshot(tables(), tmp_path, now=NOW)))


def test_items_are_found_by_id_and_read_back(opened: ItemSnapshot) -> None:
    assert list(opened.item_ids) == ["a", "b", "c", "d"]
    assert opened.titles[2] == "Crème"
    assert opened.titles[-1] == "Drum"
    assert opened.titles[1:3] == ["Brush", "Crème"]
    assert opened.index_of("c") == 2
    assert opened.index_of("unknown") == -1
    assert opened.indices(["d", "unknown", "a"]).tolist() == [3, -1, 0]
    assert (opened.count, opened.dimension, opened.space, opened.currency) == (4, 2, "s", "EUR")
    np.testing.assert_array_equal(opened.price, np.array([np.nan, 2.5, 3.0, 1.0], np.float32))
    assert opened.available.tolist() == [True, True, True, False]


def test_large_catalogues_find_ids_without_a_dictionary(
    tmp_path: Path, opened: ItemSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_ids, "DICTIONARY_LIMIT", 0)
    again = ItemSnapshot.open(opened.folder)
    assert again.indices(["d", "unknown", "a", ""]).tolist() == [3, -1, 0, -1]
    assert again.index_of("b") == 1


def test_ids_whose_slot_is_taken_are_found_in_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_ids, "crc32", lambda text: 2**32 - 1)
    monkeypatch.setattr(item_ids, "DICTIONARY_LIMIT", 0)
    texts = [b"x", b"other", b"", b"Cr\xc3\xa8me"]
    slots = item_ids.id_slots(texts)
    assert slots.tolist() == [-1] * 7 + [0, 1, 2, 3, -1]
    ends = np.cumsum([0, *map(len, texts)])
    index = ItemIdIndex(StringColumn(ends, np.frombuffer(b"".join(texts), np.uint8)), slots)
    assert index.indices(["Crème", "x", "unknown", "", "other"]).tolist() == [3, 0, -1, 2, 1]


def test_every_id_of_many_is_found_and_no_other() -> None:
    ids = [f"item-{n}" for n in range(item_ids.DICTIONARY_LIMIT + 1)]
    index = ItemIdIndex(StringColumn(*text_column(pa.array(ids))), item_ids.id_slots([i.encode() for i in ids]))
    assert index.indices(ids).tolist() == list(range(len(ids)))
    assert index.indices(["item-", "item-20001", "item-0 "]).tolist() == [-1, -1, -1]


def test_vectors_are_normalised_and_empty_ones_are_marked(opened: ItemSnapshot) -> None:
    np.testing.assert_allclose(opened.vectors, [[1, 0], [0, 1], [0, 0], [1, 0]])
    assert opened.has_vector.tolist() == [True, True, False, True]


def test_labels_have_codes_and_rows_list_them(opened: ItemSnapshot) -> None:
    assert list(opened.brand_names) == ["Acme", "Zed"]
    assert opened.brand.tolist() == [0, 0, 1, -1]
    assert opened.categories_of(1) == ["Care", "Hair"]
    assert opened.categories_of(3) == []
    assert opened.category_index["Skin"] == list(opened.category_names).index("Skin")
    care, hair = opened.category_index["Care"], opened.category_index["Hair"]
    assert opened.categories_padded[1].tolist() == [hair, care, -1, -1, -1, -1, -1, -1]
    start, end = opened.attribute_indptr[2:4]
    names = opened.attribute_names.take(opened.attribute_codes[start:end])
    assert names == ["colour=red", "colour=blue", "vegan=true"]
    assert "size=3" in opened.attribute_index


def test_engagement_follows_its_item_and_is_nan_where_unknown(opened: ItemSnapshot) -> None:
    np.testing.assert_array_equal(opened.engagement_column("popularity"), np.array([0.2, 0.9, np.nan, 1.0], np.float32))
    assert np.isnan(opened.engagement_column("click_rate")).all()


def test_counts_of_engagement_lie_apart_from_what_requests_read(tmp_path: Path) -> None:
    counted = tables(engagement=engagement(b={"views_30d": 70_001.0, "users_total": 3.0, "sentiment_mean": -0.5}))
    snapshot = ItemSnapshot.open(tmp_path / build_snapshot(counted, tmp_path, now=NOW))
    assert snapshot.engagement.shape == (4, len(ENGAGEMENT_LEVELS))
    found = {name: snapshot.engagement_column(name)[1] for name in ENGAGEMENT_FEATURES}
    assert {name: value for name, value in found.items() if not np.isnan(value)} == {
        "views_30d": 70_001.0,
        "users_total": 3.0,
        "sentiment_mean": -0.5,
    }


def test_neighbours_are_ranked_and_never_the_item_itself_or_a_gone_one(opened: ItemSnapshot) -> None:
    assert opened.neighbours.tolist() == [[2, 1], [0, -1], [-1, -1], [-1, -1]]
    np.testing.assert_allclose(
        opened.neighbour_scores(np.arange(4)), [[0.75, 0.5], [0.25, 0], [0, 0], [0, 0]], atol=1 / 510
    )


def test_pairs_may_name_items_by_a_dictionary(tmp_path: Path) -> None:
    plain = tables().co_engagement
    coded = pa.table({name: plain[name].dictionary_encode() for name in ("item_id", "neighbour_id")})
    coded = coded.append_column("score", plain["score"])
    assert tables(co_engagement=coded).sorted().digest() == tables().sorted().digest()
    snapshot = ItemSnapshot.open(tmp_path / build_snapshot(tables(co_engagement=coded), tmp_path, now=NOW))
    assert snapshot.neighbours.tolist() == [[2, 1], [0, -1], [-1, -1], [-1, -1]]


def test_neighbours_are_ranked_in_any_number_of_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ItemSnapshot.open(tmp_path / build_snapshot(tables(), tmp_path, now=NOW)).neighbours
    monkeypatch.setattr(neighbour_pairs, "CHUNK", 1)
    monkeypatch.setattr(neighbour_pairs, "NEIGHBOURS", 1)
    again = ItemSnapshot.open(tmp_path / "again" / build_snapshot(tables(), tmp_path / "again", now=NOW)).neighbours
    assert again.tolist() == whole[:, :1].tolist()


def test_the_next_snapshot_may_be_built_from_the_neighbours_of_this_one(tmp_path: Path) -> None:
    first = ItemSnapshot.open(tmp_path / build_snapshot(tables(), tmp_path, now=NOW))
    again = tables(co_engagement=neighbour_pairs.pairs_of(first))
    second = ItemSnapshot.open(tmp_path / "again" / build_snapshot(again, tmp_path / "again", now=NOW))
    np.testing.assert_array_equal(second.neighbours, first.neighbours)
    rows = np.arange(first.count, dtype=np.int32)
    np.testing.assert_array_equal(second.neighbour_scores(rows), first.neighbour_scores(rows))


def test_lists_hold_available_items_best_first(opened: ItemSnapshot) -> None:
    assert opened.popular.tolist() == [1, 0, 2]
    assert opened.trending.tolist() == [0]
    assert opened.newest.tolist() == [0, 1, 2]  # a has no published_at: it came on the 20th
    assert opened.popular_in_category(opened.category_index["Care"]).tolist() == [1, 2]
    assert opened.popular_in_category(opened.category_index["Food"]).tolist() == [0]


def test_an_item_that_came_after_the_first_load_counts_as_published_then(opened: ItemSnapshot) -> None:
    assert opened.published_at.tolist() == [day(n).timestamp() for n in (20, 5, 3, 9)]


def test_items_of_the_first_load_have_no_age(tmp_path: Path) -> None:
    items = catalogue().set_column(9, "created_at", pa.array([day(1)] * 4, MOMENT))
    version = build_snapshot(tables(items=items), tmp_path, now=NOW)
    assert np.isnan(ItemSnapshot.open(tmp_path / version).published_at[0])


def test_nearest_finds_available_items_and_pads(opened: ItemSnapshot) -> None:
    indices, cosine = opened.nearest(np.array([[1, 0], [0.6, 0.8]], np.float32), 3)
    assert indices.tolist() == [[0, 1, -1], [1, 0, -1]]
    np.testing.assert_allclose(cosine, [[1, 0, 0], [0.8, 0.6, 0]], atol=1e-6)
    indices, _ = opened.nearest_among(np.array([[1, 0]], np.float32), 2, np.array([1, 2, 3], np.int32))
    assert indices.tolist() == [[3, 1]]


def test_a_catalogue_without_items_vectors_or_events_gives_an_empty_snapshot(tmp_path: Path) -> None:
    empty = tables(items=catalogue().slice(0, 0), engagement=engagement(), vectors=vectors(), co_engagement=pairs())
    snapshot = ItemSnapshot.open(publish(tmp_path, build_snapshot(empty, tmp_path, now=NOW)))
    snapshot.warm()
    assert (snapshot.count, snapshot.popular.size, snapshot.newest.size) == (0, 0, 0)
    assert snapshot.index_of("a") == -1


def test_items_without_vectors_are_served_all_the_same(tmp_path: Path) -> None:
    snapshot = ItemSnapshot.open(tmp_path / build_snapshot(tables(vectors=vectors()), tmp_path, now=NOW))
    assert (snapshot.dimension, snapshot.space) == (0, "")
    assert not snapshot.has_vector.any()
    indices, _ = snapshot.nearest(np.zeros((1, 0), np.float32), 2)
    assert indices.tolist() == [[-1, -1]]


def test_the_most_common_space_is_taken(tmp_path: Path) -> None:
    mixed = pa.concat_tables([vectors("new", a=[1, 0, 0]), vectors("old", b=[1, 0], c=[0, 1])])
    snapshot = ItemSnapshot.open(tmp_path / build_snapshot(tables(vectors=mixed), tmp_path, now=NOW))
    assert (snapshot.space, snapshot.dimension) == ("old", 2)
    assert snapshot.has_vector.tolist() == [False, True, True, False]


def test_vectors_of_one_space_and_different_lengths_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    broken = pa.concat_tables([vectors(a=[1, 0, 0]), vectors(b=[1, 0])])
    with pytest.raises(InvalidInput, match="differ in length"):
        build_snapshot(tables(vectors=broken), tmp_path, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_the_same_tables_in_any_order_give_the_same_files(tmp_path: Path) -> None:
    def shuffled(table: pa.Table) -> pa.Table:
        return table.take(list(reversed(range(table.num_rows))))

    given = tables()
    other = SnapshotTables(*(shuffled(t) for t in (given.items, given.engagement, given.vectors, given.co_engagement)))
    for name, built in (("one", given), ("two", other)):
        build_snapshot(built, tmp_path / name, now=NOW)
    one, two = (next((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert one.name == two.name
    assert (one / MANIFEST).read_bytes() == (two / MANIFEST).read_bytes()


def many_tables(**changes: pa.Table) -> SnapshotTables:
    """Three thousand items, enough for an index of their vectors."""
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(40, 32))
    points = centres[generator.integers(0, 40, 3_000)] + 0.3 * generator.normal(size=(3_000, 32))
    ids = [f"i{n:05d}" for n in range(3_000)]
    items = pa.table(
        {
            "item_id": ids,
            "title": ids,
            "brand": pa.nulls(3_000, pa.string()),
            "categories": pa.array([[]] * 3_000, TEXTS),
            "price": pa.nulls(3_000, pa.float64()),
            "currency": pa.nulls(3_000, pa.string()),
            "attributes": ["{}"] * 3_000,
            "available": [True] * 3_000,
            "published_at": pa.nulls(3_000, MOMENT),
        }
    )
    return tables(
        **{"items": items, "vectors": vectors(**dict(zip(ids, points.astype("<f4"), strict=True))), **changes}
    )


def test_a_quantised_index_finds_the_nearest_and_is_the_same_every_time(tmp_path: Path) -> None:
    many = many_tables()
    built = [build_snapshot(many, tmp_path / name, now=NOW) for name in ("one", "two")]
    first, second = (ItemSnapshot.open(tmp_path / n / v) for n, v in zip(("one", "two"), built, strict=True))
    first.verify()
    assert (first.folder / MANIFEST).read_bytes() == (second.folder / MANIFEST).read_bytes()
    queries = first.vectors[:20]
    found, cosine = first.nearest(queries, 50)
    exact, _ = first.nearest_among(queries, 50, np.arange(3_000, dtype=np.int32))
    overlap = np.mean([len(np.intersect1d(f, e)) / 50 for f, e in zip(found, exact, strict=True)])
    assert overlap > 0.9
    assert found[:, 0].tolist() == list(range(20))
    searched = ItemSnapshot.open(first.folder, exact=True).nearest(queries, 50)[0]
    np.testing.assert_array_equal(np.sort(searched), np.sort(exact))
    np.testing.assert_allclose(cosine[:, 0], 1, atol=2e-3)


def test_a_snapshot_of_the_same_vectors_has_the_index_of_the_one_before(tmp_path: Path) -> None:
    first = ItemSnapshot.open(publish(tmp_path, build_snapshot(many_tables(), tmp_path, now=NOW)))
    changed = many_tables(engagement=engagement(i00001={"popularity": 0.3}))
    second = ItemSnapshot.open(publish(tmp_path, build_snapshot(changed, tmp_path, now=NOW)))
    assert second.version != first.version
    assert (first.folder / INDEX_FILE).samefile(second.folder / INDEX_FILE)
    second.verify()
    np.testing.assert_array_equal(first.nearest(first.vectors[:9], 20)[0], second.nearest(first.vectors[:9], 20)[0])
    alone = ItemSnapshot.open(tmp_path / "alone" / build_snapshot(changed, tmp_path / "alone", now=NOW))
    assert (alone.folder / MANIFEST).read_bytes() == (second.folder / MANIFEST).read_bytes()


def test_a_damaged_index_is_not_gone_on_with(tmp_path: Path) -> None:
    first = publish(tmp_path, build_snapshot(many_tables(), tmp_path, now=NOW))
    content = bytearray((first / INDEX_FILE).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (first / INDEX_FILE).write_bytes(content)
    changed = many_tables(engagement=engagement(i00001={"popularity": 0.3}))
    second = tmp_path / build_snapshot(changed, tmp_path, now=NOW)
    alone = tmp_path / "alone" / build_snapshot(changed, tmp_path / "alone", now=NOW)
    assert (second / INDEX_FILE).read_bytes() == (alone / INDEX_FILE).read_bytes() != bytes(content)


def test_unchanged_tables_build_nothing_new(tmp_path: Path) -> None:
    first = build_snapshot(tables(), tmp_path, now=NOW)
    publish(tmp_path, first)
    assert build_snapshot(tables(), tmp_path, now=datetime(2026, 12, 1, tzinfo=UTC)) == first
    changed = tables(engagement=engagement(a={"popularity": 0.3}))
    assert build_snapshot(changed, tmp_path, now=NOW) != first


def test_publishing_swaps_the_pointer_and_open_snapshots_stay_readable(tmp_path: Path) -> None:
    assert current_snapshot(tmp_path) is None
    before = ItemSnapshot.open(publish(tmp_path, build_snapshot(tables(), tmp_path, now=NOW)))
    later = build_snapshot(tables(co_engagement=pairs()), tmp_path, now=datetime(2026, 11, 2, tzinfo=UTC))
    assert current_snapshot(tmp_path) == before.folder
    publish(tmp_path, later)
    assert current_snapshot(tmp_path) == tmp_path / later
    assert before.titles[0] == "Apple"
    assert ItemSnapshot.open(tmp_path / later).neighbours.shape == (4, 0)


def test_an_unknown_version_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtefact, match="no item snapshot"):
        publish(tmp_path, "20260101T000000-abc")
    assert current_snapshot(tmp_path) is None


def test_a_file_that_was_cut_short_is_noticed_on_opening(opened: ItemSnapshot) -> None:
    path = opened.folder / "vector_codes.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CorruptArtefact, match=r"vector_codes\.npy is missing or cut short"):
        ItemSnapshot.open(opened.folder)


def test_a_changed_byte_is_noticed_by_verify(opened: ItemSnapshot) -> None:
    path = opened.folder / "titles.bytes.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)
    ItemSnapshot.open(opened.folder)
    with pytest.raises(CorruptArtefact, match=r"titles\.bytes\.npy is damaged"):
        opened.verify()


def test_a_snapshot_of_another_format_is_refused(opened: ItemSnapshot) -> None:
    path = opened.folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(CorruptArtefact, match="format 99"):
        ItemSnapshot.open(opened.folder)


def test_pruning_keeps_the_current_the_newest_and_the_recent(tmp_path: Path) -> None:
    versions = []
    for number in range(6):
        built = tables(engagement=engagement(a={"popularity": number / 10}))
        version = build_snapshot(built, tmp_path, now=datetime(2026, 11, 1 + number, tzinfo=UTC))
        publish(tmp_path, version)
        os.utime(tmp_path / version, (1_000.0 * number, 1_000.0 * number))
        versions.append(version)
    (tmp_path / "current").write_text(versions[0])
    assert sorted(prune(tmp_path, keep=2, now=4_500.0)) == versions[1:4]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([versions[0], *versions[4:], "current"])
    assert prune(tmp_path, keep=0, now=4_500.0) == []  # 4 was published 500 s ago
    assert prune(tmp_path, keep=0, now=4_950.0) == [versions[4]]


def test_further_item_features_follow_their_items(tmp_path: Path) -> None:
    returns = pa.table({"item_id": ["c", "gone"], "rate": pa.array([0.25, 1.0], pa.float32()), "count": [3, 4]})
    built = SnapshotTables(**{**vars(tables()), "extra": {"item_returns": returns}})
    snapshot = ItemSnapshot.open(tmp_path / build_snapshot(built, tmp_path, now=NOW))
    assert snapshot.extra_names == ["item_returns:count", "item_returns:rate"]
    expected = np.array([np.nan, np.nan, 0.25, np.nan], np.float32)
    np.testing.assert_array_equal(snapshot.extra_column("item_returns:rate"), expected)
    assert np.isnan(snapshot.extra_column("of a view that came later")).all()
    assert build_snapshot(tables(), tmp_path, now=NOW) != snapshot.version

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from search_shop import ITEMS, NOW, item_table

from services.core.errors import ConfigurationError, CorruptArtefact, NotReady
from services.core.settings import Settings
from services.search.config import FIELDS, SearchConfig, search_config
from services.search.index.build import build_index, prune, publish, update_index
from services.search.index.search_index import SearchIndex, current_index
from services.search.matching import Matcher
from services.search.understanding import Alternative, Demand, QueryWord


def open_new(search: Path, version: str) -> SearchIndex:
    return SearchIndex.open(publish(search, version))


def renamed(row: tuple, title: str) -> tuple:
    return (row[0], title, *row[2:])


def said(term: str) -> QueryWord:
    return QueryWord(term, (Alternative(term),))


def test_an_update_equals_a_rebuild(tmp_path: Path) -> None:
    after = [
        renamed(ITEMS[0], "Walnut desk, 4x6"),
        *ITEMS[1:4],
        *ITEMS[5:],
        renamed(("zz", *ITEMS[2][1:]), "Zyphor mug"),
    ]
    open_new(tmp_path / "a", build_index(item_table(), tmp_path / "a", now=NOW))
    changed = item_table([after[0], after[-1]])
    updated = open_new(tmp_path / "a", update_index(changed, ["a5", "never-there"], tmp_path / "a", now=NOW))
    rebuilt = open_new(tmp_path / "b", build_index(item_table(after), tmp_path / "b", now=NOW))
    assert list(updated.item_ids) == list(rebuilt.item_ids)
    old_terms = np.isin(updated.postings.terms, rebuilt.postings.terms)
    assert updated.postings.terms[old_terms].tolist() == rebuilt.postings.terms.tolist()
    for name in FIELDS:
        one, other = updated.postings.fields[name], rebuilt.postings.fields[name]
        assert one.rows.tolist() == other.rows.tolist()
        assert one.counts.tolist() == other.counts.tolist()
        assert one.lengths.tolist() == other.lengths.tolist()
    assert updated.title_indptr.tolist() == rebuilt.title_indptr.tolist()
    assert updated.keys.tolist() == rebuilt.keys.tolist()
    for term in ("walnut", "zyphor", "oak", "tabl", "leather", "drill"):
        found = [i.engine.best([said(term)], (), SearchConfig().boosts, 20) for i in (updated, rebuilt)]
        assert set(found[0].tolist()) == set(found[1].tolist())
    assert updated.corrector.correct("zyphorr").text == "zyphor"


def test_the_version_before_an_update_stays_as_it_was(tmp_path: Path) -> None:
    old = open_new(tmp_path, build_index(item_table(), tmp_path, now=NOW))
    update_index(item_table([renamed(ITEMS[0], "Walnut desk")]), [], tmp_path, now=NOW)
    assert current_index(tmp_path) == old.folder
    again = SearchIndex.open(old.folder)
    assert again.engine.best([said("walnut")], (), SearchConfig().boosts, 5).size == 0
    assert again.rows_of_keys(again.engine.best([said("dine")], (), SearchConfig().boosts, 5)).tolist() == [0]


def test_the_same_items_build_nothing_new(tmp_path: Path) -> None:
    version = build_index(item_table(), tmp_path, now=NOW)
    publish(tmp_path, version)
    assert build_index(item_table(ITEMS[::-1]), tmp_path, now=NOW + timedelta(hours=1)) == version
    assert update_index(item_table([]), [], tmp_path, now=NOW) == version


def test_there_must_be_something_to_update(tmp_path: Path) -> None:
    with pytest.raises(NotReady):
        update_index(item_table(), [], tmp_path, now=NOW)


def test_a_damaged_index_does_not_open(tmp_path: Path) -> None:
    folder = publish(tmp_path, build_index(item_table(), tmp_path, now=NOW))
    (folder / "title_rows.npy").write_bytes(b"")
    with pytest.raises(CorruptArtefact):
        SearchIndex.open(folder)


def test_old_versions_are_pruned_and_the_current_one_is_not(tmp_path: Path) -> None:
    versions = []
    for hour in range(4):
        version = build_index(item_table(ITEMS[hour:]), tmp_path, now=NOW + timedelta(hours=hour))
        publish(tmp_path, version)
        versions.append(version)
    publish(tmp_path, versions[0])
    removed = prune(tmp_path, keep=1, now=NOW.timestamp() * 2)
    assert versions[0] not in removed and (tmp_path / versions[0]).is_dir()
    assert len(removed) >= 2


def test_an_empty_shop_has_an_index_too(tmp_path: Path) -> None:
    index = open_new(tmp_path, build_index(item_table([]), tmp_path, now=NOW))
    matcher = Matcher(index.postings, index.count, SearchConfig())
    assert matcher.match([said("oak")]).rows.size == 0
    assert index.engine.best([said("oak")], (), SearchConfig().boosts, 5).size == 0


def test_field_scores_are_bm25(index: SearchIndex) -> None:
    config = SearchConfig()
    matcher = Matcher(index.postings, index.count, config)
    rows = np.arange(index.count, dtype=np.int32)
    scores = matcher.field_scores([said("oak")], rows)[0][:, FIELDS.index("title")]
    lengths = index.postings.fields["title"].lengths
    holders = [i for i, row in enumerate(ITEMS) if "Oak" in row[1]]
    idf = np.log1p((len(ITEMS) - len(holders) + 0.5) / (len(holders) + 0.5))
    expected = np.zeros(len(ITEMS))
    for row in holders:
        norm = config.k1 * (1 - config.b + config.b * lengths[row] / lengths.mean())
        expected[row] = idf * (config.k1 + 1) / (1 + norm)
    assert scores == pytest.approx(expected, rel=1e-5)


def test_the_engine_scores_as_the_tables_do(index: SearchIndex) -> None:
    """The order of tantivy's results is that of the exact scores, up to its one-byte lengths."""
    config = SearchConfig()
    matcher = Matcher(index.postings, index.count, config)
    words = [said("oak"), said("tabl")]
    rows = index.rows_of_keys(index.engine.best(words, (), config.boosts, 10))
    exact = matcher.field_scores(words, np.sort(rows))[0] @ matcher.boosts
    assert rows[0] == np.sort(rows)[exact.argmax()]
    assert set(rows.tolist()) == {i for i, row in enumerate(ITEMS) if "able" in row[1] or "Tables" in row[3]}


def test_all_words_of_an_alternative_must_stand_in_one_field(index: SearchIndex) -> None:
    matcher = Matcher(index.postings, index.count, SearchConfig())
    word = QueryWord("x", (Alternative("oak", 1.0, ("side",)),))
    assert matcher.match([word]).rows.tolist() == [1]
    assert index.rows_of_keys(index.engine.best([word], (), SearchConfig().boosts, 10)).tolist() == [1]


def test_a_word_is_found_by_its_best_alternative(index: SearchIndex) -> None:
    matcher = Matcher(index.postings, index.count, SearchConfig())
    sides, oaks, oak_sides = (
        matcher.match([QueryWord("x", (Alternative(first, 1.0, others),))]).rows.tolist()
        for first, *others in (("side",), ("oak",), ("oak", "side"))
    )
    word = QueryWord("x", (Alternative("side", 0.5), Alternative("oak", 0.8), Alternative("oak", 1.0, ("side",))))
    rows = np.arange(-1, index.count, dtype=np.int32)
    scores, found = matcher.field_scores([word, said("never-there")], rows)
    expected = [1.0 if r in oak_sides else 0.8 if r in oaks else 0.5 if r in sides else 0 for r in rows.tolist()]
    assert found[:, 0].tolist() == pytest.approx(expected) and not found[:, 1].any()
    assert ((scores > 0).any(axis=1) == (found[:, 0] > 0)).all()
    assert matcher.match([word]).rows.tolist() == np.flatnonzero(found[1:, 0]).tolist()
    assert {1.0, 0.8} <= set(expected)


def test_boosts_come_from_the_settings() -> None:
    config = search_config(Settings(search_boosts={"title": 2.0, "description": 0}))
    assert (config.boosts["title"], config.boosts["description"]) == (2.0, 0)
    assert config.boosts["brand"] == SearchConfig().boosts["brand"]
    for wrong in ({"colour": 1.0}, {"title": -1.0}):
        with pytest.raises(ConfigurationError, match="PORTRAIT_SEARCH_BOOSTS"):
            search_config(Settings(search_boosts=wrong))


def test_demands_of_phrases_fields_and_exclusions(index: SearchIndex) -> None:
    def demanded(*demands: Demand) -> list[str]:
        return sorted(index.item_ids[row] for row in index.rows_of_keys(index.engine.demanded(demands)).tolist())

    assert demanded(Demand(("18volt", "drill"))) == ["a7"]
    assert demanded(Demand(("dewalt",), "brand"), Demand(("batteri",), excluded=True)) == ["a6"]
    assert len(demanded(Demand(("oak",), excluded=True))) == len(ITEMS) - 3

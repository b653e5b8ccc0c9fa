import numpy as np
import pytest

from services.search.item_terms_build import ItemTermsConfig, build_item_terms
from services.search.text.analyser import Analyser
from services.search.text_features import text_features
from services.search.understanding import Alternative, QueryWord, UnderstoodQuery
from services.search.word_match import QueryTerms

TITLES = ["Brass table lamp", "Lamp shade for table", "Drill 18v kit", "Drill 12v kit", "Saw DCD771C2", "Oak chair"]
TERMS = build_item_terms(TITLES, Analyser(), ItemTermsConfig(dimensions=0))
ROWS = np.arange(len(TITLES), dtype=np.int32)


def features(*words: QueryWord) -> dict[str, np.ndarray]:
    text = " ".join(word.text for word in words)
    return text_features(QueryTerms.of(UnderstoodQuery(text, text, words), TERMS), TERMS, ROWS)


def word(text: str, *others: tuple[str, float], kind: str = "word", optional: bool = False) -> QueryWord:
    alternatives = (Alternative(text), *(Alternative(term, weight) for term, weight in others))
    return QueryWord(text, alternatives, kind, optional)


def test_shares_of_the_query_that_each_title_has() -> None:
    found = features(word("tabl"), word("lamp"))
    assert found["words_share"].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["words_all"].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["words_idf"].tolist() == pytest.approx([1, 1, 0, 0, 0, 0])
    assert found["missing_most"][:2].tolist() == [0, 0] and found["missing_most"][2] > 0


def test_neighbours_in_the_title_and_the_thing_that_it_names() -> None:
    found = features(word("tabl"), word("lamp"))
    assert found["pairs"].tolist() == [1, 0, 0, 0, 0, 0]
    assert found["phrase"].tolist() == [1, 0, 0, 0, 0, 0]
    assert found["near"].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["head_is_head"].tolist() == [1, 0, 0, 0, 0, 0], "a lamp, not a shade"
    assert found["head_named"].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["named_idf"][0] == pytest.approx(1) and found["named_idf"][1] < 1, "for table: not what it is"


def test_the_head_is_the_last_word_before_an_optional_one() -> None:
    found = features(word("shade"), word("for", optional=True), word("lamp"))
    assert found["head_found"].tolist() == [0, 1, 0, 0, 0, 0]


def test_another_number_with_a_unit_clashes() -> None:
    found = features(word("drill"), word("18volt", ("18", 0.5), kind="measure"))
    assert found["numbers_found"].tolist() == [0, 0, 1, 0, 0, 0]
    assert found["numbers_clash"][2:4].tolist() == [0, 1]
    assert found["query_numbers"][0] == pytest.approx(1 / 3)


def test_a_model_number_is_found_whole() -> None:
    found = features(word("dcd771c2", kind="model"))
    assert found["model_found"].tolist() == [0, 0, 0, 0, 1, 0]
    assert found["model_missing"].tolist() == [1, 1, 1, 1, 0, 1]


def test_an_alternative_counts_its_weight() -> None:
    found = features(word("seat", ("chair", 0.8)))
    assert found["words_share"].tolist() == pytest.approx([0, 0, 0, 0, 0, 0.8])


def test_a_word_nobody_has_is_near_in_spelling() -> None:
    found = features(word("lampp"))
    assert found["words_share"].tolist() == [0] * 6
    assert found["spelt_idf"][0] > 0.6 > found["spelt_idf"][5]
    assert found["query_unknown"].tolist() == [1] * 6


def test_every_feature_is_finite_for_an_empty_title_and_an_empty_shop() -> None:
    for titles in ([""], ["", ""]):
        terms = build_item_terms(titles, Analyser())
        query = UnderstoodQuery("a", "a", (word("a"),))
        values = text_features(QueryTerms.of(query, terms), terms, np.arange(len(titles), dtype=np.int32))
        assert all(np.isfinite(column).all() for column in values.values())

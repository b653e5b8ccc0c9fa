from collections import Counter

import msgspec
import numpy as np
import pytest
from search_shop import IDS, ITEMS, SECONDS, portrait, vector

from services.core.errors import InvalidInput
from services.features.filters import ItemFilter, PriceRange
from services.features.portrait import RecentItem
from services.features.snapshot import ItemSnapshot
from services.search.index.search_index import SearchIndex
from services.search.pipeline import SearchPipeline
from services.search.ranking import RankedScores, RankingInput
from services.search.reader import EmptyQuery, QueryTooLong
from services.search.request import FacetName, SearchRequest, Sort
from services.search.result import AvailabilityFacet, Mode, SearchResult, TermCount

TABLES = vector(1, 0.05, 0, 0)


def search(pipeline: SearchPipeline, query: str, vector: np.ndarray | None = None, **asked: object) -> SearchResult:
    return pipeline.search(None, SearchRequest(query, **asked), vector, SECONDS)


def ids(pipeline: SearchPipeline, query: str, vector: np.ndarray | None = None, **asked: object) -> list[str]:
    return search(pipeline, query, vector, **asked).item_ids


def test_items_with_all_words_match_and_unavailable_ones_are_out(pipeline: SearchPipeline) -> None:
    result = search(pipeline, "oak tables")
    assert sorted(result.item_ids[:2]) == ["a1", "a2"]
    assert result.modes == (Mode.LEXICAL, Mode.UNPERSONALISED)
    assert "a9" not in result.item_ids
    assert "a9" in ids(pipeline, "oak tables", filter=ItemFilter(available=None))


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("couch", "a5"),
        ("4x6 table", "a1"),
        ("table 4' by 6'", "a1"),
        ("18 volt cordless drill", "a6"),
        ("dcd771c2", "a6"),
        ("DCD-771-C2", "a6"),
        ("brass", "a3"),
        ("bosch", "a8"),
        ("蓝牙耳机", "b1"),
        ("便携音箱", "b2"),
        ("green", "a4"),
    ],
)
def test_the_item_meant_comes_first(pipeline: SearchPipeline, query: str, first: str) -> None:
    assert ids(pipeline, query)[0] == first


def test_synonyms_find_both_ways_and_across_languages(pipeline: SearchPipeline) -> None:
    assert ids(pipeline, "sofa") == ["a4", "a5"]
    assert set(ids(pipeline, "couch")) == {"a4", "a5"}
    assert ids(pipeline, "耳麦") == ["b1"]
    assert ids(pipeline, "headphones") == ["b1"]


def test_meaning_finds_what_words_do_not(pipeline: SearchPipeline) -> None:
    result = search(pipeline, "xylophonic", vector(0, 0, 0.9, 0.1))
    assert result.item_ids[:2] == ["a4", "a5"]
    assert result.modes == (Mode.SEMANTIC, Mode.UNPERSONALISED)
    assert search(pipeline, "xylophonic").item_ids == []


def test_what_counts_as_a_result(pipeline: SearchPipeline) -> None:
    """Items that hold the words or enough of them, and those whose cosine passes the floor."""
    by_words = search(pipeline, "oak table")
    assert set(by_words.item_ids) == {"a1", "a2", "a3"} and by_words.total == 3, "a3 is a table lamp"
    both = search(pipeline, "oak table", vector(0.6, 0, 0.8, 0))
    assert set(both.item_ids) == {"a1", "a2", "a3", "a4", "a5"} and both.total == 5, "a8, with a cosine of .42, is none"
    meaning = search(pipeline, "xylophonic", vector(0, 0, 0.9, 0.1))
    assert (set(meaning.item_ids), meaning.total) == ({"a4", "a5"}, 2)


def test_what_is_only_near_is_shown_on_one_page_and_counts_as_nothing(pipeline: SearchPipeline) -> None:
    near = search(pipeline, "xylophonic", vector(-0.2, 0.5, -0.9, -0.5), count=1, facets=(FacetName.BRANDS,))
    assert (near.item_ids, near.total, near.next_cursor) == (["a3"], 0, None)
    assert Mode.NEAR in near.modes and near.facets is not None and near.facets.brands == []
    nothing = search(pipeline, "xylophonic")
    assert (nothing.item_ids, nothing.total) == ([], 0) and Mode.NEAR in nothing.modes


def test_meaning_finds_across_languages_where_the_encoder_does(pipeline: SearchPipeline) -> None:
    """A multilingual encoder puts "loudspeaker" and "扬声器" beside 音箱: search needs the vector alone."""
    for query in ("扬声器", "loudspeaker"):
        assert search(pipeline, query, vector(0, 0.4, 0, 0.6)).item_ids[0] == "b2"


def test_a_misspelt_query_is_corrected_and_says_so(pipeline: SearchPipeline) -> None:
    result = search(pipeline, "dishwahser")
    assert (result.item_ids, result.corrected_query) == (["a8"], "dishwasher")
    assert search(pipeline, "dishwahser", correct=False).item_ids == []


def test_where_no_item_has_all_words_the_most_telling_ones_count(pipeline: SearchPipeline) -> None:
    result = search(pipeline, "velvet oak sofa")
    assert result.item_ids[0] == "a4"
    assert Mode.RELAXED in result.modes


def test_a_piece_of_an_unknown_model_number_does_not_outweigh_a_word(pipeline: SearchPipeline) -> None:
    found = search(pipeline, "table xq6")
    assert (found.item_ids[0], set(found.item_ids)) == ("a1", {"a1", "a2", "a3"}), "a1 has a 6, all three are tables"


def test_only_stop_words_are_searched_as_words(pipeline: SearchPipeline) -> None:
    assert search(pipeline, "the of and").item_ids == []
    assert search(pipeline, "the table").item_ids == search(pipeline, "table").item_ids


def test_filters_are_those_of_recommendations(pipeline: SearchPipeline) -> None:
    assert ids(pipeline, "table", filter=ItemFilter(brands=("Hale",))) == ["a3"]
    assert ids(pipeline, "table", TABLES, filter=ItemFilter(categories=("Lighting",))) == ["a3"]
    assert sorted(ids(pipeline, "table", filter=ItemFilter(price=PriceRange(max=100)))) == ["a2", "a3"]
    assert "a1" not in ids(pipeline, "table", TABLES, filter=ItemFilter(price=PriceRange(max=100)))
    assert ids(pipeline, "sofa", filter=ItemFilter(attributes={"colour": "green"})) == ["a4"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (Sort.PRICE_ASCENDING, ["a3", "a2", "a1"]),
        (Sort.PRICE_DESCENDING, ["a1", "a2", "a3"]),
        (Sort.NEWEST, ["a3", "a2", "a1"]),
        (Sort.POPULARITY, ["a3", "a2", "a1"]),
    ],
)
def test_orders(pipeline: SearchPipeline, sort: Sort, expected: list[str]) -> None:
    result = search(pipeline, "table", TABLES, sort=sort)
    assert (result.item_ids, result.total) == (expected, 3)


def test_facets_count_all_matches_and_ignore_their_own_field(pipeline: SearchPipeline) -> None:
    asked = tuple(FacetName)
    result = search(pipeline, "table", facets=asked, count=1, filter=ItemFilter(brands=("Nord",)))
    facets = result.facets
    assert result.total == 2 and facets is not None
    assert facets.categories == [TermCount("Furniture", 2), TermCount("Tables", 2)]
    assert facets.brands == [TermCount("Nord", 2), TermCount("Hale", 1)]
    assert facets.available == AvailabilityFacet(2, 1)
    assert facets.price is not None and (facets.price.low, facets.price.high) == (90.0, 400.0)
    assert sum(band.count for band in facets.price.bands) == 2


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("brands", [(), ("Nord",), ("Bosch",)])
def test_list_total_and_facets_are_the_same_results_in_every_order(
    pipeline: SearchPipeline, sort: Sort, brands: tuple[str, ...]
) -> None:
    """The dishwasher is near "table" in meaning alone."""
    asked = {"sort": sort, "filter": ItemFilter(brands=brands), "facets": (FacetName.AVAILABLE, FacetName.CATEGORIES)}
    result = search(pipeline, "table", TABLES, **asked)
    assert result.facets is not None
    available, categories = result.facets.available, result.facets.categories
    assert available is not None and available.available == result.total == len(result.item_ids) > 0
    rows = [row for row in ITEMS if row[0] in result.item_ids]
    named = Counter(name for row in rows for name in row[3])
    assert {term.name: term.count for term in categories or []} == named


def test_highlights_are_safe_html(pipeline: SearchPipeline) -> None:
    assert search(pipeline, "steel dishwashers").highlights == [
        "<em>Dishwasher</em>, stainless &lt;<em>steel</em>&gt; &amp; quiet"
    ]
    assert (
        search(pipeline, "18 volt drill cordless").highlights[0]
        == "<em>18v</em> <em>cordless</em> <em>drill</em> DCD771C2"
    )
    assert search(pipeline, "耳机").highlights[0] == "无线蓝牙<em>耳机</em> 降噪"


def test_pages_do_not_overlap_even_when_the_user_changes_between_them(pipeline: SearchPipeline) -> None:
    asked = SearchRequest("table", count=1, user_id="ada", filter=ItemFilter(available=None))
    first = pipeline.search(None, asked, TABLES, SECONDS)
    seen, page, calls = list(first.item_ids), first, 0
    while page.next_cursor is not None:
        calls += 1
        meanwhile = portrait(event_count=calls)
        request = SearchRequest("table", user_id="ada", count=1, filter=asked.filter, cursor=page.next_cursor)
        page = pipeline.search(meanwhile, request, TABLES, SECONDS)
        seen += page.item_ids
    assert len(seen) == len(set(seen)) == first.total


def test_a_cursor_of_another_query_or_a_damaged_one_is_refused(pipeline: SearchPipeline) -> None:
    cursor = search(pipeline, "table", count=1).next_cursor
    assert cursor is not None
    for query, sent in (("oak", cursor), ("table", cursor[:-3] + "abc"), ("table", "?"), ("table", "é")):
        with pytest.raises(InvalidInput) as refused:
            search(pipeline, query, cursor=sent)
        assert refused.value.code == "bad-cursor"


def test_offsets_page_too(pipeline: SearchPipeline) -> None:
    whole = ids(pipeline, "table")
    assert ids(pipeline, "table", count=1, offset=1) == whole[1:2]
    assert ids(pipeline, "table", offset=50) == []


def test_operators_are_syntax_only_where_asked_for(pipeline: SearchPipeline) -> None:
    assert ids(pipeline, "table -oak", operators=True) == ["a3"]
    assert sorted(ids(pipeline, "table -oak"))[:2] == ["a1", "a2"]
    assert ids(pipeline, '"side table"', operators=True) == ["a2"]
    assert ids(pipeline, "brand:dewalt", operators=True) == ["a6", "a7"]
    assert ids(pipeline, "-oak", operators=True) != []
    assert ids(pipeline, 'title:"drill battery"', operators=True) == ["a7"]
    assert ids(pipeline, '"unclosed table', operators=True)[:1] != []


def test_explanations_name_words_meaning_and_ranking(pipeline: SearchPipeline) -> None:
    result = search(pipeline, "oak table", TABLES, explain=True)
    assert result.reasons is not None
    reasons = result.reasons[result.item_ids.index("a1")]
    assert reasons[0]["type"] == "words" and reasons[0]["words"] == ["oak", "table"]
    assert reasons[1]["type"] == "meaning" and reasons[1]["cosine"] > 0.99
    assert set(reasons[2]["contributions"]) <= {"words", "meaning"}


class LikesBrands:
    """A ranker that adds 1 for the portrait's brands."""

    version = "likes-brands"
    cross_weight = 0.0

    def rank(self, asked: RankingInput) -> RankedScores:
        liked = np.zeros(len(asked.candidates), np.float32)
        if asked.user is not None:
            liked = asked.user.brand_weight[asked.snapshot.brand[asked.candidates.indices]]
        return RankedScores(liked, ("brand_affinity",), liked[:, None])


def test_explanations_name_the_event_of_the_user_that_moved_a_result(
    snapshot: ItemSnapshot, index: SearchIndex
) -> None:
    pipeline = SearchPipeline(snapshot, index, LikesBrands())
    bought = RecentItem("a2", "purchase", SECONDS - 3_600, 1.0)
    ada = portrait(brands=(("Nord", 0.9),), recent_items=(bought, RecentItem("a6", "view", SECONDS, 0.3)))
    result = pipeline.search(ada, SearchRequest("table", explain=True), None, SECONDS)
    assert result.item_ids[0] in ("a1", "a2") and result.item_ids[-1] == "a3"
    assert result.reasons is not None
    reason = result.reasons[result.item_ids.index("a1")][1]
    assert reason["type"] == "user" and reason["parts"] == {"brand_affinity": 0.9}
    assert reason["event"] == {
        "item_id": "a2",
        "title": "Oak side table",
        "type": "purchase",
        "timestamp": SECONDS - 3_600,
    }
    assert Mode.UNPERSONALISED not in result.modes
    assert all(reason["type"] != "user" for reason in result.reasons[result.item_ids.index("a3")])


def test_what_is_read_together_with_the_query_reorders_the_leading_results_alone(
    pipeline: SearchPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.search.pipeline.RERANKED", 2)
    request = SearchRequest("oak tables", explain=True, count=1)
    begun = pipeline.begin(None, request, TABLES, SECONDS)
    plain = pipeline.finish(begun)
    first, second = begun.leading.tolist()
    whole = pipeline.search(None, SearchRequest("oak tables"), TABLES, SECONDS)
    assert whole.item_ids[:2] == pipeline.snapshot.item_ids.take(np.array([first, second]))
    turned = pipeline.finish(begun, np.array([0.0, 5.0], np.float32))
    assert (turned.item_ids, plain.item_ids) == (whole.item_ids[1:2], whole.item_ids[:1])
    assert turned.total == plain.total and turned.scores[0] >= whole.scores[2]
    assert turned.reasons is not None and turned.reasons[0][-1] == {"type": "read-together", "score": 5.0}
    lowered = pipeline.begin(None, SearchRequest("oak tables"), TABLES, SECONDS)
    scores = pipeline.finish(lowered, np.array([-50.0, -60.0], np.float32)).scores
    assert scores == sorted(scores, reverse=True), "what led still leads"
    after = msgspec.structs.replace(request, cursor=turned.next_cursor)
    assert pipeline.finish(pipeline.begin(None, after, TABLES, SECONDS)).item_ids == whole.item_ids[:1]


def test_only_results_by_relevance_on_the_first_pages_are_read(pipeline: SearchPipeline) -> None:
    for other in (SearchRequest("table", sort=Sort.PRICE_ASCENDING), SearchRequest("table", offset=20)):
        assert not pipeline.begin(None, other, TABLES, SECONDS).leading.size


@pytest.mark.parametrize("query", ["", " ", "\x00\x01", "🎉🎉", "…?!", "--", '""', "\u202e\u200f"])
def test_a_query_of_nothing_is_a_named_error(pipeline: SearchPipeline, query: str) -> None:
    with pytest.raises(EmptyQuery) as refused:
        search(pipeline, query)
    assert (refused.value.status, refused.value.code) == (422, "empty-query")


def test_a_pasted_page_is_a_named_error(pipeline: SearchPipeline) -> None:
    with pytest.raises(QueryTooLong):
        search(pipeline, "a " * 5_000)


def test_a_vector_of_another_space_is_a_named_error(pipeline: SearchPipeline) -> None:
    with pytest.raises(InvalidInput, match="shape"):
        search(pipeline, "table", vector(1, 0))


def test_the_snapshot_says_what_there_is(snapshot: ItemSnapshot) -> None:
    assert list(snapshot.item_ids) == IDS

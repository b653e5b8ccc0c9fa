import pytest
from search_shop import SECONDS, vector

from services.features.snapshot import ItemSnapshot
from services.search.pipeline import SearchPipeline
from services.search.request import SearchRequest
from services.search.understanding import Alternative, Demand, UnderstoodQuery


def read(pipeline: SearchPipeline, query: str, **asked: object) -> UnderstoodQuery:
    return pipeline.read(SearchRequest(query, **asked))


def named(codes: tuple[tuple[int, float], ...], names: list[str]) -> dict[str, float]:
    return {names[code]: round(sure, 2) for code, sure in codes}


def test_a_query_names_brands_and_categories_of_the_shop(pipeline: SearchPipeline, snapshot: ItemSnapshot) -> None:
    query = read(pipeline, "dewalt tools")
    assert named(query.brands, snapshot.brand_names) == {"Dewalt": 1.0}
    assert named(query.categories, snapshot.category_names) == {"Tools": 1.0}
    assert read(pipeline, "oak bench").brands == ()


def test_a_name_that_is_a_common_word_too_is_less_sure(pipeline: SearchPipeline, snapshot: ItemSnapshot) -> None:
    """Four titles say table, three items are in the category: which of both is meant is not certain."""
    assert named(read(pipeline, "table").categories, snapshot.category_names) == {"Tables": 0.75}


def test_a_measure_may_be_met_by_its_number_and_stop_words_are_optional(pipeline: SearchPipeline) -> None:
    words = read(pipeline, "the 18v drill").words
    assert [(word.text, word.kind, word.optional) for word in words] == [
        ("the", "word", True),
        ("18v", "measure", False),
        ("drill", "word", False),
    ]
    assert words[1].alternatives == (Alternative("18volt"), Alternative("18", 0.4))


def test_a_model_number_is_whole_where_an_item_has_it_and_in_parts_where_none_has(pipeline: SearchPipeline) -> None:
    assert [word.text for word in read(pipeline, "DCD771C2").words] == ["dcd771c2"]
    assert [word.alternatives[0].term for word in read(pipeline, "DCD771X9").words] == ["dcd", "771"]


def test_a_word_said_twice_is_searched_for_once(pipeline: SearchPipeline) -> None:
    assert [word.text for word in read(pipeline, "oak OAK table oak").words] == ["oak", "table"]


def test_a_synonym_of_two_words_must_have_both(pipeline: SearchPipeline) -> None:
    assert read(pipeline, "headphones").words[0].alternatives[1] == Alternative("蓝牙", 0.8, ("耳机",))


@pytest.mark.parametrize(
    ("query", "text", "demands"),
    [
        ('"side table" oak', "side table oak", (Demand(("side", "tabl")),)),
        ("table -oak", "table", (Demand(("oak",), excluded=True),)),
        ("brand:nord table", "nord table", (Demand(("nord",), "brand"),)),
        ('-title:"oak table" lamp', "lamp", (Demand(("oak", "tabl"), "title", excluded=True),)),
        ("http://x y", "http://x y", ()),
        ('"open', "open", ()),
        ("- -- x", "- x", ()),
    ],
)
def test_operators_become_demands(pipeline: SearchPipeline, query: str, text: str, demands: tuple[Demand, ...]) -> None:
    found = read(pipeline, query, operators=True)
    assert found.demands == demands
    if query != "- -- x":
        assert found.searched == text


def test_without_being_asked_for_operators_are_text(pipeline: SearchPipeline) -> None:
    found = read(pipeline, '"side table" -oak')
    assert found.demands == () and [word.text for word in found.words] == ["side", "table", "oak"]


def test_a_model_number_is_as_specific_as_can_be_and_a_department_is_not(pipeline: SearchPipeline) -> None:
    def specificity(query: str) -> float:
        return pipeline.candidates(None, SearchRequest(query), vector(1, 0, 0, 0), SECONDS).query.specificity

    assert specificity("dcd771c2") == 1.0
    assert specificity("table") < specificity("oak side table") < 1.0

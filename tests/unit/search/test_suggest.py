from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_shop import NOW, item_table, portrait

from services.core.errors import CorruptArtefact
from services.search.suggest.build import build_suggestions, current_suggestions, publish
from services.search.suggest.suggester import Suggester

ASKED = {"Oak Table": 40, "oak bench": 5, "dish washer tabs": 2, "drill bit set": 3, "asked once": 1, "蓝牙耳机": 7}


@pytest.fixture(scope="module")
def suggester(tmp_path_factory: pytest.TempPathFactory) -> Suggester:
    folder = tmp_path_factory.mktemp("suggest")
    return Suggester(publish(folder, build_suggestions(item_table(), ASKED, folder, now=NOW)))


def texts(suggester: Suggester, typed: str, **more: object) -> list[str]:
    return [suggestion.text for suggestion in suggester.suggest(typed, **more)]


def test_what_begins_as_typed_comes_first_the_most_asked_before_others(suggester: Suggester) -> None:
    assert texts(suggester, "oak")[:2] == ["oak table", "oak bench"]
    assert texts(suggester, "OAK  b")[0] == "oak bench"


def test_words_further_on_count_too(suggester: Suggester) -> None:
    assert texts(suggester, "bit")[0] == "drill bit set"
    assert "dish washer tabs" in texts(suggester, "wash")


def test_categories_and_brands_are_suggested_as_the_shop_spells_them(suggester: Suggester) -> None:
    assert [(s.text, s.source) for s in suggester.suggest("dew")] == [("Dewalt", "brand")]
    assert ("Furniture", "category") in [(s.text, s.source) for s in suggester.suggest("fur")]


def test_a_slip_is_forgiven_while_typing(suggester: Suggester) -> None:
    assert texts(suggester, "dirll")[0] == "drill bit set"
    assert texts(suggester, "frniture") == ["Furniture"]


def test_the_user_s_brand_comes_first(suggester: Suggester) -> None:
    ada = portrait(brands=(("Dewalt", 1.0),), categories=(("Furniture", 0.1),))
    assert texts(suggester, "d")[0] == "drill bit set"
    assert texts(suggester, "d", portrait=ada)[0] == "Dewalt"


def test_what_was_asked_once_is_not_shown_to_others(suggester: Suggester) -> None:
    assert texts(suggester, "asked") == []


def test_chinese_prefixes(suggester: Suggester) -> None:
    assert texts(suggester, "蓝")[0] == "蓝牙耳机"
    assert "蓝牙耳机" in texts(suggester, "耳")


def test_no_more_than_asked_for_and_no_doubles(suggester: Suggester) -> None:
    found = texts(suggester, "", count=5)
    assert len(found) == len(set(found)) == 5


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=120))
def test_anything_typed_is_answered(suggester: Suggester, typed: str) -> None:
    assert len(suggester.suggest(typed)) <= 10


def test_a_folder_without_suggestions_is_a_named_error(tmp_path: Path) -> None:
    assert current_suggestions(tmp_path) is None
    with pytest.raises(CorruptArtefact):
        Suggester(tmp_path)

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.search.spelling.corrector import SpellingConfig, SpellingCorrector
from services.search.spelling.deletions import build_deletions, near_words
from services.search.spelling.vocabulary import Vocabulary
from services.search.text.analyser import Analyser

TITLES = [
    *["Stainless Steel Dishwasher"] * 30,
    *["Oak Dining Table"] * 25,
    *["Angle Bracket, Zinc"] * 25,
    *["Garden Hose Reel"] * 200,
    *["Door Handle, Black"] * 40,
    *["Drywall Screw"] * 21,
    "Stake for Roses",
    "Hosse Brand Kettle",
    "Ceiling Fan DCD771C2",
]


@pytest.fixture(scope="module")
def corrector() -> SpellingCorrector:
    return SpellingCorrector.of_titles(TITLES)


@pytest.mark.parametrize(
    ("typed", "searched"),
    [
        ("dishwaser", "dishwasher"),
        ("dishwahser", "dishwasher"),
        ("dihswaser", "dishwasher"),
        ("oak dinning tabel", "oak dining table"),
        ("angle brakcet", "angle bracket"),
        ("drywallscrew", "drywall screw"),
        ("drywallxscrew", "drywall screw"),
        ("gardenh ose", "garden hose"),
        ("Black DOR-handle!", "black door-handle!"),
    ],
)
def test_an_unknown_word_becomes_the_shop_s_word(corrector: SpellingCorrector, typed: str, searched: str) -> None:
    correction = corrector.correct(typed)
    assert (correction.text, correction.changed, correction.offered) == (searched, True, None)


@pytest.mark.parametrize(
    "typed", ["door handles", "dcd771c3", "18v", "4x7", "the", "ab", "dishwashers", "zzzzzz", "😀"]
)
def test_what_is_right_unknown_or_no_word_stays(corrector: SpellingCorrector, typed: str) -> None:
    assert corrector.correct(typed).text == typed
    assert not corrector.correct(typed).changed


def test_a_rare_word_is_kept_and_its_frequent_neighbour_offered(corrector: SpellingCorrector) -> None:
    correction = corrector.correct("hosse")
    assert (correction.text, correction.changed) == ("hosse", False)
    assert correction.offered is None  # alone, it may be meant
    correction = corrector.correct("garden hosse")
    assert (correction.text, correction.changed) == ("garden hose", True)  # but no item has it beside "garden"


def test_the_neighbours_decide_between_equals() -> None:
    titles = ["Cat food bowl"] * 30 + ["Car seat cover"] * 30
    corrector = SpellingCorrector.of_titles(titles)
    assert corrector.correct("cax food").text == "cat food"
    assert corrector.correct("cax seat").text == "car seat"


def test_words_that_items_write_as_one_are_searched_as_one_too(corrector: SpellingCorrector) -> None:
    titles = ["Dishwasher"] * 30 + ["Soap dish"] * 30 + ["Rubber washer"] * 30
    correction = SpellingCorrector.of_titles(titles).correct("dish washer")
    assert (correction.text, correction.changed) == ("dish washer", False)
    assert correction.joins == ((0, "dishwasher"), (1, "dishwasher"))


def test_a_vocabulary_is_the_same_after_it_was_stored(tmp_path: Path) -> None:
    analyser = Analyser()
    Vocabulary.of_texts(TITLES, analyser, {"Samsung".lower(): 7}).write(tmp_path)
    stored = Vocabulary.read(tmp_path)
    assert stored.count("dishwasher") == 30 and stored.count("samsung") == 7 and stored.count("nothing") == 0
    assert SpellingCorrector(stored, analyser).correct("samsng dishwaser").text == "samsung dishwasher"


def test_an_empty_shop_corrects_nothing() -> None:
    assert SpellingCorrector.of_titles([]).correct("anything").text == "anything"


WORDS = ["kettle", "kettles", "table", "cable", "stable", "bracket"]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(WORDS), st.integers(0, 6), st.sampled_from("abcxyz"), st.sampled_from(["drop", "put", "swap"]))
def test_one_edit_is_always_found(word: str, at: int, letter: str, way: str) -> None:
    at = min(at, len(word) - 1)
    edited = {
        "drop": word[:at] + word[at + 1 :],
        "put": word[:at] + letter + word[at:],
        "swap": word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
    }[way]
    hashes, owners = build_deletions(WORDS, [2] * len(WORDS))
    assert WORDS.index(word) in near_words(edited, 2, hashes, owners)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_any_query_is_answered(text: str) -> None:
    CORRECTOR.correct(text)


CORRECTOR = SpellingCorrector.of_titles(TITLES)


def test_only_the_words_that_are_searched_for_are_corrected() -> None:
    analyser = Analyser()
    corrector = SpellingCorrector(Vocabulary.of_texts(TITLES, analyser), analyser, SpellingConfig(most_words=2))
    assert corrector.correct("oak tabel dinning").text == "oak table dinning"

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import ConfigurationError
from services.search.text.analyser import Analyser, AnalyserConfig, Kind
from services.search.text.normal import normalise, normalise_with_offsets

ANALYSER = Analyser()
PIECES = ["1", "2", "/", ".", ",", "-", "x", "in", "ft", "'", "v", "a", "cu", "3/4", "½", "by", "10k", '"', " "]


@pytest.mark.parametrize(
    ("text", "first_terms"),
    [
        ("Leather Dishwashers", ["leather", "dishwash"]),
        ("1/2 in pipe", ["0.5inch", "pipe"]),
        ("½ inch PIPE", ["0.5inch", "pipe"]),
        ("1-1/2 in.", ["1.5inch"]),
        ('1 1/2"', ["1.5inch"]),
        ("1½″", ["1.5inch"]),
        ("18v drill", ["18volt", "drill"]),
        ("18-Volt drill", ["18volt", "drill"]),
        ("6' fence", ["6foot", "fenc"]),
        ("6 ft. fence", ["6foot", "fenc"]),
        ("5-Gal. bucket", ["5gallon", "bucket"]),
        ("20 oz", ["20ounce"]),
        ("10mm socket", ["10mm", "socket"]),
        ("1.9 cu. ft. oven", ["1.9cubicfoot", "oven"]),
        ("1,000 sq ft", ["1000squarefoot"]),
        ("4x6 rug", ["4x6", "rug"]),
        ("4 x 6 rug", ["4x6", "rug"]),
        ("4 ft. × 6 ft. rug", ["4x6", "rug"]),
        ("2 by 4", ["2x4"]),
        ("3 in 1 tool", ["3", "in", "1", "tool"]),
        ("24/7", ["24", "7"]),
        ("2-light", ["2", "light"]),
        ("007", ["7"]),
        ("café", ["cafe"]),
        ("ПРИВЕТЫ", ["привет"]),
        ("men's", ["men"]),
    ],
)
def test_what_is_written_differently_is_one_term(text: str, first_terms: list[str]) -> None:
    assert [token.terms[0] for token in ANALYSER.tokens(text)] == first_terms


def test_model_numbers_stay_whole_and_are_found_by_their_parts() -> None:
    assert ANALYSER.tokens("DCD-771C2")[0].terms == ("dcd771c2", "dcd", "771c2", "771", "2")
    assert ANALYSER.tokens("SC-141")[0].terms == ("sc141", "sc", "141")


def test_a_measure_is_found_by_number_and_unit_and_a_size_by_its_sides() -> None:
    assert ANALYSER.tokens("18v")[0].terms == ("18volt", "18", "volt")
    assert ANALYSER.tokens("2 in. x 4 in. x 8 ft.")[0].terms == (
        *("2x4x8", "2x4", "4x8"),
        *("2inch", "2", "inch", "4inch", "4", "8foot", "8", "foot"),
    )


def test_chinese_is_cut_into_words_beside_latin_ones() -> None:
    tokens = ANALYSER.tokens("无线蓝牙耳机 iPhone15手机 256GB")
    assert [t.terms[0] for t in tokens] == ["无线", "蓝牙", "耳机", "iphone15", "手机", "256gigabyte"]
    assert [t.kind for t in tokens[:3]] == [Kind.CJK] * 3


def test_signs_controls_and_directions_are_no_words() -> None:
    assert ANALYSER.terms('\u202e"oak" AND -desk:\x00*☕️ (title:x)\u200f') == ["oak", "and", "desk", "titl", "x"]


def test_what_is_no_word_has_no_terms() -> None:
    assert ANALYSER.terms(" \x00\x1f …?! 🎉🎉 ++ -- ") == []


def test_stop_words_are_of_the_shop_s_language() -> None:
    german = Analyser(AnalyserConfig("german"))
    assert ANALYSER.is_stop("the") and not ANALYSER.is_stop("und")
    assert german.is_stop("und") and not german.is_stop("the")
    assert german.terms("Häuser") == ["haus"]


def test_an_unknown_language_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="klingon"):
        Analyser(AnalyserConfig("klingon"))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_analysed_and_tokens_point_into_it(text: str) -> None:
    normal = normalise(text)
    for token in ANALYSER.tokens(text):
        assert token.terms and all(term and not term.isspace() for term in token.terms)
        assert 0 <= token.start < token.end <= len(normal)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60).map(lambda t: unicodedata.normalize("NFC", t)))
def test_offsets_lead_back_into_the_text(text: str) -> None:
    normal, offsets = normalise_with_offsets(text)
    assert len(offsets) == len(normal) + 1
    assert offsets == sorted(offsets) and offsets[-1] == len(text)
    assert normal == normalise(text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["1", "2", "/", ".", ",", "-", "x", "in", "ft", "'", '"', "v", "a", "cu", "3/4", "½", "by", "10k"]
        ),
        max_size=12,
    )
)
def test_any_mixture_of_numbers_and_units_is_analysed(parts: list[str]) -> None:
    for joint in ("", " "):
        ANALYSER.terms(joint.join(parts))

"""Negated words are words of their own."""

import pytest

from services.encoders.negation import mark_negations
from services.encoders.sentiment import load_sentiment


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("not bad", "not not'bad"),
        ("Not a bad thing at all", "Not a not'bad not'thing at all"),
        ("doesn’t smell bad", "doesn't not'smell not'bad"),
        ("no, bad", "no, bad"),
        ("not good but cheap", "not not'good but cheap"),
        ("notable nothings", "notable nothings"),
        ("", ""),
    ],
)
def test_words_after_a_negation_are_marked_up_to_three_words_and_no_further_than_the_clause(text, marked):
    assert mark_negations(text) == marked


@pytest.mark.parametrize("text", ["not bad", "It's not bad at all", "no complaints", "nothing wrong with it"])
def test_denied_faults_are_praise(text):
    assert load_sentiment().score([text])[0] > 0


@pytest.mark.parametrize("text", ["not happy with it", "no good", "not worth the money", "doesn't work", "not great"])
def test_denied_praise_is_none(text):
    assert load_sentiment().score([text])[0] < 0

"""The rules that normalise values: text, prices, times, ratings."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import InvalidInput
from services.ingest.rules.prices import parse_price
from services.ingest.rules.ratings import RatingScale
from services.ingest.rules.text import clean_one, clean_text
from services.ingest.rules.times import parse_time


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ＡＢＣ ﬁne", "ABC fine"),
        ("<p>hi&nbsp;<b>you</b></p><script>alert(1)</script>", "hi you"),
        ("a < b & c", "a < b & c"),
        ("I <3 it", "I <3 it"),
        ("AT&amp;T", "AT&T"),
        ("＜b＞bold＜/b＞", "bold"),
        ("a\x00b\x07c\n\t d ", "abc d"),
        ("\u2028x\u00a0y", "x y"),
        ("<br>", None),
        ("  ", None),
        (None, None),
    ],
)
def test_text_is_cleaned(text, clean):
    assert clean_text(pl.Series([text, "other"])).to_list() == [clean, "other"]


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_a_cleaned_text_holds_no_control_characters(text):
    cleaned = clean_text(pl.Series([text], dtype=pl.String))[0]
    assert cleaned is None or (cleaned == cleaned.strip() != "" and not any(ord(c) < 32 for c in cleaned))


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("19.99", 19.99),
        (" 5 ", 5.0),
        ("$1,299.00", 1299.0),
        ("1.299,00 €", 1299.0),
        ("1.299 €", 1299.0),
        ("1.299", 1.299),
        ("12,50", 12.5),
        ("1,299", 1299.0),
        ("1 299,00", 1299.0),
        ("1'299.50", 1299.5),
        ("¥ 1,200", 1200.0),
        ("12-15", 12.0),
        ("$12.99 - $15.99", 12.99),
        ("from 9.99", 9.99),
        ("-5", -5.0),
        ("$-5", -5.0),
        ("free", None),
        ("", None),
        (None, None),
    ],
)
def test_prices_become_numbers(text, price):
    assert pl.DataFrame({"p": [text]}, schema={"p": pl.String}).select(parse_price(pl.col("p"))).item() == price


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01t02:00:00.5+02:00", datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-01-01T00:00:00+0000", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01 06:30:00", datetime(2024, 1, 1, 6, 30, tzinfo=UTC)),
        ("2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        ("20240101", datetime(2024, 1, 1, tzinfo=UTC)),
        ("09 1, 2016", datetime(2016, 9, 1, tzinfo=UTC)),
        ("1704067200", datetime(2024, 1, 1, tzinfo=UTC)),
        ("1704067200.25", datetime(2024, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
        ("1704067200123", datetime(2024, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
        ("1704067200123456", datetime(2024, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
        (1704067200, datetime(2024, 1, 1, tzinfo=UTC)),
        (1704067200123, datetime(2024, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
        (1704067200.5, datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        (float("nan"), None),
        ("2024-02-30", None),
        ("soon", None),
        ("", None),
    ],
)
def test_times_become_utc(value, time):
    frame = pl.DataFrame({"t": [value]})
    assert frame.select(parse_time("t", frame.schema["t"])).item() == time


def test_times_without_a_zone_are_in_the_zone_named():
    frame = pl.DataFrame({"t": ["2024-07-01 12:00:00", "2024-01-01"]})
    assert frame.select(parse_time("t", pl.String, "Europe/Berlin")).to_series().to_list() == [
        datetime(2024, 7, 1, 10, tzinfo=UTC),
        datetime(2023, 12, 31, 23, tzinfo=UTC),
    ]


def test_half_stars_and_tens_become_one_to_five():
    ratings = pl.DataFrame({"half": [0.5, 2.75, 5.0], "ten": [1.0, 5.5, 10.0]})
    rescaled = ratings.select(
        RatingScale.parse("0.5-5").rescale(pl.col("half")), RatingScale.parse("1-10").rescale(pl.col("ten"))
    )
    assert rescaled.columns == ["half", "ten"]
    assert rescaled["half"].to_list() == [1.0, 3.0, 5.0]
    assert rescaled["ten"].to_list() == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("text", ["5", "5-1", "a-b", "1-", ""])
def test_a_scale_that_is_none_is_refused(text):
    with pytest.raises(InvalidInput):
        RatingScale.parse(text)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs", "Cn"]))
    | st.text("a <b>&;#1xamp\t\n\x1c\x85\xa0\u3000ﬁ", max_size=30)
)
def test_one_text_is_cleaned_as_a_column_of_them_is(text):
    assert [clean_one(text)] == clean_text(pl.Series([text], dtype=pl.String)).to_list()

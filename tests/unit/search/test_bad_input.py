"""Whatever is typed: an answer or a named error that is the caller's, never another exception."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_shop import SECONDS, vector

from services.core.errors import PortraitError
from services.search.pipeline import SearchPipeline
from services.search.request import FacetName, SearchRequest, Sort
from services.search.result import Mode

NASTY = [
    "",
    " ",
    "a" * 10_000,
    "the of and",
    "\x00\x07oak\x1b",
    '"oak" AND (title:table) -x ^2 ~ * ? \\ /',
    "'; DROP TABLE items; --",
    "<script>alert(1)</script>",
    "${jndi:ldap://x}",
    "{{7*7}} %s %n ../../etc/passwd",
    "שולחן אלון",
    "طاولة من خشب البلوط",
    "\u202eelbat kao\u202c",
    "🎉 oak 🪑 table 👩‍👩‍👧",
    "ﬁ ½ ① ㍿ Ｏａｋ",
    "e\u0301" * 200,
    "\ud800 oak",
    "0" * 400,
    "1/0 in 0/0 1/2/3/4",
    "9" * 300 + "." + "9" * 100,
    "x x x 4x4x4x4x4x4",
    "-",
    '"',
    '- - -"" title: :x brand:"',
    "oak " * 120,
]


def answer(pipeline: SearchPipeline, query: str, **asked: object) -> None:
    for found in (None, vector(1, 0, 0, 0)):
        try:
            result = pipeline.search(None, SearchRequest(query, **asked), found, SECONDS)
        except PortraitError as error:
            assert 400 <= error.status < 500 and error.code and error.detail
        else:
            assert len(result.item_ids) == len(result.scores)
            assert result.total == 0 if Mode.NEAR in result.modes else len(result.item_ids) <= result.total
            assert len(set(result.item_ids)) == len(result.item_ids)


@pytest.mark.parametrize("operators", [False, True])
@pytest.mark.parametrize("query", NASTY)
def test_nasty_queries_are_answered_or_refused(pipeline: SearchPipeline, query: str, operators: bool) -> None:
    answer(pipeline, query, operators=operators, explain=True, facets=tuple(FacetName))


@settings(max_examples=100, deadline=None)
@given(
    query=st.text(max_size=60) | st.lists(st.sampled_from([*'"-:() ', "oak", "table", "title", "18v"])).map("".join),
    operators=st.booleans(),
    sort=st.sampled_from(Sort),
    offset=st.integers(0, 30),
)
def test_any_query_is_answered_or_refused(
    pipeline: SearchPipeline, query: str, operators: bool, sort: Sort, offset: int
) -> None:
    answer(pipeline, query, operators=operators, sort=sort, offset=offset)


def test_markup_in_titles_and_queries_stays_text(pipeline: SearchPipeline) -> None:
    result = pipeline.search(None, SearchRequest("<steel> dishwasher"), None, SECONDS)
    assert result.highlights is not None
    assert "<steel>" not in result.highlights[0] and "&lt;<em>steel</em>&gt;" in result.highlights[0]

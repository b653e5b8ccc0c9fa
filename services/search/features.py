"""Query × item × user features: the one function that serving and training both call.

Every feature is finite, 0 where nothing is known, and about 1 at its fullest. What only speaks of the user is
multiplied by the strength of personalisation (`services.search.personal`): a model number is ranked alike for all.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait
from services.features.portrait_view import PortraitView, view_portrait
from services.features.snapshot import ItemSnapshot
from services.features.transforms import COLUMN, user_item_features
from services.search.item_terms import ItemTerms
from services.search.personal import PersonalConfig, personal_strength
from services.search.ranking import RankingInput, SearchCandidates
from services.search.text_features import text_features
from services.search.understanding import UnderstoodQuery
from services.search.word_match import QueryTerms

FloatArray = NDArray[np.float32]

TEXT_FEATURES: tuple[str, ...] = (
    "words_idf", "words_share", "words_all", "named_idf", "missing_most", "missing_sum", "found_most", "bm25",
    "meant_idf", "meant_least", "spelt_idf", "either_idf", "either_least",
    "pairs", "phrase", "near",
    "head_found", "head_named", "head_meant", "head_is_head", "head_distance", "head_rarity", "begins_alike",
    "first_found",
    "title_covered", "name_covered", "name_told", "name_end_told", "title_length", "name_length", "title_rarity",
    "query_numbers", "numbers_found", "numbers_clash", "model_found", "model_missing", "title_numbers",
    "latent_cosine", "query_words", "query_rarity", "query_unknown",
)  # fmt: skip
"""Of the words alone (`text_features`)."""

FIELD_FEATURES: tuple[str, ...] = ("lexical", "brand_words", "category_words", "attribute_words", "description_words")
"""BM25 of all fields together and of each but the title."""
MEANING_FEATURES: tuple[str, ...] = ("cosine", "has_cosine")
INTENT_FEATURES: tuple[str, ...] = ("category_fit", "brand_fit")
ITEM_FEATURES: tuple[str, ...] = (
    "popularity", "trend", "click_rate", "purchase_rate", "rating", "sentiment", "freshness", "available",
)  # fmt: skip
"""Of the item, whoever asks; the names are those of `services.features.transforms.FEATURES`."""
USER_FEATURES: tuple[str, ...] = (
    "long_term_cosine", "short_term_cosine", "interest_cosine", "last_cosine", "category_affinity", "brand_affinity",
    "price_fit", "item_to_item", "neighbour_score", "recency",
)  # fmt: skip
"""Of the user's portrait and the item, times the strength of personalisation; names as above."""

WORD_FEATURES: tuple[str, ...] = (*TEXT_FEATURES, *FIELD_FEATURES, *MEANING_FEATURES, *INTENT_FEATURES)
"""Of the query and the item alone: the first of all."""

FEATURES: tuple[str, ...] = (*WORD_FEATURES, *ITEM_FEATURES, "memory", *USER_FEATURES, "strength")
"""Columns of `query_item_features`, in order (docs/search.md describes each)."""
PLACE: dict[str, int] = {name: place for place, name in enumerate(FEATURES)}

LEXICAL_SCALE = 10.0
"""A field's BM25 that counts as full: x / (x + 10)."""


def query_item_features(
    asked: RankingInput,
    items: ItemTerms,
    personal: PersonalConfig | None = None,
    wanted: frozenset[str] | None = None,
) -> FloatArray:
    """float32 (n, len(FEATURES)) of the candidates of one query.

    `items` are the terms of the snapshot's titles, row by row. `wanted`: features that are looked at, None for all: the
    others may be 0.
    """
    rows = asked.candidates.indices
    features = np.zeros((len(rows), len(FEATURES)), np.float32, order="F")
    if not len(rows):
        return features
    known = asked.word_features.get(wanted)
    if known is None:
        known = asked.word_features[wanted] = _word_features(asked, items, wanted)
    features[:, : len(WORD_FEATURES)] = known
    _item_and_user(features, asked, personal_strength(asked.query, asked.user, personal), wanted)
    if asked.memory is not None:
        features[:, PLACE["memory"]] = asked.memory
    return features


def _word_features(asked: RankingInput, items: ItemTerms, wanted: frozenset[str] | None) -> FloatArray:
    """float32 (n, len(WORD_FEATURES)): what does not depend on who asks, nor when."""
    rows = asked.candidates.indices
    features = np.zeros((len(rows), len(WORD_FEATURES)), np.float32, order="F")
    if asked.query.words:
        for name, values in text_features(QueryTerms.of(asked.query, items), items, rows, wanted).items():
            features[:, PLACE[name]] = values
    _fields(features, asked.candidates)
    _meaning(features, asked.candidates)
    _intent(features, asked.query, asked.snapshot, rows)
    return features


def _fields(features: FloatArray, found: SearchCandidates) -> None:
    scores = np.column_stack((found.lexical, found.field_scores[:, 1:]))
    for place, name in enumerate(FIELD_FEATURES):
        features[:, PLACE[name]] = scores[:, place] / (scores[:, place] + LEXICAL_SCALE)


def _meaning(features: FloatArray, found: SearchCandidates) -> None:
    known = ~np.isnan(found.dense)
    features[:, PLACE["cosine"]] = np.where(known, found.dense, 0)
    features[:, PLACE["has_cosine"]] = known


def _intent(features: FloatArray, query: UnderstoodQuery, snapshot: ItemSnapshot, rows: NDArray[np.int32]) -> None:
    """How surely the query means one of the item's categories (the surest), and its brand."""
    for name, meant, codes in (
        ("category_fit", query.categories, snapshot.categories_padded[rows]),
        ("brand_fit", query.brands, snapshot.brand[rows][:, None]),
    ):
        column = features[:, PLACE[name]]
        for code, sure in meant:
            np.maximum(column, np.where((codes == code).any(axis=1), np.float32(sure), 0), out=column)


def _item_and_user(features: FloatArray, asked: RankingInput, strength: float, wanted: frozenset[str] | None) -> None:
    view = asked.user if asked.user is not None else _nobody(asked.snapshot)
    names = frozenset((*ITEM_FEATURES, *USER_FEATURES) if strength > 0 else ITEM_FEATURES)
    names = names if wanted is None else names & wanted
    values = user_item_features(view, asked.snapshot, asked.candidates.indices, None, asked.now, wanted=names)
    for name in names:
        share = np.float32(strength if name in USER_FEATURES else 1)
        features[:, PLACE[name]] = values[:, COLUMN[name]] * share
    features[:, PLACE["strength"]] = strength


@lru_cache(maxsize=4)
def _nobody(snapshot: ItemSnapshot) -> PortraitView:
    """The view of a user of whom nothing is known."""
    return view_portrait(Portrait("", 0.0, None, 0, 0.0, "new"), snapshot)

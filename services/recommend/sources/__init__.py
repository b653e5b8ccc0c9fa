"""Candidate sources: each one small class that brings best-first lists of items."""

from services.recommend.sources.base import CandidateSource
from services.recommend.sources.item_to_item import ItemToItem
from services.recommend.sources.nearest import Nearest
from services.recommend.sources.nearest_to_query import NearestToQuery
from services.recommend.sources.popular import FavouriteCategories, Newest, Popular, Trending
from services.recommend.sources.similar_users import SimilarUsers

__all__ = [
    "CandidateSource",
    "FavouriteCategories",
    "ItemToItem",
    "Nearest",
    "NearestToQuery",
    "Newest",
    "Popular",
    "SimilarUsers",
    "Trending",
    "default_sources",
]


def default_sources() -> tuple[CandidateSource, ...]:
    """All sources, in the order in which their time is spent."""
    return Nearest(), ItemToItem(), SimilarUsers(), FavouriteCategories(), Trending(), Popular(), Newest()

"""Sources that need no history: trending, popular, popular in the categories at hand, newly published."""

import numpy as np

from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Hits, Source
from services.recommend.config import PipelineConfig
from services.recommend.sources.base import quota
from services.recommend.user import UserView


class Trending:
    """What is engaged with more than expected right now."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        count = quota(config.trending_quota, user, config)
        return [Hits(Source.TRENDING, snapshot.trending[:count])]


class Popular:
    """What most users engage with."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        count = quota(config.popular_quota, user, config)
        return [Hits(Source.POPULAR, snapshot.popular[:count])]


class Newest:
    """New arrivals."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        count = quota(config.newest_quota, user, config)
        return [Hits(Source.NEWEST, snapshot.newest[:count])]


class FavouriteCategories:
    """Popular items of the user's heaviest categories and of those the request's context names."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        named = user.context_categories[: config.favourite_categories].tolist()
        favourite = user.categories[: config.favourite_categories].tolist()
        count = quota(config.category_quota, user, config)
        hits = [Hits(Source.CONTEXT, np.asarray(snapshot.popular_in_category(c))[:count]) for c in named]
        return hits + [Hits(Source.CATEGORY, snapshot.popular_in_category(c)[:count]) for c in favourite]

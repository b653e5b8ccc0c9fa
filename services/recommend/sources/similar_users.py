"""Items that similar users engage with and the user has not."""

from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Hits, Source
from services.recommend.config import PipelineConfig
from services.recommend.sources.base import strongest
from services.recommend.user import UserView


class SimilarUsers:
    """The portrait's `neighbour_items`, which a worker prepared."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        quota = config.similar_users_quota
        found = strongest(user.view.neighbour_items, quota)
        return [Hits(Source.SIMILAR_USERS, found)] if found.size else []

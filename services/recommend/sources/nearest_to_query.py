"""Items nearest to the user's learned query vector."""

from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Hits, Source
from services.recommend.config import PipelineConfig
from services.recommend.queries import QueryModel
from services.recommend.user import UserView


class NearestToQuery:
    """Learned retrieval: one search in the query model's own space."""

    def __init__(self, queries: QueryModel) -> None:
        self._queries = queries

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        if user.query is None:
            return []
        return [Hits(Source.QUERY, self._queries.nearest(user.query, config.query_quota))]

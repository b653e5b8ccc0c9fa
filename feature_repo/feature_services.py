"""What each consumer reads, as one named set of features for training and serving alike."""

from feast import FeatureService

from feature_repo import names
from feature_repo.behaviour_views import user_behaviour
from feature_repo.entities import OWNER
from feature_repo.item_views import item_catalogue, item_engagement
from feature_repo.profile_views import user_affinities, user_profile, user_serving
from feature_repo.request_views import request_context

retrieval = FeatureService(
    name=names.RETRIEVAL_SERVICE,
    features=[user_serving],
    description="The one online read of a request: the packed portrait, which finds candidates and ranks them.",
    tags={"used by": "recommendations, search, training sets"},
    owner=OWNER,
)

ranking = FeatureService(
    name=names.RANKING_SERVICE,
    features=[
        user_serving,
        user_behaviour,
        user_profile[["confidence", "lifecycle", "event_count", "newest_event"]],
        user_affinities[["price_typical", "price_low", "price_high"]],
        item_catalogue[["brand", "categories", "price", "available", "published_at"]],
        item_engagement,
        request_context,
    ],
    description="User, item and request features that rankers are trained on.",
    tags={"used by": "training"},
    owner=OWNER,
)

profile_reading = FeatureService(
    name=names.PROFILE_SERVICE,
    features=[user_profile, user_affinities, user_behaviour],
    description="The portrait as people read it.",
    tags={"used by": "analysts"},
    owner=OWNER,
)

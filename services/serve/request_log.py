"""What is kept of a served list: enough to compute its features again, from the offline store."""

import msgspec
import numpy as np

from services.db.served_requests import LoggedRequest
from services.features.transforms import FEATURES
from services.recommend.request import RecentEvent, RecommendationRequest
from services.recommend.result import Recommendation
from services.recommend.user import CONTEXT_KEYS
from services.registry.manifest import feature_hash
from services.serve.buckets import in_share
from services.serve.portraits import Reading
from services.serve.serving import Serving

FEATURE_HASH = feature_hash(FEATURES)

_encode = msgspec.json.Encoder().encode


def logged_request(
    found: Recommendation,
    reading: Reading,
    request: RecommendationRequest,
    serving: Serving,
    request_id: str,
    now: float,
    share: float,
) -> LoggedRequest | None:
    """How a list was ranked, if it is one of the share of lists that are kept: always the same ones, by their id.

    None also for a list that is empty, or made from a portrait that stood in for one which could not be read.
    """
    if found.features is None or reading.degraded or not in_share(request_id, share):
        return None
    return LoggedRequest(
        request_id=request_id,
        user_id=request.user_id,
        timestamp=now,
        portrait_at=None if reading.packed is None else reading.portrait.as_of,
        snapshot=serving.snapshot.version,
        model_version=serving.version_of(request.user_id),
        feature_hash=FEATURE_HASH,
        request=_encode(_needed(request)),
        features=np.ascontiguousarray(found.features, "<f4").tobytes(),
        packed=reading.packed,
    )


def _needed(request: RecommendationRequest) -> RecommendationRequest:
    """The request without what no list depends on: free-form properties may hold anything."""
    return msgspec.structs.replace(
        request,
        context={key: value for key, value in request.context.items() if key in CONTEXT_KEYS},
        recent_events=tuple(RecentEvent(e.item_id, e.type, e.timestamp) for e in request.recent_events),
        explain=False,
    )

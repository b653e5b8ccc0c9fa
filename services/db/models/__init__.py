"""SQLAlchemy models, one file a table group. Importing this package fills `Base.metadata`."""

from services.db.models.base import Base
from services.db.models.catalogue import Item
from services.db.models.embeddings import ItemEmbedding, ItemVector
from services.db.models.events import Event, EventKey
from services.db.models.features import (
    AffinityFeatures,
    BehaviourFeatures,
    ItemEngagement,
    ProfileFeatures,
    ReferenceStatistics,
    ServingFeatures,
)
from services.db.models.impressions import Impression, ServedRequest
from services.db.models.item_states import ItemState, ItemTail, PendingItem, ServedExposure
from services.db.models.jobs import Checkpoint, Job
from services.db.models.live import CatalogueChange, PendingUser, QuarantinedUser, TailOwner, TailPartition, UserState
from services.db.models.recomputes import RecomputePart, RecomputeRun
from services.db.models.searches import QueryItem, QueryStatistics, Search
from services.db.models.users import User

__all__ = [
    "AffinityFeatures",
    "Base",
    "BehaviourFeatures",
    "CatalogueChange",
    "Checkpoint",
    "Event",
    "EventKey",
    "Impression",
    "Item",
    "ItemEmbedding",
    "ItemEngagement",
    "ItemState",
    "ItemTail",
    "ItemVector",
    "Job",
    "PendingItem",
    "PendingUser",
    "ProfileFeatures",
    "QuarantinedUser",
    "QueryItem",
    "QueryStatistics",
    "RecomputePart",
    "RecomputeRun",
    "ReferenceStatistics",
    "Search",
    "ServedExposure",
    "ServedRequest",
    "ServingFeatures",
    "TailOwner",
    "TailPartition",
    "User",
    "UserState",
]

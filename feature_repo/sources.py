"""Where features come from: the feature tables in Postgres, and pushes for what is written as it happens.

JSON columns are read as text, so that every value has a Feast type. `created` decides between rows of one entity and
event timestamp.
"""

from feast import PushSource
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

from feature_repo import names
from feature_repo.entities import OWNER


def table_source(
    table: str, columns: tuple[str, ...], description: str, *, key: str = names.USER_ID, created: bool = True
) -> PostgreSQLSource:
    """A feature table as a source: its key, timestamps and `columns` (SQL expressions)."""
    selected = (key, names.EVENT_TIMESTAMP, *((names.CREATED,) if created else ()), *columns)
    return PostgreSQLSource(
        name=table,
        query=f"SELECT {', '.join(selected)} FROM {table}",
        timestamp_field=names.EVENT_TIMESTAMP,
        created_timestamp_column=names.CREATED if created else "",
        description=description,
        owner=OWNER,
    )


behaviour_table = table_source(
    names.BEHAVIOUR_TABLE, names.BEHAVIOUR_FEATURES, "Windowed counters and statistics of a user's events."
)

profile_table = table_source(
    names.PROFILE_TABLE,
    (
        "confidence",
        "lifecycle",
        "event_count",
        "newest_event",
        "interests::text AS interests",
        "recent_items::text AS recent_items",
        "long_term",
        "short_term",
        "space",
    ),
    "The profile of a user: interests, recent items, vectors.",
)

affinity_table = table_source(
    names.AFFINITY_TABLE,
    (
        "categories::text AS categories",
        "brands::text AS brands",
        "price_typical",
        "price_low",
        "price_high",
    ),
    "A user's smoothed category, brand and price affinities.",
)

serving_table = table_source(names.SERVING_TABLE, (names.PACKED,), "The packed portrait of a user.")

engagement_table = table_source(
    names.ENGAGEMENT_TABLE,
    names.ENGAGEMENT_FEATURES,
    "How users engage with an item; a row where something changed.",
    key=names.ITEM_ID,
)

vector_table = table_source(
    names.VECTOR_TABLE, ("space", "modalities", "vector"), "Fused item vectors.", key=names.ITEM_ID, created=False
)

items_table = PostgreSQLSource(
    name=names.ITEMS_TABLE,
    query=(
        "SELECT item_id, updated_at AS event_timestamp, title, description, brand, categories, price, currency, "
        "attributes::text AS attributes, image_urls, video_urls, available, published_at, created_at FROM items"
    ),
    timestamp_field=names.EVENT_TIMESTAMP,
    description="The catalogue as it is now: one row an item, as of its last change.",
    owner=OWNER,
)

behaviour_push = PushSource(
    name="behaviour_push", batch_source=behaviour_table, description="Behaviour, when computed.", owner=OWNER
)
profile_push = PushSource(
    name="profile_push", batch_source=profile_table, description="Profiles, when computed.", owner=OWNER
)
serving_push = PushSource(
    name="serving_push", batch_source=serving_table, description="Packed portraits, when computed.", owner=OWNER
)

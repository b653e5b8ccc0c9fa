"""What features are about."""

from feast import Entity, ValueType

from feature_repo import names

OWNER = "portrait"

user = Entity(
    name=names.USER,
    join_keys=[names.USER_ID],
    value_type=ValueType.STRING,
    description="A visitor of the shop, by the shop's own id.",
    owner=OWNER,
)

item = Entity(
    name=names.ITEM,
    join_keys=[names.ITEM_ID],
    value_type=ValueType.STRING,
    description="A product of the catalogue, by the shop's own id.",
    owner=OWNER,
)

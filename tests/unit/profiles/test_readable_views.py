"""The readable views read out of a packed portrait are the rows that the offline tables hold."""

from datetime import UTC, datetime

import numpy as np
import pytest

from feature_repo import names
from services.features.portrait import Interest, Portrait, PriceAffinity, RecentItem, pack, unpack
from services.features.readable_views import VIEWS, view_values
from services.profiles.tables import feature_tables

TABLES = {
    names.USER_PROFILE: names.PROFILE_TABLE,
    names.USER_AFFINITIES: names.AFFINITY_TABLE,
    names.USER_BEHAVIOUR: names.BEHAVIOUR_TABLE,
}
BEHAVIOUR = np.arange(len(names.BEHAVIOUR_FEATURES), dtype=np.float32)
BEHAVIOUR[-1] = np.nan
FULL = Portrait(
    user_id="u",
    as_of=1_790_000_000.0,
    newest_event=1_789_999_999.0,
    event_count=3,
    confidence=0.5,
    lifecycle="active",
    interests=(Interest("i1", 0.75, "Shoes", ("Sport",), ("Acme",)),),
    categories=(("Shoes", 0.25),),
    brands=(("Acme", 1.0),),
    price=PriceAffinity(20.5, 8.5, 60.0),
    behaviour=BEHAVIOUR.tobytes(),
    recent_items=(RecentItem("i1", "click", 1_789_999_999.0, 0.5),),
)
NOTHING = Portrait("v", 1_790_000_000.0, None, 0, 0.0, "new", behaviour=np.full_like(BEHAVIOUR, np.nan).tobytes())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("portrait", [FULL, NOTHING], ids=["full", "nothing"])
def test_the_packed_portrait_says_what_the_table_holds(view: str, portrait: Portrait) -> None:
    behaviour = portrait.behaviour_values()[None]
    made = feature_tables([portrait], [pack(portrait)], behaviour, datetime.fromtimestamp(portrait.as_of, UTC))
    row = made[TABLES[view]].to_pylist()[0]
    said = view_values(unpack(pack(portrait)), view)
    assert {name: _plain(row[name]) for name in said} == said


def _plain(value: object) -> object:
    return value.timestamp() if isinstance(value, datetime) else value

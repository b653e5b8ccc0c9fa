"""The readable views read out of a packed portrait are the rows that the offline tables hold."""

from datetime import UTC, datetime

import numpy as np
import pytest
from profile_rows import AS_OF, DAY, event, states
from worked_example import CONFIG, MIAS, parts, shop

from feature_repo import names
from services.features.portrait import unpack, unpack_vector
from services.features.readable_views import VIEWS, view_values
from services.profiles.near import NOBODY
from services.profiles.packing import packed
from services.profiles.portrait_columns import PortraitColumns, portrait_columns
from services.profiles.tables import feature_tables

TABLES = {
    names.USER_PROFILE: names.PROFILE_TABLE,
    names.USER_AFFINITIES: names.AFFINITY_TABLE,
    names.USER_BEHAVIOUR: names.BEHAVIOUR_TABLE,
}
NOW = datetime.fromtimestamp(AS_OF, UTC)


@pytest.fixture
def found() -> PortraitColumns:
    """Mia and somebody of whom nothing is known."""
    catalogue = shop()
    events = states(catalogue, *MIAS, event("nobody", None, "search", DAY))
    return portrait_columns(events, parts(events, catalogue), [NOBODY, NOBODY], catalogue, AS_OF, CONFIG)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("place", [0, 1], ids=["mia", "nobody"])
def test_the_packed_portrait_says_what_the_table_holds(view: str, place: int, found: PortraitColumns) -> None:
    portraits = packed(found)
    row = feature_tables(found, portraits, NOW)[TABLES[view]].to_pylist()[place]
    said = view_values(unpack(portraits[place]), view)
    assert {name: _plain(row[name]) for name in said} == {name: _plain(value) for name, value in said.items()}


def test_tables_hold_the_vectors_of_those_who_have_some(found: PortraitColumns) -> None:
    mia, nobody = feature_tables(found, packed(found), NOW)[names.PROFILE_TABLE].to_pylist()
    assert unpack_vector(mia["long_term"]) == pytest.approx(found.long_term[0], abs=1e-3)
    assert (mia["space"], nobody["space"]) == (found.catalogue.space, None)
    assert nobody["long_term"] is nobody["short_term"] is None


def _plain(value: object) -> object:
    """Moments as text, numbers as float32, as tables have them."""
    if isinstance(value, float) and value > 1e9:
        value = datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return float(np.float32(value)) if isinstance(value, float) else value

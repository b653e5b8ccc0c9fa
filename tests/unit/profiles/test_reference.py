import json
import math

import pytest

from services.core.errors import CorruptArtefact
from services.core.types import EventType
from services.profiles.reference import ReferenceStatistics


def test_the_statistics_survive_json():
    fitted = ReferenceStatistics(version=3, dwell_median_ms={"口红": 9_000.0}, brand_prior={"Acme": 0.25})
    assert ReferenceStatistics.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_the_rows_version_is_the_one_that_counts():
    assert ReferenceStatistics.from_json(ReferenceStatistics.defaults().to_json(), version=7).version == 7


def test_damaged_statistics_name_the_cure():
    with pytest.raises(CorruptArtefact, match="recompute"):
        ReferenceStatistics.from_json({"version": 1})


def test_every_event_type_has_a_prior_and_a_purchase_is_one():
    prior = ReferenceStatistics.defaults()
    assert set(prior.importance) == {kind.value for kind in EventType}
    assert prior.importance_of("purchase") == 1.0
    assert prior.importance_of("hide") < 0
    assert prior.importance_of("unheard-of") == 0.0


def test_examination_falls_with_the_position_and_is_one_where_it_is_unknown():
    values = ReferenceStatistics.defaults().examination_at([0, 1, 10_000, math.nan, -1])
    assert values[0] == 1.0
    assert values[1] == pytest.approx(0.5**0.7)
    assert values[2] == pytest.approx(50**-0.7)
    assert values[3:].tolist() == [1.0, 1.0]

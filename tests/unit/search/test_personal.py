from dataclasses import replace
from pathlib import Path

import pytest
from search_shop import build_snapshot, portrait

from services.features.portrait_view import PortraitView, view_portrait
from services.search.personal import PersonalConfig, personal_strength
from services.search.understanding import Alternative, QueryWord, UnderstoodQuery

CONFIG = PersonalConfig(unspecific=0.5, specific=0.9)


def query(specificity: float, kind: str = "word") -> UnderstoodQuery:
    return UnderstoodQuery("x", "x", (QueryWord("x", (Alternative("x"),), kind),), specificity=specificity)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> PortraitView:
    folder: Path = tmp_path_factory.mktemp("snapshot")
    return replace(view_portrait(portrait(), build_snapshot(folder)), confidence=0.8)


def test_strength_falls_with_specificity_and_with_low_confidence(view: PortraitView) -> None:
    assert personal_strength(query(0.2), view, CONFIG) == pytest.approx(0.8)
    assert personal_strength(query(0.7), view, CONFIG) == pytest.approx(0.4)
    assert personal_strength(query(0.95), view, CONFIG) == 0
    assert personal_strength(query(0.2), replace(view, confidence=0.1), CONFIG) == pytest.approx(0.1)


def test_a_model_number_and_an_unknown_user_are_not_personalised(view: PortraitView) -> None:
    assert personal_strength(query(0.0, "model"), view, CONFIG) == 0
    assert personal_strength(query(0.0), None, CONFIG) == 0

"""The numbers of the worked example in docs/profiles.md, each derived by hand there."""

import pytest
from profile_rows import AS_OF, DAY
from worked_example import mias_events, parts, portrait, shop

from services.features.portrait import pack, unpack, unpack_vector

SHOP = shop()
EVENTS = mias_events(SHOP)


def test_the_weights_of_mias_events():
    # 1 · ½ = 0.5; 0.1 · 4/3 · 2^(−1/60) = 0.1318; 0.2 · 4^0.7 / (1 + ln 2) · 2^(−½/60) = 0.3099; 0.7 · 0.875 = 0.6125
    taste = parts(EVENTS, SHOP).taste
    assert taste.sums.mean_rating.tolist() == [4.25]
    assert EVENTS.item_ids.take(taste.held.item).to_pylist() == ["lipstick", "mascara", "serum"]
    assert taste.held.weight.tolist() == pytest.approx([0.5, 0.1318 + 0.3099, 0.6125], abs=1e-4)


def test_mias_portrait():
    mia = portrait(EVENTS, SHOP)
    # Σ|w| with the rating at full strength: 1.6417; 1 − e^(−1.6417 / 4) = 0.3366
    assert (mia.confidence, mia.lifecycle, mia.event_count) == (0.3366, "active", 4)
    # (0.5 + 0.8 · 0.4417, 0.6 · 0.4417, 0.6125), made length 1
    assert unpack_vector(mia.long_term).tolist() == pytest.approx([0.7877, 0.2446, 0.5654], abs=5e-4)
    # half-life of a day: the lipstick of two months ago is gone
    assert unpack_vector(mia.short_term).tolist() == pytest.approx([0.3395, 0.2546, 0.9055], abs=5e-4)
    assert [(i.name, i.item_id, i.weight) for i in mia.interests] == [
        ("Lipstick · Rouge", "lipstick", 0.6059),
        ("Serums · Dew", "serum", 0.3941),
    ]
    assert mia.categories == (
        ("Makeup", 0.295),
        ("Serums", 0.2158),
        ("Lipstick", 0.186),
        ("Skin Care", 0.1679),
        ("Mascara", 0.1643),
    )
    assert mia.brands == (("Rouge", 0.3687), ("Dew", 0.2398))
    assert (mia.price.typical, mia.price.low, mia.price.high) == (18.83, 11.17, 31.76)
    assert [(r.item_id, r.type) for r in mia.recent_items] == [
        ("serum", "rating"),
        ("mascara", "click"),
        ("lipstick", "purchase"),
    ]
    assert [r.weight for r in mia.recent_items] == pytest.approx([0.6125, 0.4417, 0.5], abs=1e-4)
    assert mia.bought == ("serum", "lipstick")
    assert unpack(pack(mia)) == mia


def test_waiting_fades_the_weights_but_not_the_taste():
    now, later = portrait(EVENTS, SHOP), portrait(EVENTS, SHOP, AS_OF + 90 * DAY)
    # 0.6125 · 2^(−90/60) = 0.2166; 90 days are more than 3 but less than 8 gaps of (60 + 7) / 3 days
    assert later.recent_items[0].weight == pytest.approx(0.2166, abs=1e-4)
    assert (now.lifecycle, later.lifecycle) == ("active", "cooling")
    for name in ("long_term", "short_term", "interests", "categories", "brands", "price", "confidence", "bought"):
        assert getattr(now, name) == getattr(later, name), name

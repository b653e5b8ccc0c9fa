"""The packed portrait: exact but for its vectors, which keep their direction; the earlier forms are still read."""

import contextlib
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.names import BEHAVIOUR_FEATURES
from services.core.errors import CorruptArtefact
from services.core.types import EventType
from services.features import portrait_codec as codec
from services.features.portrait import (
    Interest,
    Portrait,
    PriceAffinity,
    RecentItem,
    pack,
    pack_vector,
    unpack,
    unpack_vector,
)

BEHAVIOUR = np.full(len(BEHAVIOUR_FEATURES), np.nan, "<f4")
BEHAVIOUR[:3] = (1, 2.5, 0)
FULL = Portrait(
    user_id="zoë 👟",
    as_of=1_790_000_000.25,
    newest_event=1_789_999_999.123456,
    event_count=7,
    confidence=0.8125,
    lifecycle="active",
    space="s",
    interests=(Interest("i1", 0.75, "Shoes", ("Sport", "Shoes"), ("Acme",)), Interest("i2", 1 / 3, "Rest")),
    categories=(("Shoes", 0.3967), ("Sport", 1 / 7)),
    brands=(("Acme", 1.0),),
    price=PriceAffinity(20.05, 8.5, 60.0),
    behaviour=BEHAVIOUR.tobytes(),
    recent_items=(
        RecentItem("i1", "click", 1_789_999_999.123456, 0.954321),
        RecentItem("i2", "hide", 1_700_000_000.0, -2.0),
    ),
    bought=("i3",),
    hidden=("i2",),
    neighbours=(("u2", 0.746),),
    neighbour_items=(("i9", 0.9425), ("i8", 0.0)),
)
DIMENSION = 384

DEFLATED = b64decode(
    "ApPEAMQAxNi7wyCzsir/8GqFD/Mnzj/teGuN3wMBBgYw4/7xZ1vYz8rvXZaYXJJZlrqweNKiTMNFmUaTzsr6nLa/GgoGk5YGZ+SnFi8JSi0umQTk"
    "FOQXlUCEJkyauMQxOTd1AlQJRG7SWf760/aHPFUmARFEwcSz6gKTzzEw85ucY2D04TjHwKl+4MgUBoYGewYGBQcGMDhQPxgwLACWJudkJmcvychM"
    "SZ10jkHQYMJ5BobAWwd/OTAAuXz9Fy/9f1jdMHFRpjEQG01cVGo08aysClCz5aJMi0lnVS4yAAA="
)
"""`FULL` as the version before packed it."""


def test_everything_but_the_vectors_comes_back_exactly() -> None:
    assert unpack(pack(FULL)) == FULL


def test_a_cold_portrait_is_small_and_comes_back() -> None:
    cold = Portrait("u", 1.5, None, 0, 0.0, "new")
    assert unpack(pack(cold)) == cold
    assert len(pack(cold)) < 60


def test_the_forms_before_are_still_read() -> None:
    assert unpack(b"\x01" + msgspec.msgpack.encode(FULL)) == FULL
    assert unpack(DEFLATED) == FULL


def test_threads_pack_and_unpack_at_a_time() -> None:
    many = [msgspec.structs.replace(FULL, user_id=f"u{n}") for n in range(400)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda one: unpack(pack(one)), many)) == many


def test_vectors_keep_their_direction_in_half_the_bytes() -> None:
    vector = np.random.default_rng(1).standard_normal(DIMENSION)
    vector /= np.linalg.norm(vector)
    whole = msgspec.structs.replace(FULL, long_term=pack_vector(vector), short_term=pack_vector(np.zeros(DIMENSION)))
    found = unpack(pack(whole))
    restored = unpack_vector(found.long_term)
    assert restored is not None
    assert vector @ restored / np.linalg.norm(restored) > 0.9999
    assert found.short_term == pack_vector(np.zeros(DIMENSION))
    assert len(pack(whole)) < len(pack(FULL)) + 2 * (DIMENSION + 8)


def test_short_vectors_stay_as_they_are() -> None:
    short = msgspec.structs.replace(FULL, long_term=pack_vector(np.array([0.6, 0.8])))
    assert unpack(pack(short)) == short


@pytest.mark.parametrize("packed", [b"", b"\x09", b"\x01\xc1", b"\x02", b"\x02junk", b"\x03junk", pack(FULL)[:-1]])
def test_what_is_no_portrait_says_what_to_run(packed: bytes) -> None:
    with pytest.raises(CorruptArtefact, match="profiles recompute"):
        unpack(packed)


def test_bytes_that_went_bad_are_a_named_error_whatever_they_say() -> None:
    for packed in (pack(FULL), DEFLATED, b"\x01" + msgspec.msgpack.encode(FULL)):
        for place in range(len(packed)):
            for flipped in (0x01, 0x80, 0xFF):
                bad = bytearray(packed)
                bad[place] ^= flipped
                with contextlib.suppress(CorruptArtefact):  # a wrong letter here or there still is a portrait
                    unpack(bytes(bad))


def test_columns_of_unequal_length_are_no_portrait() -> None:
    columns, long_term, short_term = codec.decode(memoryview(pack(FULL))[1:])
    bad = msgspec.structs.replace(columns, category_weights=[])
    with pytest.raises(CorruptArtefact, match="profiles recompute"):
        unpack(b"\x03" + codec.encode(bad, codec.quantised(long_term), codec.quantised(short_term)))


@given(st.lists(st.floats(allow_nan=False)), st.sampled_from([codec.FINE, codec.FINEST]))
def test_any_number_survives(numbers: list[float], unit: int) -> None:
    assert codec.values(codec.units(numbers, unit), unit) == numbers


@given(
    st.lists(st.one_of(st.integers(-(10**12), 10**12).map(lambda whole: whole / codec.FINE), st.floats(-1e10, 1e10)))
)
def test_any_weights_survive_in_any_order(numbers: list[float]) -> None:
    assert codec.fallen(codec.falling(numbers)) == numbers


@given(st.floats(0, 4e9), st.lists(st.floats(0, 4e9)))
def test_any_time_survives(as_of: float, times: list[float]) -> None:
    assert codec.moments(as_of, codec.ages(as_of, times)) == times


@given(st.binary(max_size=200))
def test_behaviour_survives_whatever_its_bytes_are(data: bytes) -> None:
    assert codec.bytes_of(codec.numbers_of(data)) == data


def test_every_type_of_event_has_its_place_for_good() -> None:
    assert set(codec.TYPES) == set(EventType)
    assert codec.TYPES.index("view") == 1 and codec.TYPES.index("search") == 9
    strange = msgspec.structs.replace(FULL, recent_items=(RecentItem("i1", "stare", 1.5, 0.5),))
    assert unpack(pack(strange)) == strange

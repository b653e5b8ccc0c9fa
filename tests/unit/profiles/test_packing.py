"""Portraits packed straight from arrays are what each packs to as an object."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_rows import catalogue_of, item

from feature_repo.names import BEHAVIOUR_FEATURES
from services.core.types import Lifecycle
from services.features.portrait import pack, unpack
from services.profiles.assemble import portraits
from services.profiles.events import TYPES
from services.profiles.naming import InterestNames
from services.profiles.packing import packed
from services.profiles.portrait_columns import Listed, PortraitColumns, RankedInterests, Recent, newest_first
from services.profiles.ranked import SparseRows

TEXTS = ["", "a", "zoë 👟", "x" * 31, "x" * 32, "ä" * 127 + "x", "x" * 256, "日本" * 11_000, '"\n\0', "i000123"]
SIZES = [0, 0, 1, 2, 3, 15, 16, 17, 40]
NUMBERS = [
    0.0,
    -0.0,
    1.0,
    0.1234,
    -0.5,
    1 / 3,
    127e-4,
    128e-4,
    6.5536,
    5e5,
    1e9,
    -3.3e-5,
    1e300,
    np.nan,
    np.inf,
    -np.inf,
]
TIMES = [0.0, 1_789_999_999.123456, 1_790_000_000.25, 1_790_000_100.0, 1e10, -5.5, 1 / 3]


class Random:
    """Arrays of portraits, of any shape."""

    def __init__(self, seed: int, users: int, dimension: int) -> None:
        self.random, self.users, self.dimension = np.random.default_rng(seed), users, dimension

    def portraits(self) -> PortraitColumns:
        random, users = self.random, self.users
        shop = catalogue_of(*(item(f"{n}{text}"[:40_000], (1, 0)) for n, text in enumerate(TEXTS)))
        shop = replace(shop, space=str(random.choice(TEXTS)), category_names=self.texts(12), brand_names=self.texts(7))
        interests = self.starts()
        clusters = int(interests[-1])
        vectors = random.standard_normal((2, users, self.dimension)).astype(np.float32)
        return PortraitColumns(
            user_ids=self.texts(users + 2)[2:],  # with an offset, as Arrow slices
            as_of=self.one_of(TIMES),
            newest=random.choice(TIMES, users),
            event_count=random.choice([0, 1, 127, 128, 65_536, 999_999_999], users),
            confidence=random.choice(NUMBERS[:5], users),
            lifecycle=random.choice([*map(str, Lifecycle)], users).tolist(),
            has_vector=random.random(users) < 0.7,
            long_term=vectors[0],
            short_term=vectors[1],
            interests=RankedInterests(
                starts=interests,
                medoid=random.integers(0, shop.count, clusters),
                weight=random.choice(NUMBERS[:-3], clusters),
                names=InterestNames(self.texts(clusters), self.rows(clusters, 12), self.rows(clusters, 7)),
            ),
            categories=self.rows(users, 12),
            brands=self.rows(users, 7),
            price=np.where(random.random((users, 1)) < 0.5, np.nan, random.random((users, 3)) * 100).round(2),
            behaviour=random.choice(np.array([0, 1, 2.5, np.nan], np.float32), (users, len(BEHAVIOUR_FEATURES))),
            recent=self.recent(),
            bought=self.listed(),
            hidden=self.listed(),
            near_users=[self.near() for _ in range(users)],
            near_items=[self.near() for _ in range(users)],
            item_ids=self.texts(9),
            catalogue=shop,
        )

    def one_of(self, values: list) -> float:
        return float(self.random.choice(values))

    def texts(self, count: int) -> pa.Array:
        return pa.array([TEXTS[n] for n in self.random.integers(0, len(TEXTS), count)], pa.string())

    def starts(self, rows: int | None = None) -> np.ndarray:
        return np.cumsum([0, *self.random.choice(SIZES, self.users if rows is None else rows)])

    def rows(self, rows: int, width: int) -> SparseRows:
        starts = self.starts(rows)
        values = self.random.choice([0.3967, 1 / 7, 1.0], starts[-1])
        return SparseRows(starts, self.random.integers(0, width, starts[-1]), values)

    def recent(self) -> Recent:
        starts = self.starts()
        size = starts[-1]
        return Recent(
            starts,
            self.random.integers(0, 9, size),
            self.random.integers(0, len(TYPES), size).astype(np.int32),
            self.random.choice(TIMES[: self.random.integers(1, len(TIMES))], size),
            self.random.choice(NUMBERS[:-3], size),
        )

    def listed(self) -> Listed:
        starts = self.starts()
        return Listed(starts, self.random.integers(0, 9, starts[-1]))

    def near(self) -> tuple[tuple[str, float], ...]:
        chosen = self.random.integers(0, len(TEXTS), self.random.choice(SIZES))
        return tuple((TEXTS[n], 0.5 + n / 100) for n in chosen.tolist())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 5), st.sampled_from([0, 2, 63]))
def test_arrays_pack_to_the_bytes_that_objects_pack_to(seed: int, users: int, dimension: int) -> None:
    found = Random(seed, users, dimension).portraits()
    assert packed(found) == [pack(one) for one in portraits(found)]


def test_long_vectors_are_as_near_and_the_rest_is_the_same() -> None:
    found = Random(5, 60, 384).portraits()
    for mine, one in zip(packed(found), portraits(found), strict=True):
        ours, theirs = unpack(mine), unpack(pack(one))
        for name in ours.__struct_fields__:
            if name not in ("long_term", "short_term"):
                assert repr(getattr(ours, name)) == repr(getattr(theirs, name))  # NaN is itself
        assert (ours.long_term is None) == (one.long_term is None)
        if one.long_term is not None and ours.long_term is not None:
            step = np.abs(np.frombuffer(one.long_term, "<f2")).max() / 127
            apart = np.frombuffer(ours.long_term, "<f2").astype(float) - np.frombuffer(one.long_term, "<f2")
            assert np.abs(apart).max() < 0.6 * step


@pytest.mark.parametrize("count", [65_535, 65_536, 70_000])
def test_lists_of_any_length(count: int) -> None:
    found = Random(1, 1, 2).portraits()
    many = Listed(np.array([0, count]), np.arange(count) % 9)
    found = replace(found, item_ids=pa.array([*"abcdefghi"]), bought=many)
    found = replace(found, hidden=many, categories=SparseRows(many.starts, many.item, np.full(count, 0.25)))
    assert packed(found) == [pack(one) for one in portraits(found)]


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=5),
    st.integers(0, 8),
)
def test_the_newest_of_each_row_come_first_and_of_equal_ones_the_first(rows: list[list[int]], count: int) -> None:
    starts = np.cumsum([0, *map(len, rows)])
    begins, kept = newest_first(starts, np.array([time for row in rows for time in row], np.float64), count)
    wanted = [sorted(range(len(row)), key=lambda n, row=row: -row[n])[:count] for row in rows]
    assert [(kept[a:b] - start).tolist() for a, b, start in zip(begins, begins[1:], starts, strict=False)] == wanted

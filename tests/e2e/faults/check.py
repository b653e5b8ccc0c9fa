"""What must be true after any fault: nothing lost, nothing twice, every portrait that of a full recompute."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Engine

from services.db.events import read_events
from services.db.profiles import SIGNALS
from services.db.session import transaction
from services.features.portrait import Portrait, unpack_vector
from services.profiles.config import ProfileConfig
from services.profiles.events import COLUMNS, SEQUENCE
from services.profiles.fold import fold
from services.profiles.read_out import read_out
from services.profiles.reading import catalogue_of
from services.profiles.reference_store import load_reference

TOLERANCE = 1e-5
STEP = 1 / 180
"""Of a vector's largest entry: a portrait online has vectors in 127 steps from zero to that, of float16 numbers, so an
entry may be half a step (1/254) and two roundings away."""
ROUNDING = {"confidence": 1.01e-4, "interests": 1.01e-4, "recent_items": 1.01e-6, "price": 1.01e-2}
"""Fields that are stored rounded: a difference of 1e-5 before may move the last digit by one."""
NEIGHBOURHOOD = frozenset({"neighbours", "neighbour_items"})
"""What depends on everybody's portraits, and is refreshed in the background."""


@dataclass
class Verdict:
    """What a check found; nothing, when all is well."""

    lost: list[str] = field(default_factory=list)
    """Acknowledged events that the log does not hold."""
    twice: list[str] = field(default_factory=list)
    """Events that the log holds more than once."""
    different: dict[str, str] = field(default_factory=dict)
    """User → where the portrait online differs from a recompute."""
    settled_s: float = 0.0
    """How long it took until the portraits were those of a recompute."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.different)


def check_log(engine: Engine, acknowledged: Sequence[str], verdict: Verdict) -> None:
    """Whether every acknowledged event is in the log, and no event in it twice."""
    with transaction(engine) as connection:
        ids = Counter(read_events(connection, columns=["event_id"])["event_id"].to_pylist())
    verdict.lost = [event_id for event_id in acknowledged if event_id not in ids]
    verdict.twice = [event_id for event_id, count in ids.items() if count > 1]


def check_portraits(engine: Engine, online: Any, users: Sequence[str], verdict: Verdict, *, within_s: float) -> None:
    """Whether the online portraits become those of a recompute within some seconds, while no events come.

    `online` is an `OnlineReader`: what the gateway reads.
    """
    began = time.monotonic()
    while True:
        verdict.different = different_portraits(engine, online, users)
        verdict.settled_s = time.monotonic() - began
        if not verdict.different or verdict.settled_s > within_s:
            return
        time.sleep(0.2)


def different_portraits(engine: Engine, online: Any, users: Sequence[str]) -> dict[str, str]:
    """User → what differs between the portrait online and a recompute as of the same time."""
    found = dict(zip(users, online.portraits(list(users)), strict=True))
    expected = recomputed(engine, {user: p.as_of for user, p in found.items() if p is not None})
    eventless = _without_events(engine, [user for user, portrait in found.items() if portrait is None])
    result = {user: "there is none" for user, portrait in found.items() if portrait is None and user not in eventless}
    for user, portrait in expected.items():
        online_portrait = found[user]
        assert online_portrait is not None  # recomputed only where there is one
        found_apart = differences(online_portrait, portrait)
        if found_apart:
            result[user] = f"as of {online_portrait.as_of}: {'; '.join(found_apart)}"
    return result


def recomputed(engine: Engine, as_of: dict[str, float]) -> dict[str, Portrait]:
    """The portraits of users from all their events, each as of its own time, in memory."""
    if not as_of:
        return {}
    config = ProfileConfig()
    with transaction(engine) as connection:
        reference = load_reference(connection)
        events = read_events(
            connection, user_ids=list(as_of), types=SIGNALS, columns=(*COLUMNS, SEQUENCE), ordered=True
        )
        catalogue = catalogue_of(connection, events, reference)
    states = fold(None, events, catalogue, reference, config)
    result = {}
    for row, user in enumerate(states.user_ids.to_pylist()):
        one = states.take(np.array([row]))
        result[user] = read_out(one, None, catalogue, reference, as_of[user], config).portraits[0]
    return result


def differences(ours: Portrait, theirs: Portrait) -> list[str]:
    """The fields in which two portraits differ by more than they may, with both values."""
    found = []
    for name in Portrait.__struct_fields__:
        if name in NEIGHBOURHOOD:
            continue
        a, b = getattr(ours, name), getattr(theirs, name)
        if name in ("long_term", "short_term"):
            a, b = unpack_vector(a), unpack_vector(b)
            same = _same_vector(a, b)
        elif name == "behaviour":
            a, b = ours.behaviour_values(), theirs.behaviour_values()
            same = _close(a, b, TOLERANCE)
        else:
            same = _alike(msgspec.to_builtins(a), msgspec.to_builtins(b), ROUNDING.get(name, TOLERANCE))
        if not same:
            found.append(f"{name}: {_short(a)} is not {_short(b)}")
    return found


def _alike(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two values of plain types are the same but for numbers that are close; lists in the same order, but for
    neighbours whose weights are as close."""
    if isinstance(a, float | int) and isinstance(b, float | int):
        return abs(a - b) <= tolerance * max(1.0, abs(b))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return False
        straight = all(_alike(x, y, tolerance) for x, y in zip(a, b, strict=True))
        return straight or _same_by_name(a, b, tolerance)
    return a == b


def _same_by_name(a: Sequence[Any], b: Sequence[Any], tolerance: float) -> bool:
    """Whether lists of [name, …] hold the same names with close values: equal weights have no order."""
    if not all(isinstance(entry, list | tuple) and entry and isinstance(entry[0], str) for entry in (*a, *b)):
        return False
    theirs = {entry[0]: entry for entry in b}
    return all(entry[0] in theirs and _alike(entry[1:], theirs[entry[0]][1:], tolerance) for entry in a)


def _same_vector(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= STEP * np.abs(b).max(initial=0))


def _close(a: np.ndarray | None, b: np.ndarray | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))


def _without_events(engine: Engine, users: list[str]) -> set[str]:
    if not users:
        return set()
    with transaction(engine) as connection:
        active = read_events(connection, user_ids=users, types=SIGNALS, columns=["user_id"])["user_id"].to_pylist()
    return set(users) - set(active)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}…"

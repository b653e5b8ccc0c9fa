"""From measured curves to what a shop of any size needs: memory, cores, shards and storage, and what is full first.

Every constant is in `data/growth.toml`, with where it was measured. Between measured sizes a curve is a straight line
in logarithms; beyond the last one it goes on as between the last two.
"""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("data") / "growth.toml"
DAY_S = 86_400
MONTH_DAYS = 30


@dataclass(frozen=True)
class Shop:
    """What is to be served. `requests_per_day`: pages that ask for recommendations or search."""

    users: int
    items: int
    events_per_day: int
    requests_per_day: int


@dataclass(frozen=True)
class Part:
    """One part of the stack at that size.

    `cores` at the peak, `memory` and `storage` in bytes, `monthly` bytes of storage that each month adds, `units`: how
    many of it (shards, processes, hosts); `filled`: how full one host, shard or writer would be if it did all; `limit`:
    of what.
    """

    name: str
    cores: float
    memory: float
    storage: float
    monthly: float
    units: int
    filled: float
    limit: str


@dataclass(frozen=True)
class Plan:
    """All parts, the one that is full first, and the shop's peak rates."""

    shop: Shop
    parts: tuple[Part, ...]
    peak_events_per_s: float
    peak_requests_per_s: float

    @property
    def first(self) -> Part:
        """The part that one unit is least enough for."""
        return max(self.parts, key=lambda part: part.filled)

    def as_dict(self) -> dict[str, Any]:
        """The plan as one JSON document, with totals."""
        total = {
            key: sum(getattr(part, key) for part in self.parts) for key in ("cores", "memory", "storage", "monthly")
        }
        return {
            "users": self.shop.users,
            "items": self.shop.items,
            "events_per_day": self.shop.events_per_day,
            "requests_per_day": self.shop.requests_per_day,
            "peak_events_per_s": round(self.peak_events_per_s, 1),
            "peak_requests_per_s": round(self.peak_requests_per_s, 1),
            "parts": [_part(part) for part in self.parts],
            "total": {
                "cores": round(total["cores"], 2),
                "memory_bytes": round(total["memory"]),
                "storage_bytes": round(total["storage"]),
                "monthly_storage_bytes": round(total["monthly"]),
            },
            "saturates_first": {
                "part": self.first.name,
                "filled": round(self.first.filled, 4),
                "limit": self.first.limit,
            },
        }


def load_curves(path: Path = DATA) -> dict[str, Any]:
    """The measured constants, by part."""
    return tomllib.loads(path.read_text())


def curve(points: Sequence[Sequence[float]], at: float) -> float:
    """A measured curve's value: `points` are (size, value), ascending; below the first one it is constant."""
    if at <= points[0][0] or len(points) == 1:
        return float(points[0][1])
    pairs = list(pairwise(points))
    (x0, y0), (x1, y1) = next((pair for pair in pairs if at <= pair[1][0]), pairs[-1])
    slope = math.log(y1 / y0) / math.log(x1 / x0)
    return float(y1 * (at / x1) ** slope)


def plan(shop: Shop, curves: dict[str, Any] | None = None) -> Plan:
    """What the shop needs."""
    known = load_curves() if curves is None else curves
    peak = known["assumed"]["peak_over_mean"]
    events, requests = (rate * peak / DAY_S for rate in (shop.events_per_day, shop.requests_per_day))
    parts = (
        _gateway(shop, requests, known),
        _online_store(shop, events, requests, known),
        _database(shop, events, known),
        _tail(events, known),
        _recompute(shop, known),
        _embedding(shop, known),
        _snapshot(shop, known),
    )
    return Plan(shop, parts, events, requests)


def _gateway(shop: Shop, requests: float, known: dict[str, Any]) -> Part:
    host, measured = known["host"], known["gateway"]
    cores = requests * curve(measured["core_s_per_request"], shop.items)
    replicas = max(math.ceil(cores / host["use"]), 1)
    hosts = max(math.ceil(replicas / host["cores"]), 1)
    snapshot = shop.items * curve(measured["resident_bytes_per_item"], shop.items)
    memory = hosts * (snapshot + measured["stack_bytes"]) + replicas * measured["replica_bytes"]
    by_memory, by_cores = snapshot / (host["memory_bytes"] * host["use"]), cores / (host["cores"] * host["use"])
    limit = "a host's memory, by the item snapshot" if by_memory > by_cores else "a host's cores, by requests"
    disk = hosts * known["snapshot"]["kept"] * shop.items * known["snapshot"]["disk_bytes_per_item"]
    return Part("gateways", cores, memory, disk, 0, hosts, max(by_memory, by_cores), limit)


def _online_store(shop: Shop, events: float, requests: float, known: dict[str, Any]) -> Part:
    measured = known["online_store"]
    memory = shop.users * curve(measured["bytes_per_user"], shop.users)
    memory += shop.items * measured["bytes_per_item"]
    operations = events + requests
    by_memory = memory / measured["shard_bytes"]
    by_rate = operations / measured["operations_per_s"]
    shards = max(math.ceil(max(by_memory, by_rate)), 1)
    limit = "a shard's memory, by users" if by_memory >= by_rate else "a shard's rate, by reads and writes"
    cores = operations / measured["operations_per_s"]
    return Part("online store", cores, memory, memory, 0, shards, max(by_memory, by_rate), limit)


def _database(shop: Shop, events: float, known: dict[str, Any]) -> Part:
    measured, host = known["database"], known["host"]
    monthly = MONTH_DAYS * shop.events_per_day * measured["bytes_per_event"]
    monthly += MONTH_DAYS * shop.requests_per_day * measured["bytes_per_impression_list"]
    standing = shop.users * measured["bytes_per_user"] + shop.items * measured["bytes_per_item"]
    kept = monthly * known["assumed"]["months_kept"] + standing
    by_rate, by_disk = events / measured["events_per_s"], kept / host["disk_bytes"]
    limit = "one writer's rate of events" if by_rate >= by_disk else "a host's disk, by events kept"
    cores = events * measured["core_s_per_event"]
    memory = min(kept * measured["hot_share"] + 1e9, host["memory_bytes"] * max(math.ceil(by_disk), 1))
    writers = max(math.ceil(max(by_rate, by_disk)), 1)
    return Part("database", cores, memory, kept, monthly, writers, max(by_rate, by_disk), limit)


def _tail(events: float, known: dict[str, Any]) -> Part:
    measured, host = known["tail"], known["host"]
    cores = events / measured["events_per_s"]
    processes = max(math.ceil(cores / host["use"]), 2)
    filled = cores / measured["most_processes"]
    return Part("tail", cores, processes * measured["process_bytes"], 0, 0, processes, filled, "partitions of users")


def _recompute(shop: Shop, known: dict[str, Any]) -> Part:
    measured, assumed, host = known["recompute"], known["assumed"], known["host"]
    history = shop.events_per_day * MONTH_DAYS * assumed["months_kept"]
    seconds = history * measured["core_s_per_event"] + shop.users * measured["core_s_per_user"]
    allowed = assumed["night_hours"] * 3600
    cores = seconds / allowed
    processes = max(math.ceil(cores), 1)
    memory = processes * measured["process_bytes"]
    filled = cores / (host["cores"] * host["use"])
    return Part("full recompute", cores, memory, 0, 0, processes, filled, "a host's cores for a night")


def _embedding(shop: Shop, known: dict[str, Any]) -> Part:
    measured, assumed, host = known["embedding"], known["assumed"], known["host"]
    changed = shop.items * assumed["items_changed_per_day"]
    per_item = measured["core_s_per_text"] + assumed["pictures_per_item"] * measured["core_s_per_picture"]
    cores = changed * per_item / DAY_S
    processes = max(math.ceil(cores), 1)
    filled = cores / (host["cores"] * host["use"])
    return Part("embedding", cores, processes * measured["process_bytes"], 0, 0, processes, filled, "a host's cores")


def _snapshot(shop: Shop, known: dict[str, Any]) -> Part:
    measured, host = known["snapshot"], known["host"]
    seconds = shop.items * curve(measured["build_core_s_per_item"], shop.items)
    memory = shop.items * measured["build_bytes_per_item"]
    disk = measured["kept"] * shop.items * measured["disk_bytes_per_item"]
    by_memory, by_time = memory / (host["memory_bytes"] * host["use"]), seconds / measured["every_s"]
    limit = "a host's memory while it is built" if by_memory >= by_time else "the time between two builds"
    return Part(
        "snapshot build", by_time, memory, disk, 0, max(math.ceil(by_memory), 1), max(by_memory, by_time), limit
    )


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "cores": round(part.cores, 2),
        "memory_bytes": round(part.memory),
        "storage_bytes": round(part.storage),
        "monthly_storage_bytes": round(part.monthly),
        "units": part.units,
        "filled": round(part.filled, 4),
        "limit": part.limit,
    }

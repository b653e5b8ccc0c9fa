"""From an event over HTTP to a changed page: every part real, nothing told to hurry."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis

from benchmarks._random_models import publish_random
from services.core.paths import HomePaths
from services.core.types import JobKind
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.registry.registry import ModelRegistry

NOW = datetime.now(UTC)

ITEMS = [
    {
        "item_id": f"{kind}-{n}",
        "title": f"{title} number {n}",
        "brand": brand,
        "categories": ["Home", "Kitchen", kind],
        "price": 20.0 + n,
    }
    for kind, title, brand in (
        ("kettles", "Stainless steel kettle", "Acme"),
        ("novels", "A detective novel", "Paperworks"),
        ("boots", "Waterproof hiking boots", "Trailhead"),
    )
    for n in range(8)
]


def event(user: str, number: int, kind: str, item_id: str, **properties) -> dict:
    return {
        "event_id": f"{user}-{number}",
        "user_id": user,
        "item_id": item_id,
        "type": kind,
        "timestamp": (NOW - timedelta(minutes=60 - number)).isoformat(),
        "properties": properties,
    }


EVENTS = [
    event("kettle-lover", 1, "view", "kettles-0", dwell_ms=40_000, depth=0.9),
    event("kettle-lover", 2, "click", "kettles-1", position=0),
    event("kettle-lover", 3, "purchase", "kettles-0", quantity=1, price=20.0),
    event("kettle-lover", 4, "review", "kettles-0", text="Excellent, boils fast and pours well", rating=5),
    event("reader", 1, "purchase", "novels-0", quantity=1, price=20.0),
    event("reader", 2, "click", "novels-1", position=0),
    event("reader", 3, "hide", "boots-0"),
]


@pytest.fixture(scope="module")
def shop(stack):
    """The catalogue and the events, accepted; portraits and snapshot made by the schedule alone."""
    put = stack.client.put("/v1/items", json={"items": ITEMS})
    assert put.status_code == 200, put.text
    posted = stack.client.post("/v1/events", json={"events": EVENTS})
    assert (posted.status_code, posted.json()["accepted"]) == (202, len(EVENTS)), posted.text

    def settled():
        page = recommended(stack, "kettle-lover", count=20)
        own = set(ids(page))  # the portrait may be there before the snapshot that has its items
        sources = {source for item in page["items"] if item["item_id"] in own for source in item["sources"]}
        return page if {"long-term", "long_term"} & sources and len(own) >= 4 else None

    stack.eventually(settled, "a page made from the user's own portrait", seconds=240)
    return stack


def recommended(stack, user: str, **options) -> dict:
    answer = stack.client.post("/v1/recommendations", json={"user_id": user, "count": 10, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(page: dict) -> list[str]:
    """Of this file's items: other files put theirs into the same shop."""
    own = {item["item_id"] for item in ITEMS}
    return [item["item_id"] for item in page["items"] if item["item_id"] in own]


def test_what_a_user_did_changes_the_page(shop):
    for user, kind in (("kettle-lover", "kettles"), ("reader", "novels")):
        first = ids(recommended(shop, user, count=20))[:4]
        assert [item.split("-")[0] for item in first] == [kind] * 4


def test_bought_and_hidden_items_stay_out(shop):
    assert "kettles-0" not in ids(recommended(shop, "kettle-lover", explain=True))
    assert not {"novels-0", "boots-0"} & set(ids(recommended(shop, "reader")))


def test_the_portrait_reads_as_it_happened(shop):
    def read():
        found = shop.client.get("/v1/users/kettle-lover/profile").json()
        return found if found["behaviour"]["sentiment_mean"] is not None else None  # reviews are scored each minute

    profile = shop.eventually(read, "a portrait with the review's sentiment")
    behaviour = profile["behaviour"]
    assert (behaviour["purchases_1d"], behaviour["clicks_1d"], behaviour["reviews_1d"]) == (1, 1, 1)
    assert behaviour["sentiment_mean"] > 0.3
    assert profile["affinities"]["brands"][0]["name"] == "Acme"
    assert {item["item_id"] for item in profile["recent_items"]} == {"kettles-0", "kettles-1"}


def test_a_stranger_is_a_cold_start(shop):
    page = recommended(shop, "nobody-knows-me")
    assert len(page["items"]) == 10 and page["cold_start"] is True


def test_a_retried_batch_counts_once(shop):
    again = shop.client.post("/v1/events", json={"events": EVENTS}).json()
    assert (again["accepted"], again["duplicates"]) == (0, len(EVENTS))


def test_recent_events_of_the_request_count_at_once(shop):
    recent = [{"item_id": "boots-3", "type": "click", "timestamp": datetime.now(UTC).isoformat()}]
    page = recommended(shop, "nobody-knows-me", recent_events=recent)
    assert sum(item.startswith("boots") for item in ids(page)[:5]) >= 3, page["items"]


def test_an_erased_user_is_a_stranger_again(shop):
    sent = [event("leaver", n, "click", f"boots-{n}", position=1) for n in range(3)]
    assert shop.client.post("/v1/events", json={"events": sent}).json()["accepted"] == 3
    shop.eventually(lambda: _clicks(shop, "leaver") == 3 or None, "a portrait")
    erased = shop.client.delete("/v1/users/leaver")
    assert (erased.status_code, erased.json()["rows"]["events"]) == (200, 3), erased.text
    shop.eventually(lambda: _clicks(shop, "leaver") is None or None, "an erased portrait")
    assert recommended(shop, "leaver")["cold_start"] is True
    again = shop.client.delete("/v1/users/leaver").json()["rows"]
    assert again["events"] == 0 and again["user_states"] == 0


def test_a_recompute_is_a_job_that_can_be_followed(shop):
    asked = shop.client.post("/v1/recompute", json={"what": JobKind.PROFILES, "user_ids": ["reader"]})
    assert asked.status_code == 202
    job_id = asked.json()["job_id"]

    def done():
        job = shop.client.get(f"/v1/jobs/{job_id}").json()
        return job if job["status"] in ("done", "failed") else None

    job = shop.eventually(done, "the job's end")
    assert (job["status"], job["progress"]) == ("done", 1.0), job


def test_an_emptied_online_store_is_rebuilt_and_recommends_the_same(shop):
    before = {user: ids(recommended(shop, user)) for user in ("kettle-lover", "reader")}
    with redis.Redis.from_url(shop.addresses.redis_url) as client:
        client.flushdb()
    assert recommended(shop, "reader")["cold_start"] is True
    rebuilt = shop.portrait("features", "materialize", "--all")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert {user: ids(recommended(shop, user)) for user in before} == before


def test_status_and_doctor_find_a_healthy_stack(shop):
    assert shop.portrait("status").returncode == 0
    doctor = shop.portrait("doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr


def test_what_was_served_is_computed_again_from_feast_to_the_last_value(shop):
    """Portraits of the job and of the live tail, strangers, the request's own events, its context, a learned model."""
    asked = [recommended(shop, user)["request_id"] for user in ("kettle-lover", "reader", "nobody-knows-me")]
    asked.append(recommended(shop, "reader", context={"item_id": "boots-1"}, diversity=0.5)["request_id"])
    recent = [{"item_id": "boots-3", "type": "click", "timestamp": datetime.now(UTC).isoformat()}]
    asked.append(recommended(shop, "kettle-lover", recent_events=recent)["request_id"])
    now = datetime.now(UTC).isoformat()
    clicks = [event("walker", n, "click", f"boots-{n}", position=n) | {"timestamp": now} for n in range(3)]
    assert shop.client.post("/v1/events", json={"events": clicks}).json()["accepted"] == 3
    live = shop.eventually(lambda: known(recommended(shop, "walker")), "a live portrait")
    asked.append(live["request_id"])
    asked += learned_lists(shop)

    def logged():
        query = "SELECT count(*) FROM served_requests WHERE request_id = ANY(%s)"
        return rows(shop, query, asked) == [(len(asked),)] or None

    shop.eventually(logged, "what the lists were ranked by")
    replayed = shop.portrait("features", "replay", "--json")
    report = json.loads(replayed.stdout)
    assert (replayed.returncode, report["differences"]) == (0, {}), report
    assert report["replayed"] >= len(asked) and report["strangers"] >= 1 and report["values"] > 1_000
    same = """
        SELECT count(*), bool_and(kept.packed = state.packed) FROM served_requests AS served
        JOIN serving_features AS kept
          ON kept.user_id = served.user_id AND kept.event_timestamp = served.portrait_at
        JOIN user_states AS state ON state.user_id = served.user_id AND state.as_of = served.portrait_at
        WHERE request_id = ANY(%s)"""
    (count, equal) = rows(shop, same, asked)[0]
    assert count >= 1 and equal, "the history differs from the states that the tail keeps"


def _clicks(shop, user: str) -> float | None:
    return shop.client.get(f"/v1/users/{user}/profile").json()["behaviour"]["clicks_1d"]


def known(page: dict) -> dict | None:
    return None if page["cold_start"] else page


def learned_lists(shop) -> list[str]:
    """Requests answered by a learned model (of random weights), which serves for a moment."""
    paths = HomePaths(shop.home)
    registry = ModelRegistry(paths.models)
    publish_random(registry, ItemSnapshot.open(current_snapshot(paths.snapshots), exact=True), "random")
    registry.promote("random", force=True)

    def served_by(name: str):
        page = recommended(shop, "kettle-lover")
        return page if page["model"]["name"] == name else None

    found = shop.eventually(lambda: served_by("learned"), "the learned model's list")["request_id"]
    others = [recommended(shop, user)["request_id"] for user in ("reader", "walker", "nobody-knows-me")]
    registry.rollback()
    shop.eventually(lambda: served_by("linear-blend"), "the blend's list")
    return [found, *others]


def rows(shop, query: str, *parameters: object) -> list[tuple]:
    with psycopg.connect(shop.addresses.database_url) as connection:
        return connection.execute(query, parameters).fetchall()

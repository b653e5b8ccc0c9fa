"""What the demo shows of a filled shop: three portraits, what each of these users is recommended, and finds."""

import time
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import text

from services.cli.demo_steps import Shop
from services.cli.output import console, print_table
from services.cli.profiles import show as show_portrait
from services.core.addresses import Addresses
from services.core.settings import Settings
from services.db.profiles import item_titles
from services.db.searches import recent_queries
from services.db.session import make_engine, transaction

SEARCH_WITHIN_S = 60.0

TYPICAL_USERS = """
SELECT user_id FROM (
  SELECT user_id, count(*) FILTER (WHERE type IN ('purchase', 'review', 'rating')) AS bought, count(*) AS n
  FROM events GROUP BY user_id) AS u
WHERE bought BETWEEN 2 AND 40 ORDER BY abs(bought - 6), md5(user_id) LIMIT :count
"""
"""Users with about six purchases, always the same ones."""


def show(settings: Settings, addresses: Addresses, shop: Shop, users: int = 3, count: int = 5) -> None:
    """Print the portraits of a few typical users, each with their recommendations and the reasons."""
    engine = make_engine(addresses.sqlalchemy_url, pool_size=1)
    key = next(iter(sorted(settings.keys)), None)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=addresses.http_url or "", headers=headers, timeout=10) as client:
        with transaction(engine) as connection:
            user_ids = list(connection.execute(text(TYPICAL_USERS), {"count": users}).scalars())
        for user_id in user_ids:
            console().rule(f"user {user_id}", align="left")
            show_portrait(user_id)
            _show_recommendations(client, engine, user_id, count)
            _show_search(client, engine, user_id, count)
    engine.dispose()


def _show_recommendations(client: httpx.Client, engine: Any, user_id: str, count: int) -> None:
    body = {"user_id": user_id, "count": count, "explain": True, "diversity": 0.2}
    answer = client.post("/v1/recommendations", json=body).raise_for_status().json()
    items = answer["items"]
    with transaction(engine) as connection:
        titles = item_titles(connection, [item["item_id"] for item in items])
    rows = [(item["rank"], titles.get(item["item_id"], item["item_id"])[:70], _why(item)) for item in items]
    print_table(("", "recommended", "why"), rows, title=f"\nRecommended in {answer['took_ms']:.1f} ms")


def _show_search(client: httpx.Client, engine: Any, user_id: str, count: int) -> None:
    """What the user finds today under what they searched for last."""
    with transaction(engine) as connection:
        asked = recent_queries(connection, user_id, datetime.min.replace(tzinfo=UTC), 1)
    if not asked:
        return
    found = _searched(client, {"query": asked[0], "user_id": user_id, "count": count})
    with transaction(engine) as connection:
        titles = item_titles(connection, [item["item_id"] for item in found["items"]])
    rows = [(item["rank"], titles.get(item["item_id"], item["item_id"])[:70]) for item in found["items"]]
    corrected = f", searched as {found['corrected_query']!r}" if found["corrected_query"] else ""
    title = f"\nFound for {asked[0]!r}{corrected}: {found['total']:,} in {found['took_ms']:.1f} ms ({found['mode']})"
    print_table(("", "item"), rows, title=title)


def _searched(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The answer; a gateway opens the first search index some seconds after its first snapshot."""
    until = time.monotonic() + SEARCH_WITHIN_S
    while True:
        found = client.post("/v1/search", json=body).raise_for_status().json()
        if found["mode"] != "not-ready" or time.monotonic() > until:
            return found
        time.sleep(0.5)


def _why(item: dict[str, Any]) -> str:
    reasons = item.get("reasons") or []
    return reasons[0]["text"][:80] if reasons else ", ".join(item["sources"])

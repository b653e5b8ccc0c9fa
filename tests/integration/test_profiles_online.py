"""Recomputed portraits are what the real online store serves."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from services.core.addresses import Addresses
from services.core.settings import Settings
from services.db.events import insert_events
from services.db.profiles import newest_packed
from services.db.session import make_engine, transaction
from services.db.users import upsert_user
from services.features.online.reader import OnlineReader
from services.features.online.writer import OnlineWriter
from services.features.portrait import unpack
from services.profiles.recompute import recompute_profiles

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


def apply_definitions(settings: Settings) -> None:
    variables = {
        "PORTRAIT_HOME": str(settings.home),
        "PORTRAIT_DATABASE_URL": settings.database_url.get_secret_value(),
        "PORTRAIT_REDIS_URL": settings.redis_url.get_secret_value(),
    }
    command = [sys.executable, "-m", "feature_repo.registry_sync", "apply"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_portraits_go_online_and_a_refusal_takes_them_off(database: Addresses, database_settings: Settings):
    apply_definitions(database_settings)
    engine = make_engine(database.sqlalchemy_url, pool_size=2)
    rows = {
        "event_id": ["e1", "e2"],
        "user_id": ["ada", "bea"],
        "item_id": ["lips", "serum"],
        "type": ["purchase", "cart"],
        "timestamp": pa.array([NOW - timedelta(days=1)] * 2, pa.timestamp("us", tz="UTC")),
    }
    with transaction(engine) as connection:
        insert_events(connection, pa.table(rows))
    writer, reader = OnlineWriter(database), OnlineReader(database)
    recompute_profiles(engine, writer, as_of=NOW)
    with transaction(engine) as connection:
        stored = unpack(newest_packed(connection, "ada"))
        upsert_user(connection, "ada", consent={"personalisation": False})
    assert reader.portrait("ada") == stored
    assert reader.portrait("bea").bought == ()
    recompute_profiles(engine, writer, as_of=NOW + timedelta(hours=1), user_ids=["ada", "bea"])
    assert reader.portrait("ada") is None
    assert reader.portrait("bea").as_of == (NOW + timedelta(hours=1)).timestamp()
    engine.dispose()

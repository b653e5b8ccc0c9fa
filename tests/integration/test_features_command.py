"""The feature repository through Feast's own command and through `portrait features`, as an engineer uses them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
import yaml
from click.testing import Result
from feast import FeatureStore
from typer.testing import CliRunner

from feature_repo import names, registry_sync
from services.cli.main import build_app
from services.core.addresses import Addresses
from services.core.paths import HomePaths
from services.core.settings import get_settings
from services.features.online import OnlineReader, OnlineWriter, open_store
from services.features.online.connection import KEY_VERSION, repo_config
from services.features.portrait import Portrait
from services.runtime.valkey import EmbeddedValkey, ValkeyConfig

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "feature_repo"
FEAST = Path(sys.executable).parent / "feast"


def run(*command: str | Path, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with these settings and no other PORTRAIT_* ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=kept | settings, capture_output=True, text=True, check=False)


@pytest.fixture
def portrait(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """`portrait features …` in this process."""
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    get_settings.cache_clear()
    yield lambda *words: CliRunner().invoke(build_app(), ["features", *words])
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def applied(database: Addresses, home: Path) -> Addresses:
    """The definitions applied by Feast's own command, which is told nothing but the home."""
    done = run(FEAST, "apply", folder=REPOSITORY, PORTRAIT_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert "user_serving" in done.stdout
    return database


def registry_rows(addresses: Addresses) -> dict[str, list[tuple[object, ...]]]:
    """The registry's tables but for the project's own time of the last apply."""
    with psycopg.connect(addresses.database_url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'feast' ORDER BY 1").fetchall()
        own = [name for (name,) in found if name not in ("projects", "feast_metadata")]
        return {name: sorted(connection.execute(f"SELECT * FROM feast.{name}").fetchall(), key=repr) for name in own}


def test_applying_twice_changes_nothing(applied: Addresses, home: Path) -> None:
    before = registry_rows(applied)
    assert len(before["feature_views"]) == 8
    done = run(FEAST, "apply", folder=REPOSITORY, PORTRAIT_HOME=str(home), PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    assert registry_rows(applied) == before
    assert registry_sync.plan(FeatureStore(config=repo_config(applied))) == []


def test_the_commands_rebuild_and_check_the_online_store(
    applied: Addresses, home: Path, portrait: Callable[..., Result]
) -> None:
    with psycopg.connect(applied.database_url) as connection:
        connection.execute(
            "INSERT INTO behaviour_features (user_id, event_timestamp, views_1h) VALUES ('u', now() - interval '1h', 3)"
        )
    done = run(FEAST, "materialize-incremental", "2100-01-01T00:00:00", folder=REPOSITORY, PORTRAIT_HOME=str(home))
    assert done.returncode == 0, done.stderr
    reader = OnlineReader(applied)
    written = reader.values(names.USER_BEHAVIOUR, ["u"])
    assert written[0] is not None and written[0]["views_1h"] == 3.0
    with redis.Redis.from_url(applied.redis_url) as client:
        client.flushdb()
    behind = portrait("check")
    assert behind.exit_code == 3
    assert "The registry matches feature_repo/" in behind.stdout  # materialising is no change of definitions
    rebuilt = portrait("materialize", "--all", "--json")
    assert rebuilt.exit_code == 0, rebuilt.output
    assert json.loads(rebuilt.stdout)["rows"][names.USER_BEHAVIOUR] == 1
    assert reader.values(names.USER_BEHAVIOUR, ["u"]) == written
    sound = portrait("check", "--json")
    assert sound.exit_code == 0
    assert json.loads(sound.stdout)["sound"] is True


def test_a_view_in_a_new_file_needs_nothing_else(applied: Addresses, home: Path, tmp_path: Path) -> None:
    """A copy of the folder with one file more; `feature_repo` is imported from there."""
    copy = tmp_path / "feature_repo"
    copy.mkdir()
    for path in (*REPOSITORY.glob("*.py"), REPOSITORY / "feature_store.yaml", REPOSITORY / ".feastignore"):
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "loyalty_views.py").write_text(
        '"""Loyalty."""\n\n'
        "from datetime import timedelta\n\n"
        "from feast import FeatureView, Field\n"
        "from feast.types import Float32, String\n\n"
        "from feature_repo.entities import user\n"
        "from feature_repo.sources import table_source\n\n"
        "user_loyalty = FeatureView(\n"
        '    name="user_loyalty",\n    entities=[user],\n    ttl=timedelta(days=400),\n'
        '    schema=[Field(name="user_id", dtype=String), Field(name="points", dtype=Float32)],\n'
        '    source=table_source("loyalty_features", ("points",), "Loyalty."),\n)\n'
    )
    where = {"PORTRAIT_HOME": str(home), "PYTHONPATH": str(tmp_path)}
    done = run(sys.executable, "-m", "feature_repo.registry_sync", "apply", folder=tmp_path, **where)
    created = {(change["action"], change["name"]) for change in json.loads(done.stdout)["changes"]}
    assert created == {("create", "user_loyalty"), ("create", "loyalty_features")}
    planned = run(FEAST, "plan", folder=copy, **where)
    assert planned.returncode == 0, planned.stderr
    assert "loyalty" not in planned.stdout  # Feast's own command finds the same definitions


def test_without_a_stack_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "services.cli.main", "features", "apply", folder=tmp_path)
    assert done.returncode == 1
    assert "portrait up" in done.stderr


# what the definitions promise


def test_every_object_has_a_description_and_an_owner_and_every_view_a_ttl() -> None:
    contents = registry_sync.contents()
    objects = [*contents.feature_views, *contents.on_demand_feature_views, *contents.feature_services]
    objects += [*contents.data_sources, *(e for e in contents.entities if e.name != "__dummy")]
    assert [o.name for o in objects if not (o.description and o.owner)] == []
    assert [v.name for v in contents.feature_views if v.ttl is None or not v.tags] == []


def test_the_views_have_the_named_features() -> None:
    views = {view.name: [f.name for f in view.features] for view in registry_sync.contents().feature_views}
    assert views[names.USER_BEHAVIOUR] == list(names.BEHAVIOUR_FEATURES)
    assert views[names.ITEM_ENGAGEMENT] == list(names.ENGAGEMENT_FEATURES)
    assert views[names.USER_SERVING] == [names.PACKED]
    offline_only = {v.name for v in registry_sync.contents().feature_views if not v.online}
    assert offline_only == {names.USER_VECTORS, names.ITEM_EMBEDDING}


def test_the_file_and_the_services_mean_the_same_store() -> None:
    written = yaml.safe_load((REPOSITORY / "feature_store.yaml").read_text())
    assert written["project"] == names.PROJECT
    assert written["entity_key_serialization_version"] == KEY_VERSION
    assert written["registry"]["cache_ttl_seconds"] == 0


# other people's servers


@pytest.fixture
def locked_valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey of its own that asks for a user name and a password full of separators."""
    with tempfile.TemporaryDirectory(prefix="pt-") as folder:
        server = EmbeddedValkey(HomePaths(Path(folder)), ValkeyConfig(durable=False))
        server.start()
        try:
            with closing(redis.Redis.from_url(server.url())) as client:
                client.acl_setuser("shop", enabled=True, passwords=["+p,a=s:s@/1"], keys=["*"], categories=["+@all"])
            yield server
        finally:
            server.stop()


def test_an_online_store_with_user_and_password_works_over_tcp(
    applied: Addresses, locked_valkey: EmbeddedValkey
) -> None:
    url = f"redis://shop:p%2Ca%3Ds%3As%40%2F1@127.0.0.1:{locked_valkey.port}/2"
    store = open_store(Addresses(applied.database_url, url, url))
    known = Portrait("u", 4e9, None, 1, 0.5, "active")
    OnlineWriter(applied, store).write_portraits([known])
    assert OnlineReader(applied, store).portrait("u") == known
    with closing(redis.Redis.from_url(url)) as client:
        assert client.dbsize() == 1

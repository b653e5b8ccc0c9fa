"""The offline evaluation of the serving pipeline, on a shop of two tastes."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from services.cli import evaluate
from services.core.errors import InvalidInput
from services.core.settings import get_settings
from services.profiles.offline import offline_serving
from services.profiles.shop_data import EvaluationData
from training.event_log import make_event_log
from training.pipeline import PipelineInputs, PipelineRecommender
from training.splits import Split, leave_one_out

LAMPS, CHAIRS = ["lamp-1", "lamp-2", "lamp-3", "lamp-4"], ["chair-1", "chair-2", "chair-3", "chair-4"]
USERS = 24


def sequences() -> list[str]:
    """Users buy three of the four lamps or of the four chairs, in turn."""
    lines = []
    for number in range(USERS):
        taste = LAMPS if number % 2 else CHAIRS
        start = number // 2 % 4
        lines.append(" ".join([f"user-{number}", *(taste[(start + step) % 4] for step in range(3))]))
    return lines


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An events file and a catalogue; the home is the test's own."""
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    events, items = tmp_path / "sequences.txt", tmp_path / "items.jsonl"
    events.write_text("\n".join(sequences()))
    rows = [
        {"item_id": item, "title": item.replace("-", " "), "categories": [item[:-2]], "price": 10.0 + n}
        for n, item in enumerate(LAMPS + CHAIRS)
    ]
    items.write_text("\n".join(map(json.dumps, rows)))
    yield events, items
    get_settings.cache_clear()


def run(*arguments: str) -> str:
    app = typer.Typer()
    evaluate.register(app)
    app.command()(lambda: None)  # with two commands Typer keeps their names
    result = CliRunner().invoke(app, ["evaluate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_command_compares_models_on_files_and_answers_in_json(files: tuple[Path, Path], tmp_path: Path) -> None:
    out, tables = tmp_path / "out.json", tmp_path / "out.md"
    run("--events", str(files[0]), "--format", "sequences", "--models", "popularity,item-knn", "--json", str(out),
        "--markdown", str(tables))  # fmt: skip
    told = json.loads(out.read_text())
    assert told["split"] == "leave-one-out"
    assert told["data"] == {"source": "sequences.txt", "users": USERS, "items": 8, "events": 3 * USERS,
                            "target_type": "purchase", "evaluated_users": USERS}  # fmt: skip
    assert [model["name"] for model in told["models"]] == ["popularity", "item-knn"]
    assert "| item-knn |" in tables.read_text()


def test_a_model_that_does_not_exist_is_named(files: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidInput, match="item-knn"):
        run("--events", str(files[0]), "--models", "magic")


def test_what_is_predicted_can_be_chosen(files: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidInput, match="event types are"):
        run("--events", str(files[0]), "--models", "popularity", "--target", "glance")
    with pytest.raises(InvalidInput, match="nothing can be predicted"):
        run("--events", str(files[0]), "--models", "popularity", "--target", "click")


def test_a_model_that_needs_texts_asks_for_the_catalogue(files: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidInput, match="--items"):
        run("--events", str(files[0]), "--models", "weighted-profile")


def shop() -> EvaluationData:
    """The same shop with vectors that tell lamps from chairs."""
    rows = [line.split() for line in sequences()]
    events = pa.table(
        {
            "user_id": [row[0] for row in rows for _ in row[1:]],
            "item_id": [item for row in rows for item in row[1:]],
            "type": ["purchase"] * (3 * USERS),
            "timestamp": pa.array([n * 86_400_000_000 for _ in rows for n in range(3)], pa.timestamp("us", "UTC")),
        }
    )
    ids = sorted(LAMPS + CHAIRS)
    items = pa.table(
        {
            "item_id": ids,
            "title": ids,
            "description": pa.nulls(8, pa.string()),
            "brand": pa.nulls(8, pa.string()),
            "categories": pa.array([[name[:-2]] for name in ids], pa.list_(pa.string())),
            "price": [10.0] * 8,
            "currency": ["EUR"] * 8,
            "attributes": ["{}"] * 8,
            "available": [True] * 8,
            "published_at": pa.nulls(8, pa.timestamp("us", "UTC")),
        }
    )
    vectors = np.array([[1, 0.1 * n, 0] if name.startswith("lamp") else [0, 0.1 * n, 1] for n, name in enumerate(ids)])
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return EvaluationData("shop", events, items, unit, "by-hand")


def serving(data: EvaluationData, split: Split) -> PipelineInputs:
    made = offline_serving(split.fit_events(), split.history_events(), data.items, data.vector_table())
    return PipelineInputs(*made)


def test_the_pipeline_recommends_to_each_user_what_fits_the_taste() -> None:
    data = shop()
    split = leave_one_out(make_event_log(data.events, data.item_ids)).test
    recommender = PipelineRecommender(lambda split: serving(data, split))
    recommender.fit(split)
    ranked = recommender.recommend(split.users, 2)
    names = np.array(data.item_ids.to_pylist())[ranked]
    bought = [set(line.split()[1:3]) for line in sorted(sequences())]
    for best, own in zip(names[:, 0], bought, strict=True):
        assert best not in own
        assert best[:-2] == next(iter(own))[:-2]


def test_inputs_of_the_pipeline_hold_no_target() -> None:
    data = shop()
    split = leave_one_out(make_event_log(data.events, data.item_ids)).test
    inputs = serving(data, split)
    owned = {user: set(portrait.bought) for user, portrait in inputs.portraits.items()}
    targets = {line.split()[0]: line.split()[-1] for line in sequences()}
    assert owned.keys() == targets.keys()
    assert not any(targets[user] in items for user, items in owned.items())
    assert inputs.snapshot.engagement_column("purchases_total").sum() == 2 * USERS

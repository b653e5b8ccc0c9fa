"""The text encoder learns a shop's pairs through low-rank changes alone, and serves them under a version of its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from services.core.errors import NotReady
from services.encoders.adapter import read_adapter
from services.encoders.device import resolve_device
from services.encoders.pretrained import EncoderUnavailable
from services.encoders.text import TextEncoder, load_parts, load_text_encoder
from training.text_encoder import SamePair, TextAdapterSettings, adapt, parted, save
from training.text_pairs import TextPairs, text_pairs

MINUTE = 60_000_000
WORDS = [f"word{n}" for n in range(40)]
SETTINGS = TextAdapterSettings(
    dropout=0.0, batch_pairs=32, learning_rate=1e-2, warm_up_steps=1, max_epochs=5, patience=5
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights, two layers and a vocabulary of forty words."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("base") / "tiny-bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=45,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pairs() -> TextPairs:
    """Items are two words; word n goes with word n + 20, which nothing but the pairs tells."""
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(20), 10)
    second = rng.integers(0, 20, 200)
    texts = [f"word{k} word{s}" for k, s in zip(kind, second, strict=True)]
    texts += [f"word{k + 20} word{s}" for k, s in zip(kind, rng.integers(0, 20, 200), strict=True)]
    left = np.repeat(np.arange(200), 3).astype(np.int32)
    right = (200 + kind[left] * 10 + rng.integers(0, 10, 600)).astype(np.int32)
    return TextPairs(tuple(texts), np.arange(400, dtype=np.int32), left, right, np.full(600, "co-purchase"))


def encoder_of(base: Path) -> tuple[TextEncoder, object]:
    model, tokenizer, config = load_parts(str(base))
    return TextEncoder(str(base), model, tokenizer, config, resolve_device("cpu")), model


def test_the_loss_falls_only_the_adapter_changes_and_the_result_serves(
    base: Path, pairs: TextPairs, tmp_path: Path
) -> None:
    encoder, model = encoder_of(base)
    version = encoder.version
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = []
    adapted = adapt(encoder, model, pairs, SETTINGS, 0, tell=lambda figures: losses.append(figures["loss"]))
    assert losses[-1] < 0.5 * losses[0]
    assert adapted.after > adapted.before
    after = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert all((after[name] == value).all() for name, value in before.items())
    changed = [name for name, value in adapted.model.named_parameters() if value.requires_grad]
    assert changed and all("lora_" in name for name in changed)

    save(tmp_path / "text-v1", encoder, adapted, pairs, "default", 0)
    served = load_text_encoder(str(tmp_path / "text-v1"), "cpu")
    assert served.version.startswith("text-v1-") and served.version != version
    assert served.dimension == encoder.dimension
    told = read_adapter(tmp_path / "text-v1")
    assert (told.base_version, told.pairs, told.after) == (version, {"co-purchase": 600}, round(adapted.after, 4))
    texts = list(pairs.texts[:5])
    theirs = SamePair(encoder, pairs, SETTINGS)._vectors(adapted.model.eval(), np.arange(5)).detach().numpy()
    assert np.allclose(served.encode(texts), theirs, atol=5e-3)
    assert not np.allclose(served.encode(texts), load_text_encoder(str(base), "cpu").encode(texts), atol=5e-2)


def test_an_adapter_of_another_base_is_refused(base: Path, pairs: TextPairs, tmp_path: Path) -> None:
    import msgspec

    encoder, model = encoder_of(base)
    adapted = adapt(encoder, model, pairs, replace(SETTINGS, max_epochs=1), 0)
    save(tmp_path / "text-v1", encoder, adapted, pairs, "default", 0)
    told = read_adapter(tmp_path / "text-v1")
    other = msgspec.structs.replace(told, base_version="tiny-bert-0000")
    (tmp_path / "text-v1" / "portrait.json").write_bytes(msgspec.json.encode(other))
    with pytest.raises(EncoderUnavailable, match="tiny-bert-0000"):
        load_text_encoder(str(tmp_path / "text-v1"), "cpu")


def test_held_out_items_are_in_no_pair_that_teaches(pairs: TextPairs) -> None:
    taught, held = parted(pairs, SETTINGS, 0)
    assert not set(taught.right) & set(held.right) and not set(taught.left) & set(held.right)
    with pytest.raises(NotReady, match="too few"):
        adapt(None, None, pairs.take(np.arange(20)), SETTINGS, 0)


def test_pairs_are_what_one_user_meets_soon_after_and_what_a_query_led_to() -> None:
    rows = [  # user, item, type, minute, query
        ("ada", "a", "view", 0, None), ("ada", "b", "view", 5, None), ("ada", "c", "view", 90, None),
        ("ada", "a", "purchase", 100, None), ("ada", "no text", "purchase", 101, None),
        ("bob", "b", "purchase", 0, None), ("bob", "c", "purchase", 60 * 24, None),
        ("eve", None, "search", 0, "red tea"), ("eve", "c", "click", 2, None), ("eve", "a", "click", 30, None),
    ]  # fmt: skip
    user, item, kind, minute, query = zip(*rows, strict=True)
    events = pa.table(
        {
            "user_id": user,
            "item_id": pa.array(item, pa.string()),
            "type": kind,
            "timestamp": pa.array([m * MINUTE for m in minute], pa.timestamp("us", "UTC")),
            "query": pa.array(query, pa.string()),
        }
    )
    found = text_pairs(events, pa.array(["a", "b", "c", "no text"]), ["A", "B", "C", ""], 100, 0)
    texts = [(kind, found.texts[left], found.texts[right]) for kind, left, right in _rows(found)]
    assert sorted(texts) == [("co-purchase", "B", "C"), ("co-view", "A", "B"), ("query-click", "red tea", "C")]
    assert found.item.tolist() == [0, 1, 2, 3, -1]
    assert found.counts() == {"co-purchase": 1, "co-view": 1, "query-click": 1}


def _rows(pairs: TextPairs) -> list[tuple[str, int, int]]:
    return list(zip(pairs.kind.tolist(), pairs.left.tolist(), pairs.right.tolist(), strict=True))


def test_the_job_reads_the_shop_and_leaves_an_encoder(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    from services.core.settings import Settings
    from services.workers import text_adapter as job

    count, users = 60, 40
    items = pa.table(
        {
            "item_id": [f"item-{n:02d}" for n in range(count)],
            "title": [f"word{n % 20} word{20 + n % 17}" for n in range(count)],
            "brand": pa.nulls(count, pa.string()),
            "categories": pa.array([[]] * count, pa.list_(pa.string())),
            "description": pa.nulls(count, pa.string()),
            "attributes": ["{}"] * count,
        }
    )
    rows = [(user, step) for user in range(users) for step in range(6)]
    events = pa.table(
        {
            "user_id": [f"user-{user:02d}" for user, _ in rows],
            "item_id": [f"item-{(user * 7 + step * (11 + user % 4)) % count:02d}" for user, step in rows],
            "type": ["view"] * len(rows),
            "timestamp": pa.array([step * MINUTE for _, step in rows], pa.timestamp("us", "UTC")),
            "query": pa.nulls(len(rows), pa.string()),
        }
    )
    monkeypatch.setattr(job, "transaction", lambda engine: nullcontext())
    monkeypatch.setattr(job, "read_events", lambda connection, **asked: events.select(list(asked["columns"])))
    monkeypatch.setattr(job, "read_items", lambda connection: items)
    settings = Settings(home=tmp_path, text_encoder=str(base), device="cpu", mlflow_tracking_uri="none")
    shares: list[float] = []
    found = job.adapt_text_encoder(None, settings, "small", 0, shares.append)
    assert found["pairs"]["co-view"] > 100 and found["epochs"] in (1, 2)
    assert shares == [0.5, 0.95][: len(shares)]
    assert load_text_encoder(found["folder"], "cpu").version.startswith(Path(found["folder"]).name)
    again = Settings(home=tmp_path, text_encoder=found["folder"], device="cpu", mlflow_tracking_uri="none")
    assert job.adapt_text_encoder(None, again, "small", 1, shares.append)["base"] == found["base"]  # not on top of it

"""Text vectors do not depend on batching, order, length or neighbours, and bad names say what to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.core.errors import PortraitError
from services.encoders.text import TextEncoder, load_text_encoder

TEXTS = ["red lipstick", "blue shoe", "a b c a b c a b c", "red", "lip", "c b a"]


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> TextEncoder:
    found = load_text_encoder(str(tiny_bert), "cpu")
    found.policy = replace(found.policy, dtype=None)
    return found


def test_vectors_have_length_one_and_come_in_the_order_of_the_texts(encoder: TextEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (6, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[::-1], encoder.encode(TEXTS[::-1]), atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(encoder: TextEncoder) -> None:
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS * 3)[:6], alone, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch_in_bf16(encoder: TextEncoder) -> None:
    exact = encoder.encode(TEXTS)
    full = encoder.policy
    encoder.policy = replace(full, dtype=torch.bfloat16, token_budget=12)
    try:
        many, alone = encoder.encode(TEXTS), np.concatenate([encoder.encode([text]) for text in TEXTS])
    finally:
        encoder.policy = full
    np.testing.assert_allclose((many * alone).sum(1), 1, atol=1e-3)
    np.testing.assert_allclose((many * exact).sum(1), 1, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
def test_weights_that_are_kept_as_they_are_multiplied_give_the_same_vectors(
    tiny_bert: Path, dtype: torch.dtype | None
) -> None:
    kept = load_text_encoder(str(tiny_bert), "cpu")
    kept.policy = replace(kept.policy, dtype=dtype)
    before, version = kept.encode(TEXTS), kept.version
    kept.only_encode()
    np.testing.assert_array_equal(kept.encode(TEXTS), before)
    linear = [layer.weight.dtype for layer in kept.model.modules() if isinstance(layer, torch.nn.Linear)]
    assert set(linear) == {dtype or torch.float32}
    assert kept.version == version


def test_mean_pooling_ignores_padding(encoder: TextEncoder, tiny_bert: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tiny_bert)("red lipstick", return_tensors="pt")
    with torch.inference_mode():
        mean = AutoModel.from_pretrained(tiny_bert)(**tokens).last_hidden_state.mean(1)
    expected = torch.nn.functional.normalize(mean, dim=1).numpy()
    np.testing.assert_allclose(encoder.encode(["a b c a b c a b c", "red lipstick"])[1:], expected, atol=1e-5)


def test_no_texts_give_no_rows(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("text", ["", "   ", "\ud800 lone", "red " * 100_000, "\x00\u202e🛒", "口红 " * 50])
def test_any_text_has_a_finite_vector(encoder: TextEncoder, text: str) -> None:
    vectors = encoder.encode([text, "red"])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[1], encoder.encode(["red"])[0], atol=1e-5)


def test_a_stream_is_encoded_chunk_by_chunk_with_progress(encoder: TextEncoder) -> None:
    seen: list[int] = []
    chunks = list(encoder.encode_iter(iter(TEXTS), chunk=4, progress=seen.append))
    assert [len(chunk) for chunk in chunks] == [4, 2]
    assert seen == [4, 6]
    np.testing.assert_allclose(np.concatenate(chunks), encoder.encode(TEXTS), atol=1e-5)


def test_the_version_names_weights_and_configuration(encoder: TextEncoder, tiny_bert: Path, tmp_path: Path) -> None:
    assert load_text_encoder(str(tiny_bert), "cpu").version == encoder.version
    from transformers import AutoModel, AutoTokenizer

    changed = AutoModel.from_pretrained(tiny_bert)
    with torch.no_grad():
        changed.embeddings.word_embeddings.weight[5, 0] += 0.5
    changed.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    assert load_text_encoder(str(tmp_path), "cpu").version.rsplit("-", 1)[1] != encoder.version.rsplit("-", 1)[1]


def test_e5_models_get_their_prefixes(tiny_bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "multilingual-e5-tiny"
    folder.symlink_to(tiny_bert)
    encoder = load_text_encoder(str(folder), "cpu")
    assert (encoder.config.passage_prefix, encoder.config.query_prefix) == ("passage: ", "query: ")
    passage, query = encoder.encode(["red shoe"]), encoder.encode(["red shoe"], purpose="query")
    assert not np.allclose(passage, query, atol=1e-3)


def test_first_token_pooling_is_read_from_the_models_own_files(tiny_bert: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(tiny_bert, tmp_path / "cls")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    encoder = load_text_encoder(str(folder), "cpu")
    assert (encoder.config.pooling, encoder.config.max_tokens) == ("first", 16)


@pytest.mark.parametrize("name", ["nobody/no-such-model", "/nonexistent/folder"])
def test_an_unknown_model_says_what_to_do(name: str) -> None:
    with pytest.raises(PortraitError, match="packaged default") as caught:
        load_text_encoder(name, "cpu")
    assert caught.value.code == "encoder-unavailable"


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match="does not hold a model"):
        load_text_encoder(str(tmp_path), "cpu")

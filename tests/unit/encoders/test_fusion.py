"""Fused vectors: text geometry kept exactly, a missing modality never breaks comparability."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.core.errors import ConfigurationError
from services.core.types import Modality
from services.encoders.fusion import FusionConfig, catalogue_centre, fuse
from services.encoders.projection import random_projection

RANDOM = np.random.default_rng(3)


def unit(rows: int, width: int) -> np.ndarray:
    vectors = RANDOM.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


TEXT, IMAGE, VIDEO = unit(200, 384), unit(200, 1280), unit(200, 1280)


def test_text_alone_is_the_text_vector_itself() -> None:
    for image in (None, np.zeros((200, 1280), np.float32)):
        fused, covered = fuse(TEXT, image, None)
        np.testing.assert_array_equal(fused, TEXT)
        assert covered.all()


def test_masks_zeros_and_nan_all_mean_missing() -> None:
    image = IMAGE[:3].copy()
    image[1], image[2] = 0, np.nan
    mask = np.array([False, True, True])
    fused, covered = fuse(TEXT[:3], image, None, {Modality.IMAGE: mask})
    np.testing.assert_array_equal(fused, TEXT[:3])
    fused, covered = fuse(None, image, None, {Modality.IMAGE: mask})
    assert not fused.any()
    assert not covered.any()


def test_vectors_have_length_one_whatever_is_missing() -> None:
    masks = {modality: RANDOM.random(200) < 0.5 for modality in Modality}
    fused, covered = fuse(TEXT, IMAGE, VIDEO, masks)
    assert fused.dtype == np.float32
    np.testing.assert_array_equal(covered, np.logical_or.reduce(list(masks.values())))
    np.testing.assert_allclose(np.linalg.norm(fused, axis=1), covered.astype(float), atol=1e-5)


def test_cosine_of_two_full_items_is_the_weighted_mean_of_their_cosines() -> None:
    text = TEXT[0] + 0.6 * TEXT[1]
    text /= np.linalg.norm(text)
    image = IMAGE[0] + 0.4 * IMAGE[1]
    image /= np.linalg.norm(image)
    fused, _ = fuse(np.stack([TEXT[0], text]), np.stack([IMAGE[0], image]), None)
    expected = (TEXT[0] @ text + 0.25 * IMAGE[0] @ image) / 1.25
    assert fused[0] @ fused[1] == pytest.approx(expected, abs=0.12)


def test_a_text_only_item_ranks_full_items_as_their_texts_do() -> None:
    query = TEXT[:1]
    near = query + 0.5 * unit(50, 384)
    texts = np.concatenate([near / np.linalg.norm(near, axis=1, keepdims=True), TEXT[50:100]])
    full, _ = fuse(texts, IMAGE[:100], None)
    alone, _ = fuse(query, None, None)
    cosines = (full @ alone.T).ravel()
    np.testing.assert_allclose(cosines, (texts @ query.T).ravel() / np.sqrt(1.25), atol=0.15)
    assert cosines[:50].min() > cosines[50:].max()


def test_unrelated_modalities_are_nearly_orthogonal() -> None:
    pictures, _ = fuse(None, IMAGE, None)
    assert np.abs((TEXT * pictures).sum(1)).max() < 5 / np.sqrt(384)


def test_a_video_counts_as_a_second_view_of_the_same_thing() -> None:
    both, _ = fuse(TEXT, IMAGE, IMAGE)
    one, _ = fuse(TEXT, IMAGE, None)
    np.testing.assert_allclose(both, one, atol=1e-5)
    picture, _ = fuse(None, IMAGE, None)
    clip, _ = fuse(None, None, IMAGE)
    np.testing.assert_allclose(picture, clip, atol=1e-6)


def test_rows_do_not_influence_each_other() -> None:
    whole, _ = fuse(TEXT, IMAGE, VIDEO)
    parts = np.concatenate([fuse(TEXT[i : i + 7], IMAGE[i : i + 7], VIDEO[i : i + 7])[0] for i in range(0, 200, 7)])
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_another_text_width_is_projected_to_the_dimension() -> None:
    narrow, wide = unit(5, 100), unit(5, 1024)
    for text in (narrow, wide):
        assert fuse(text, None, None)[0].shape == (5, 384)
    fused, _ = fuse(narrow, None, None)
    np.testing.assert_allclose(fused @ fused.T, narrow @ narrow.T, atol=1e-5)  # wider space: an exact isometry


def test_learned_matrices_replace_the_projection_and_change_the_version() -> None:
    matrix = RANDOM.normal(size=(1280, 384)).astype(np.float32)
    plain, learned = FusionConfig(), FusionConfig(learned={Modality.IMAGE: matrix})
    fused, _ = fuse(None, IMAGE[:2], None, config=learned)
    expected = IMAGE[:2] @ matrix
    np.testing.assert_allclose(fused, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    assert learned.version != plain.version
    assert plain.version == FusionConfig().version != FusionConfig(image_weight=0.4).version
    with pytest.raises(ConfigurationError, match="learned"):
        fuse(None, IMAGE, None, config=FusionConfig(learned={Modality.IMAGE: matrix[:5]}))


def test_a_centre_makes_unrelated_pictures_orthogonal() -> None:
    skewed = IMAGE + 0.05
    config = FusionConfig(centres={Modality.IMAGE: catalogue_centre(skewed)})
    raw, _ = fuse(None, skewed, None)
    centred, _ = fuse(None, skewed, None, config=config)
    others = ~np.eye(200, dtype=bool)
    assert (raw @ raw.T)[others].mean() > 0.5
    assert abs((centred @ centred.T)[others].mean()) < 0.02


@pytest.mark.parametrize("call", [(None, None, None), (TEXT[:2], IMAGE[:3], None)])
def test_nothing_or_uneven_rows_are_refused(call: tuple) -> None:
    with pytest.raises(ConfigurationError):
        fuse(*call)


def test_senseless_weights_are_refused() -> None:
    for weights in ({"text_weight": -1.0}, {"image_weight": float("nan")}, {"dimension": 0}):
        with pytest.raises(ConfigurationError):
            FusionConfig(**weights)


def test_no_items_give_no_rows() -> None:
    fused, covered = fuse(TEXT[:0], IMAGE[:0], None)
    assert (fused.shape, covered.shape) == ((0, 384), (0,))


def test_the_projection_is_fixed_for_ever() -> None:
    matrix = random_projection("efficientnet-lite0-e623a2f3d866", 8, 4)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(4), atol=1e-6)
    again = random_projection.__wrapped__("efficientnet-lite0-e623a2f3d866", 8, 4)
    np.testing.assert_array_equal(matrix, again)
    np.testing.assert_allclose(matrix[0], [-0.353553, 0.456435, 0.0, -0.408248], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60))
@example(2, 2)  # the first draw of this name is singular
def test_projections_are_orthonormal_in_both_directions(inner: int, outer: int) -> None:
    matrix = random_projection("any", inner, outer)
    product = matrix.T @ matrix if inner >= outer else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(min(inner, outer)), atol=1e-5)

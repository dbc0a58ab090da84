"""What mini is given: a square image, and words as ids of their own and of their n-grams."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from risctl.core.encoders.text.hashed_words import GRAMS
from risctl.errors import UsageError
from risctl.systems.mini.preprocess import FILL, MiniPreprocess

PREPROCESS = MiniPreprocess(size=64, words=("left", "cup"), buckets=64, max_words=3)


def test_an_image_lies_in_a_square_whose_border_is_filled() -> None:
    image, geometry = PREPROCESS.image(np.full((20, 40, 3), 255, dtype=np.uint8))
    assert image.shape == (3, 64, 64)
    padding = geometry.padding()
    assert torch.equal(image[:, padding].unique(), torch.tensor([FILL])) and bool((image[:, ~padding] == 1).all())


def test_a_target_has_a_quarter_of_the_inputs_side() -> None:
    _, geometry = PREPROCESS.image(np.zeros((20, 40, 3), dtype=np.uint8))
    mask = np.ones((20, 40), dtype=bool)
    assert PREPROCESS.target(mask, geometry).shape == (16, 16)
    assert torch.equal(PREPROCESS.instance_masks(mask[None], geometry)[0], ~geometry.padding())


def test_a_word_has_an_id_of_its_own_and_those_of_its_n_grams() -> None:
    ids, present = PREPROCESS.text("cup unknown")
    assert ids.shape == present.shape == (3 * (1 + GRAMS),)
    words = ids.unflatten(0, (3, 1 + GRAMS))
    assert words[:, 0].tolist() == [3, 1, 0] and words[:2, 1].all() and not words[2].any()
    assert present.unflatten(0, words.shape).all(1).tolist() == [True, True, False]


def test_signs_alone_are_no_words() -> None:
    with pytest.raises(UsageError, match="at least one word"):
        PREPROCESS.text("?!")

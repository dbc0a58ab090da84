"""The runtime without torch prepares inputs as the system does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from risctl.errors import UsageError
from risctl.runtime.inputs import HashedWordTokens, mini_image
from risctl.systems.mini.preprocess import FILL, MiniPreprocess

WORDS = ["<pad>", "<unk>", "the", "man", "left"]
SETTINGS = {"kind": "hashed_words", "buckets": 64, "max_words": 5}


@pytest.mark.parametrize(("height", "width"), [(48, 90), (90, 31), (64, 64), (10, 12)])
def test_an_image_is_laid_out_as_in_torch(height: int, width: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected, geometry = MiniPreprocess(size=64, words=(), buckets=64, max_words=5).image(image)
    laid = mini_image(image, {"size": 64, "fill": FILL})
    assert np.array_equal(laid.images[0], expected.numpy())
    assert np.array_equal(laid.padding[0], geometry.padding().numpy())
    maps = np.random.default_rng(2).random((16, 16), dtype=np.float32)
    assert np.allclose(laid.restore(maps), geometry.invert(torch.from_numpy(maps)[None])[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("text", ["the man", "The LEFT man's hat", "zebra", "the the the the the the man"])
def test_a_text_has_the_tokens_of_torch(text: str) -> None:
    expected = MiniPreprocess(size=64, words=WORDS[2:], buckets=64, max_words=5).text(text)
    ids, mask = HashedWordTokens(WORDS, SETTINGS)(text)
    assert np.array_equal(ids, expected[0].numpy()) and np.array_equal(mask, expected[1].numpy())


def test_what_cannot_be_read_is_said() -> None:
    tokens = HashedWordTokens(WORDS, SETTINGS)
    with pytest.raises(UsageError, match="at least one word"):
        tokens(" ... ")
    assert tokens.warnings("the zebra, man") == ["not among the words of its training: 'zebra,'"]
    assert tokens.warnings("the man left the man left") == ["only the first 5 of 6 words are read"]

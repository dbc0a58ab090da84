"""Samples as items: letterboxed, flipped with their words, coloured, the same from the same generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from risctl.data.loading.image_dataset import to_item
from risctl.data.records import Sample, SampleIds
from risctl.data.transforms.augmentations import augment, flip, jitter_colour
from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary


def make_sample(*, text: str = "left box") -> Sample:
    generator = np.random.default_rng(1)
    mask = np.zeros((30, 50), dtype=bool)
    mask[5:20, 3:15] = True
    image = generator.integers(0, 256, size=(30, 50, 3), dtype=np.uint8)
    return Sample(image=image, text=text, mask=mask, ids=SampleIds(image_id=1, ref_id=2, sentence_id=3))


@pytest.fixture
def preprocess() -> LetterboxPreprocess:
    vocabulary = Vocabulary.from_texts(["left right box"])
    return LetterboxPreprocess(size=64, fill=0.5, target_size=32, max_words=4, vocabulary=vocabulary)


def test_item_has_the_shapes_the_system_asked_for(preprocess: LetterboxPreprocess) -> None:
    item = to_item(make_sample(), preprocess)
    assert item.image.shape == (3, 64, 64) and item.image.dtype == torch.float32
    assert item.target is not None and item.target.shape == (32, 32)
    assert item.words.shape == (4,) and item.word_mask.tolist() == [True, True, False, False]
    assert item.ids == SampleIds(image_id=1, ref_id=2, sentence_id=3)
    # The border is grey and holds nothing to find.
    assert bool((item.image[:, 0] == 0.5).all()) and float(item.target[0].sum()) == 0


def test_target_covers_the_mask_in_proportion(preprocess: LetterboxPreprocess) -> None:
    sample = make_sample()
    item = to_item(sample, preprocess)
    assert item.target is not None
    share = float(item.target.sum()) / (32 * 32 * 30 / 50)
    assert share == pytest.approx(sample.mask.mean(), rel=0.1)


def test_a_text_without_a_word_is_refused(preprocess: LetterboxPreprocess) -> None:
    with pytest.raises(UsageError, match="at least one word"):
        preprocess.text("  ")


def test_target_wants_its_own_geometry(preprocess: LetterboxPreprocess) -> None:
    with pytest.raises(TypeError, match="Letterbox"):
        preprocess.target(np.zeros((3, 3), dtype=bool), object())  # type: ignore[arg-type]


def test_flip_mirrors_image_mask_and_words() -> None:
    sample = make_sample()
    mirrored = flip(sample)
    assert mirrored.text == "right box"
    assert np.array_equal(mirrored.image, sample.image[:, ::-1])
    assert np.array_equal(mirrored.mask, sample.mask[:, ::-1])
    twice = flip(mirrored)
    assert twice.text == sample.text and np.array_equal(twice.image, sample.image)


def test_flip_share_is_kept_and_colour_draws_do_not_change_it() -> None:
    sample = make_sample()
    flipped = {
        colour: [
            augment(sample, flip_share=0.5, colour=colour, generator=np.random.default_rng(seed)).text
            for seed in range(200)
        ]
        for colour in (0.0, 0.4)
    }
    assert flipped[0.0] == flipped[0.4]
    assert 60 < flipped[0.0].count("right box") < 140


def test_no_augmentation_changes_nothing() -> None:
    sample = make_sample()
    same = augment(sample, flip_share=0.0, colour=0.0, generator=np.random.default_rng(0))
    assert same.text == sample.text and np.array_equal(same.image, sample.image)


def test_colour_moves_brightness_but_no_place() -> None:
    image = np.full((4, 4, 3), 100, dtype=np.uint8)
    image[:, 2:] = (200, 50, 50)
    means = [jitter_colour(image, strength=0.5, generator=np.random.default_rng(seed)).mean() for seed in range(50)]
    assert min(means) < 0.75 * image.mean() and max(means) > 1.25 * image.mean()
    jittered = jitter_colour(image, strength=0.5, generator=np.random.default_rng(3))
    assert jittered.dtype == np.uint8
    # Each of the two flat halves stays flat, and grey stays grey.
    assert len(np.unique(jittered[:, :2])) == 1 and len(np.unique(jittered[:, 2:].reshape(-1, 3), axis=0)) == 1

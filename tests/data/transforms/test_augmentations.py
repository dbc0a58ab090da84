"""What training may do to pictures and clips: colours, parts, sizes, and pictures that are made to move."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_store
from hypothesis import given
from hypothesis import strategies as st

from risctl.data.loading.clip_dataset import PseudoClipDataset
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.loading.pseudo_clips import Motion, pseudo_clip
from risctl.data.store.reader import Store
from risctl.data.transforms.augmentations import Augmentations, PhotometricDistortion, RandomCrop
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tiny_store(tmp_path_factory.mktemp("store")))


def preprocess_of(store: Store) -> ShortSidePreprocess:
    vocabulary = Vocabulary.from_texts(store.texts("train"), extra=("left", "right"))
    return ShortSidePreprocess(short=48, longest=None, max_words=4, vocabulary=vocabulary)


def noise(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_each_distortion_does_what_it_says() -> None:
    pixels = np.full((4, 4, 3), (200, 100, 50), dtype=np.uint8)
    assert np.array_equal(PhotometricDistortion().image(pixels), pixels)
    assert np.array_equal(PhotometricDistortion(brightness=20).image(pixels), pixels + 20)
    assert np.array_equal(PhotometricDistortion(contrast=0.5).image(pixels), pixels // 2)
    grey = PhotometricDistortion(saturation=0.0).image(pixels)
    assert (np.ptp(grey, axis=2) <= 1).all() and abs(int(grey[0, 0, 0]) - 200) <= 1
    # From orange towards yellow: red stays the strongest, green rises, blue stays the weakest.
    yellow = PhotometricDistortion(hue=18.0).image(pixels)[0, 0].astype(int)
    assert abs(yellow[0] - 200) <= 2 and yellow[1] > 120 and abs(yellow[2] - 50) <= 2
    before = PhotometricDistortion(brightness=100, saturation=0.0, contrast=0.5, contrast_first=True).image(pixels)
    after = PhotometricDistortion(brightness=100, saturation=0.0, contrast=0.5, contrast_first=False).image(pixels)
    # Brightness comes first and may reach white: half of what is cut off there is lost the one way alone.
    assert before.mean() > after.mean()


def test_distortions_are_drawn_half_of_the_time_and_within_bounds() -> None:
    generator = np.random.default_rng(1)
    drawn = [PhotometricDistortion.draw(generator) for _ in range(400)]
    for name, neutral, most in (("brightness", 0, 32), ("contrast", 1, 0.5), ("saturation", 1, 0.5), ("hue", 0, 18)):
        moved = [abs(getattr(one, name) - neutral) for one in drawn if getattr(one, name) != neutral]
        assert 150 < len(moved) < 250 and 0.8 * most < max(moved) <= most


@given(st.integers(20, 300), st.integers(20, 300), st.integers(16, 200), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_a_part_lies_within_and_shows_the_object(height: int, width: int, least: int, more: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    shown = np.zeros((height, width), dtype=bool)
    shown[generator.integers(height), generator.integers(width)] = True
    crop = RandomCrop(probability=1.0, short_sides=(100, 150), min_size=least, max_size=least + more)
    part = crop.draw(shown, generator)
    if part is None:
        return
    assert shown[part].any()
    for side, own, length in zip(part, shown[part].shape, shown.shape, strict=True):
        assert 0 <= side.start < side.stop <= length and own == side.stop - side.start


def test_parts_have_the_sides_of_the_scaled_picture_and_come_as_often_as_asked() -> None:
    shown = np.ones((240, 320), dtype=bool)
    crop = RandomCrop(probability=0.5, short_sides=(480,), min_size=200, max_size=400)  # the picture twice as large
    generator = np.random.default_rng(3)
    parts = [crop.draw(shown, generator) for _ in range(300)]
    kept = [part for part in parts if part is not None]
    assert 110 < len(kept) < 190
    sides = [side.stop - side.start for part in kept for side in part]
    assert min(sides) >= 100 and max(sides) <= 200 and len(set(sides)) > 20
    # What is nowhere may be cut anywhere.
    nothing = np.zeros((240, 320), dtype=bool)
    assert RandomCrop(probability=1.0, short_sides=(480,)).draw(nothing, np.random.default_rng(5)) is not None


def test_items_are_changed_and_stay_functions_of_their_key(store: Store) -> None:
    changes = Augmentations(
        photometric=True, crop=RandomCrop(short_sides=(60,), min_size=30, max_size=60), sizes=(32, 64), longest=90
    )
    plain = ReferringImageDataset(store, "train", preprocess_of(store), seed=4)
    changed, again = (
        ReferringImageDataset(store, "train", preprocess_of(store), augmentations=changes, seed=4) for _ in range(2)
    )
    sides = set()
    for index in range(len(plain)):
        before, after, same = plain.item(0, index), changed.item(0, index), again.item(0, index)
        assert torch.equal(after.image, same.image) and after.text == before.text == same.text
        assert after.target is not None and after.target.any()
        assert after.target.shape == after.image.shape[1:]
        sides.add(min(after.image.shape[1:]))
        assert max(after.image.shape[1:]) <= 90
    assert {32, 64} & sides and max(sides) <= 64  # a part that is long and thin meets the longest side first
    assert {min(plain.item(0, index).image.shape[1:]) for index in range(5)} == {48}


def test_all_frames_of_a_clip_are_changed_alike(store: Store) -> None:
    changes = Augmentations(
        photometric=True, crop=RandomCrop(probability=1.0, short_sides=(60,), min_size=30, max_size=60), sizes=(32, 64)
    )
    still = PseudoClipDataset(store, "train", preprocess_of(store), frames=1, augmentations=changes, seed=2)
    item = still.item(1, 3)
    assert item.image.ndim == 4 and len(item.image) == 1 and item.target is not None and item.target.any()

    class Unmoved(PseudoClipDataset):
        def drawn_sample(self, epoch: int, index: int):  # type: ignore[no-untyped-def]
            sample = super().drawn_sample(epoch, index)
            flat = np.full_like(sample.image, (150, 90, 40))
            return type(sample)(image=flat, text=sample.text, mask=np.ones_like(sample.mask), ids=sample.ids)

    for index in range(6):
        frames = (
            Unmoved(store, "train", preprocess_of(store), frames=4, augmentations=changes, seed=2).item(0, index).image
        )
        assert torch.equal(frames, frames[:1].expand_as(frames))


def test_a_picture_moves_slowly_and_its_mask_with_it() -> None:
    picture = noise(60, 90)
    picture[20:40, 30:60] = (255, 0, 0)
    mask = np.zeros((60, 90), dtype=bool)
    mask[20:40, 30:60] = True
    for seed in range(5):
        pictures, masks = pseudo_clip(picture, mask, frames=5, generator=np.random.default_rng(seed))
        assert len(pictures) == 5 and masks.shape == (5, 60, 90)
        assert np.array_equal(pictures[2], picture) and np.array_equal(masks[2], mask)  # the middle is as it was
        for one, own in zip(pictures, masks, strict=True):
            red = (one[..., 0] > 200) & (one[..., 1] < 60) & (one[..., 2] < 60)
            assert (red & own).sum() / (red | own).sum() > 0.8
            assert 0.6 < own.sum() / mask.sum() < 1.5
        steps = [np.abs(masks[place + 1].astype(int) - masks[place]).sum() for place in range(4)]
        assert 0 < max(steps) < mask.sum()
    first = pseudo_clip(picture, mask, frames=3, generator=np.random.default_rng(0))[1]
    assert not np.array_equal(first[0], first[2])
    assert pseudo_clip(picture, mask, frames=1, generator=np.random.default_rng(0))[0][0] is picture


def test_a_motion_at_rest_is_none() -> None:
    motion = Motion(turn=0.3, shear=0.1, shift=(0.1, -0.1), scale=0.1)
    assert torch.equal(motion.at(0.0, height=30, width=50), torch.eye(3)[:2])
    # A quarter turn of a picture twice as wide as high: what was above comes from the side, not stretched.
    quarter = Motion(turn=np.pi, shear=0.0, shift=(0.0, 0.0), scale=0.0).at(0.5, height=50, width=100)
    assert torch.allclose(quarter, torch.tensor([[0.0, -0.5, 0.0], [2.0, 0.0, 0.0]]), atol=1e-6)

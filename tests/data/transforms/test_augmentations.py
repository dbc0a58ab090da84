"""What training may do to pictures and clips: colours, parts, sizes, and pictures that are made to move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_store
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from risctl.data.loading.clip_dataset import PseudoClipDataset
from risctl.data.loading.image_dataset import Draw, ReferringImageDataset
from risctl.data.loading.pseudo_clips import Motion, pseudo_clip
from risctl.data.records import Sample
from risctl.data.store.reader import Store
from risctl.data.transforms.augmentations import Augmentations, RandomCrop
from risctl.data.transforms.photometric import PhotometricDistortion
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.vision.resize import ImageRegion, ResizeShortest, TrainingResize


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


def test_channels_are_permuted_as_often_as_asked_in_all_six_orders() -> None:
    generator = np.random.default_rng(2)
    drawn = [PhotometricDistortion.draw(generator, swap_channels=0.5).channels for _ in range(600)]
    assert len(set(drawn)) == 6
    # Half of the time one of six orders, one of which changes nothing.
    assert 200 < sum(channels != (0, 1, 2) for channels in drawn) < 300
    pixels = np.full((2, 2, 3), (200, 100, 50), dtype=np.uint8)
    assert PhotometricDistortion(channels=(1, 2, 0)).image(pixels)[0, 0].tolist() == [100, 50, 200]
    never = np.random.default_rng(3)
    assert {PhotometricDistortion.draw(never).channels for _ in range(50)} == {(0, 1, 2)}


@given(st.integers(20, 300), st.integers(20, 300), st.integers(16, 200), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_a_part_lies_within_and_shows_the_object(height: int, width: int, least: int, more: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    shown = np.zeros((height, width), dtype=bool)
    shown[generator.integers(height), generator.integers(width)] = True
    crop = RandomCrop(
        probability=1.0, short_sides=(100, 150), min_size=least, max_size=least + more, keep_object=bool(seed % 2)
    )
    part = crop.draw(shown, generator)
    if part is None:
        return
    assert shown[part.pixels()].any() or not crop.keep_object
    for side, length in zip((part.rows, part.columns), (part.resized_height, part.resized_width), strict=True):
        assert 0 <= side.start < side.stop <= length
    for side, length in zip(part.pixels(), shown.shape, strict=True):
        assert 0 <= side.start < side.stop <= length


def published_size(height: int, width: int, short: int, longest: int | None) -> tuple[int, int]:
    """Return the size that `resize` of the published transforms gives an image (DETR's code)."""
    if longest is not None and max(height, width) / min(height, width) * short > longest:
        short = round(longest * min(height, width) / max(height, width))
    if min(height, width) == short:
        return height, width
    return (int(short * height / width), short) if width < height else (short, int(short * width / height))


PRETRAINING = Augmentations(
    sizes=tuple(range(480, 769, 32)),
    longest=800,
    crop=RandomCrop(sizes=(296, 328, 360, 392, 416, 448, 480, 512), longest=640),
)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 427), (375, 500), (333, 500)])
def test_pretraining_draws_the_two_published_branches(height: int, width: int) -> None:
    """refexp.py: one of ten sizes up to 800, or a crop of 384 to 600 and one of eight sizes up to 640."""
    generator = np.random.default_rng(height)
    preprocess = ShortSidePreprocess(short=360, longest=640, max_words=4, vocabulary=Vocabulary(["left"]))
    whole, cropped, shorts, crops = set(), 0, set(), []
    for _ in range(400):
        drawn = PRETRAINING.draw(np.ones((height, width), dtype=bool), generator)
        assert drawn.short is not None
        geometry = preprocess.with_size(drawn.short, longest=drawn.longest, region=drawn.region).fit(
            height=height, width=width
        )
        size = (geometry.input_height, geometry.input_width)
        if drawn.region is None:
            whole.add(drawn.short)
            assert size == published_size(height, width, drawn.short, 800)
            continue
        cropped += 1
        shorts.add(drawn.short)
        region = drawn.region
        assert size == published_size(region.height, region.width, drawn.short, 640)
        copies = [published_size(height, width, short, None) for short in (400, 500, 600)]
        assert (region.resized_height, region.resized_width) in copies
        assert 384 <= region.height <= 600 and 384 <= region.width <= 600
        crops += [region.height, region.width]
    assert whole == set(range(480, 769, 32)) and shorts == {296, 328, 360, 392, 416, 448, 480, 512}
    assert 160 < cropped < 240 and min(crops) < 395 and max(crops) > 560


def test_parts_are_resized_twice_as_published() -> None:
    """Image, mask and box as torchvision's resize and crop, and the published `crop`, make them; up to rounding."""
    generator = np.random.default_rng(4)
    image = generator.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    rows, columns = np.mgrid[0:240, 0:320]
    mask = (rows > 100) & (columns > 130) & (columns < 260)
    region = ImageRegion(
        image_height=240,
        image_width=320,
        resized_height=400,
        resized_width=533,
        rows=slice(7, 392),
        columns=slice(101, 501),
    )
    once = ResizeShortest.fit(height=385, width=400, short=296, longest=640)
    geometry = TrainingResize.of(once, region=region)
    twice = Image.fromarray(image).resize((533, 400), Image.Resampling.BILINEAR).crop((101, 7, 501, 392))
    twice = twice.resize((once.inner_width, once.inner_height), Image.Resampling.BILINEAR)
    wanted = torch.from_numpy(np.asarray(twice).copy()).permute(2, 0, 1)
    found = geometry.image(image)
    assert found.dtype == torch.uint8 and (found.int() - wanted.int()).abs().max() <= 2
    first = functional.interpolate(torch.from_numpy(mask).float()[None, None], size=(400, 533))
    second = functional.interpolate(first[..., 7:392, 101:501], size=(once.inner_height, once.inner_width))[0, 0]
    assert torch.equal(second, geometry.mask(mask))
    # Boxes are cut to the part and are fractions of it.
    box = region.boxes(np.array([130.0, 100.0, 260.0, 240.0]))
    across, down = 533 / 320, 400 / 240
    left, top, right = (130 * across - 101) / 400, (100 * down - 7) / 385, (260 * across - 101) / 400
    assert box == pytest.approx([left, top, right, 1.0])
    # Without a part, as PIL resizes the whole image.
    whole = ResizeShortest.fit(height=240, width=320, short=360)
    quick = TrainingResize.of(whole, region=None)
    assert (quick.image(image) - (whole.image(image) * 255).round()).abs().max() <= 2
    assert torch.equal(quick.mask(mask), whole.mask(mask))


def test_items_are_changed_and_stay_functions_of_their_key(store: Store) -> None:
    changes = Augmentations(
        photometric=True,
        crop=RandomCrop(short_sides=(60,), min_size=30, max_size=60, keep_object=True),
        sizes=(32, 64),
        longest=90,
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


@pytest.mark.parametrize("per_frame", [False, True])
def test_frames_of_a_clip_are_cut_alike_and_coloured_each_on_its_own(store: Store, per_frame: bool) -> None:
    crop = RandomCrop(probability=1.0, short_sides=(60,), min_size=30, max_size=60)
    changes = Augmentations(photometric=True, per_frame=per_frame, crop=crop, sizes=(32, 64))
    still = PseudoClipDataset(store, "train", preprocess_of(store), frames=1, augmentations=changes, seed=2)
    item = still.item(1, 3)
    assert item.image.ndim == 4 and len(item.image) == 1 and item.target is not None and item.target.any()

    class Unmoved(PseudoClipDataset):
        def drawn_sample(self, chosen: int, draw: Draw) -> Sample:
            sample = super().drawn_sample(chosen, draw)
            flat = np.full_like(sample.image, (150, 90, 40))
            return replace(sample, image=flat, mask=np.ones_like(sample.mask))

    differing = 0
    for index in range(6):
        frames = (
            Unmoved(store, "train", preprocess_of(store), frames=4, augmentations=changes, seed=2).item(0, index).image
        )
        differing += not torch.equal(frames, frames[:1].expand_as(frames))
    assert differing == 6 * per_frame


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

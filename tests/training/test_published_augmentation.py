"""Augmentation as published: sizes, crops and flips that recipes draw, against the published transforms' own draws."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tiny import tiny_store
from scipy.stats import ks_2samp

from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.store.reader import Store
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.training.datasets import _augmentations

DRAWS = 1500
VIDEO_SIZES = (288, 320, 352, 392, 416, 448, 480, 512)
PRETRAINING_SIZES = tuple(range(480, 769, 32))
CROPPED_SIZES = (296, 328, 360, 392, 416, 448, 480, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transforms:
    """`RandomSelect` of the published code: resize alone, or resize, crop and resize."""

    sizes: tuple[int, ...]
    longest: int
    cropped_sizes: tuple[int, ...]
    cropped_longest: int = 640


IMAGES = Transforms(sizes=PRETRAINING_SIZES, longest=800, cropped_sizes=CROPPED_SIZES)
"""refexp.py"""
VIDEOS = Transforms(sizes=VIDEO_SIZES, longest=640, cropped_sizes=VIDEO_SIZES)
"""ytvos.py, a2d.py, refexp2seq.py"""

RECIPES = {
    "referformer-pretrain": IMAGES,
    "referformer-refcoco+": IMAGES,
    "referformer-ref-youtube-vos": VIDEOS,
    "referformer-joint": VIDEOS,
    "referformer-a2d": VIDEOS,
    "referformer-a2d-scratch": VIDEOS,
}


def published_size(height: int, width: int, short: int, longest: int | None) -> tuple[int, int]:
    """`get_size_with_aspect_ratio` of the published transforms."""
    if longest is not None and max(height, width) / min(height, width) * short > longest:
        short = round(longest * min(height, width) / max(height, width))
    if min(height, width) == short:
        return height, width
    return (int(short * height / width), short) if width < height else (short, int(short * width / height))


def published_draw(transforms: Transforms, height: int, width: int, rng: random.Random) -> list[float]:
    """One draw: whether there is a crop, its top, left, height and width as shares of the image, the input's sides."""
    if rng.random() < 0.5:
        return [0, 0, 0, 1, 1, *published_size(height, width, rng.choice(transforms.sizes), transforms.longest)]
    first = published_size(height, width, rng.choice((400, 500, 600)), None)
    wide, high = rng.randint(384, min(first[1], 600)), rng.randint(384, min(first[0], 600))
    top, left = rng.randint(0, first[0] - high), rng.randint(0, first[1] - wide)
    size = published_size(high, wide, rng.choice(transforms.cropped_sizes), transforms.cropped_longest)
    return [1, top / first[0], left / first[1], high / first[0], wide / first[1], *size]


def own_draw(augmentations: Any, preprocess: Any, height: int, width: int, rng: np.random.Generator) -> list[float]:
    drawn = augmentations.draw(np.ones((height, width), dtype=bool), rng)
    fitted = preprocess.with_size(drawn.short, longest=drawn.longest, region=drawn.region)
    geometry = fitted.fit(height=height, width=width)
    size = (geometry.input_height, geometry.input_width)
    if drawn.region is None:
        return [0, 0, 0, 1, 1, *size]
    region = drawn.region
    corner = (region.rows.start / region.resized_height, region.columns.start / region.resized_width)
    share = (region.height / region.resized_height, region.width / region.resized_width)
    return [1, *corner, *share, *size]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 427)])
def test_sizes_and_crops_are_drawn_as_published(name: str, height: int, width: int) -> None:
    preprocess = ShortSidePreprocess(short=360, longest=640, max_words=4, vocabulary=Vocabulary(["left"]))

    class System:
        pass

    system = System()
    system.preprocess = preprocess  # type: ignore[attr-defined]
    augmentations = _augmentations(load_recipe(name).data.augment, system)  # type: ignore[arg-type]
    own_rng, rng = np.random.default_rng(1), random.Random(2)
    own = np.array([own_draw(augmentations, preprocess, height, width, own_rng) for _ in range(DRAWS)])
    published = np.array([published_draw(RECIPES[name], height, width, rng) for _ in range(DRAWS)])
    assert abs(own[:, 0].mean() - 0.5) < 0.05
    for cropped in (0, 1):
        mine, theirs = (draws[draws[:, 0] == cropped] for draws in (own, published))
        for column in range(1, own.shape[1]):
            assert ks_2samp(mine[:, column], theirs[:, column]).pvalue > 1e-4, (cropped, column)
    # Whole images have exactly the published inputs, and no others.
    sizes = [{tuple(draw[5:]) for draw in draws if not draw[0]} for draws in (own, published)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("name", "share"),
    [*((name, 0.5) for name in RECIPES), ("zsi-48-17", 0.5), ("zsi-65-15", 0.5), ("vlt-refcoco", 0.0)],
)
def test_half_of_the_samples_are_flipped_where_published(name: str, share: float, tmp_path: Path) -> None:
    section = load_recipe(name).data.augment
    assert (section.flip if section else 0.0) == share
    letters = name.startswith("referformer")  # transforms_video.py exchanges within words, too
    assert (section.flip_text if section else "words") == ("letters" if letters else "words")
    preprocess = ShortSidePreprocess(short=32, longest=None, max_words=4, vocabulary=Vocabulary(["left"]))
    with Store(tiny_store(tmp_path, images=2, validation=1)) as store:
        dataset = ReferringImageDataset(store, "train", preprocess, flip=share, sentences="all")
        samples = [
            dataset.drawn_sample(index % len(dataset), (epoch, index)) for epoch in range(60) for index in range(4)
        ]
    assert np.mean([sample.mirrored for sample in samples]) == pytest.approx(share, abs=0.08)
    for sample in samples:
        told = "left" in sample.text.split(), "right" in sample.text.split()
        if any(told):  # words follow the image
            columns = np.flatnonzero(sample.mask.any(0))
            assert told[0] == (columns.mean() < sample.mask.shape[1] / 2)


@pytest.mark.parametrize("name", ["vlt-refcoco", "zsi-48-17", "step-refcoco"])
def test_others_change_nothing_but_the_flip(name: str) -> None:
    section = load_recipe(name).data.augment
    if section is not None:
        assert section.model_dump(exclude={"flip"}) == type(section)().model_dump(exclude={"flip"})

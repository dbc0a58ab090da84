"""Parts of images and pasted things: pixels and masks go together, and only what can be seen is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_dataset, tiny_store
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.data.loading.instance_dataset import UNKNOWN, InstanceDataset
from risctl.data.records import Sample, SampleIds
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.data.transforms import zoom_paste
from risctl.systems.mini.preprocess import MiniPreprocess

COLOURS = {1: (250, 0, 0), 2: (0, 250, 0), 3: (0, 0, 250)}
GREY = 60


def picture(*places: tuple[int, int, int, int, int], height: int = 60, width: int = 90) -> Sample:
    """A grey image with a box of the category's colour for each (category, top, left, height, width)."""
    image = np.full((height, width, 3), GREY, dtype=np.uint8)
    things: list[zoom_paste.Thing] = []
    for category, top, left, high, wide in places:
        mask = np.zeros((height, width), dtype=bool)
        mask[top : top + high, left : left + wide] = True
        image[mask] = COLOURS[category]
        things.append((category, mask))
    return Sample(
        image=image,
        text="box",
        mask=things[0][1],
        ids=SampleIds(image_id=1, ref_id=1, sentence_id=1),
        instances=tuple(things),
    )


def agrees(sample: Sample, *, least: float = 0.9) -> bool:
    """Whether each thing's mask lies on pixels of its colour; edges of scaled things are mixed."""
    return all(
        (np.abs(sample.image[mask].astype(int) - COLOURS[category]) < 130).all(1).mean() >= least
        for category, mask in sample.instances
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_part_keeps_pixels_and_masks_together(seed: int) -> None:
    before = picture((1, 5, 5, 20, 20), (2, 35, 60, 20, 25), (3, 2, 50, 4, 4))
    after = zoom_paste.zoom(before, generator=np.random.default_rng(seed))
    height, width = after.image.shape[:2]
    assert after.mask.shape == (height, width) and agrees(after, least=1)
    assert 0.5 * 60 <= height <= 60 / 0.75 + 1 and 0.5 * 90 <= width <= 90 / 0.75 + 1
    sizes = {category: mask.sum() for category, mask in before.instances}
    for category, mask in after.instances:
        assert 0.3 * sizes[category] <= mask.sum() <= sizes[category]
    # What is left out is hardly to be seen.
    for category in COLOURS.keys() - {category for category, _ in after.instances}:
        assert (after.image == COLOURS[category]).all(-1).sum() < 0.3 * sizes[category]


def test_parts_differ_and_some_have_a_border() -> None:
    before = picture((1, 5, 5, 20, 20))
    views = [zoom_paste.zoom(before, generator=np.random.default_rng(seed)).image for seed in range(40)]
    assert len({view.shape for view in views}) > 20
    bordered = [bool((view == 115).all(-1).any()) for view in views]
    assert 5 < sum(bordered) < 40


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_pasted_things_hide_what_is_under_them(seed: int) -> None:
    before = picture((1, 5, 5, 30, 30), (1, 40, 50, 15, 30))
    other = picture((2, 10, 10, 30, 20), (3, 15, 40, 12, 12), height=50, width=70)
    after = zoom_paste.paste(before, other.instances, pixels=other.image, generator=np.random.default_rng(seed))
    assert agrees(after)
    pasted = [mask for category, mask in after.instances if category != 1]
    assert 1 <= len(pasted) <= 2
    assert not np.stack([mask for _, mask in after.instances]).sum(0).max() > 1
    assert not (after.mask & np.any(pasted, axis=0)).any()
    assert (before.image != after.image).any() and (before.image[before.instances[0][1]] == COLOURS[1]).all()


def test_what_is_too_small_or_fills_its_image_is_not_pasted() -> None:
    before = picture((1, 5, 5, 30, 30))
    other = picture((2, 0, 0, 60, 80), (3, 2, 82, 3, 3))
    after = zoom_paste.paste(before, other.instances, pixels=other.image, generator=np.random.default_rng(0))
    assert after.instances == before.instances and np.array_equal(after.image, before.image)
    assert (
        zoom_paste.paste(before, (), pixels=other.image, generator=np.random.default_rng(0)).instances
        == before.instances
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tiny_store(tmp_path_factory.mktemp("things"), images=6))


def things_of(store: Store, **options: object) -> InstanceDataset:
    preprocess = MiniPreprocess(size=64, words=("box",), buckets=16, max_words=4)
    return InstanceDataset(store, "train", preprocess, **{"seed": 3, **options})  # type: ignore[arg-type]


def test_items_depend_on_seed_epoch_and_index_alone(store: Store) -> None:
    made = {"flip": 0.5, "colour": 0.2, "zoom": 1.0, "paste": 1.0}
    before = things_of(store, **made).item(2, 1)
    again = things_of(store, **made)
    again.item(0, 0)
    torch.manual_seed(4)
    after = again.item(2, 1)
    assert torch.equal(before.image, after.image)
    assert before.instances is not None and after.instances is not None
    assert torch.equal(before.instances.masks, after.instances.masks)
    assert not torch.equal(before.image, again.item(3, 1).image)


def test_one_change_leaves_the_draws_of_another(store: Store) -> None:
    """Colours are jittered and images mirrored alike, with a share of pasting or without."""
    plain, pasting = (things_of(store, flip=0.5, paste=share) for share in (0.0, 1.0))
    for index in range(len(plain)):
        first, second = plain.item(0, index), pasting.item(0, index)
        assert first.text == second.text
        assert second.instances is not None and first.instances is not None
        assert not torch.equal(first.image, second.image)


def test_masks_are_as_fine_as_the_input(store: Store) -> None:
    item = things_of(store).item(0, 0)
    assert item.instances is not None and item.instances.masks.shape == (2, 64, 64)
    assert item.instances.masks.dtype == torch.bool and item.target is not None and item.target.shape == (16, 16)
    coarse = item.instances.masks.float().view(2, 16, 4, 16, 4).mean((2, 4)).amax(0)
    assert (coarse >= item.target - 0.3).all()


def test_categories_count_by_id_and_name(store: Store) -> None:
    for known, category in ((None, 1), ({1: "box"}, 1), ({1: "person"}, UNKNOWN), ({2: "box"}, UNKNOWN)):
        things = things_of(store, known=known).item(0, 0).instances
        assert things is not None and things.categories.tolist() == [category] * 2


def test_an_image_with_crowds_alone_has_no_things(tmp_path: Path) -> None:
    dataset = tiny_dataset(images=3, validation=1)
    for key, one in dataset.annotations.items():
        dataset.annotations[key] = replace(one, crowd=True)
    write_store(dataset, tmp_path / "crowds.h5")
    with Store(tmp_path / "crowds.h5") as store:
        things = things_of(store, paste=1.0, zoom=1.0).item(0, 0).instances
    assert things is not None and things.masks.shape == (0, 64, 64)

"""Questions about known boxes as items: the same whatever came before, and as tensors what they say."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from risctl.core.encoders.text.hashed_words import GRAMS
from risctl.data.box_grounding.dataset import BoxGroundingDataset, BoxGroundingItem, to_box_targets
from risctl.data.box_grounding.noise import BoxNoise
from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.data.loading.loader import EpochSampler, batches, make_loader
from risctl.errors import DataError, UsageError
from risctl.systems.mini.preprocess import MiniPreprocess

WORDS = ("left", "right", "person", "dog", "man")
PREPROCESS = MiniPreprocess(size=64, words=WORDS, buckets=64, max_words=6)
STRONG = BoxNoise(flip=0.5, drop=0.5, detector=0.5, colours=0.5, typo=0.5)
NONE = BoxNoise(flip=0.0, jitter=0.0, drop=0.0)


def image(count: int = 5, *, seed: int = 0, kinds: int = 2) -> ImageBoxes:
    generator = np.random.default_rng(seed)
    low = generator.random((count, 2)) * 0.7
    corners = np.concatenate([low, low + 0.1 + 0.2 * generator.random((count, 2))], 1).astype(np.float32)
    return ImageBoxes(corners=corners, category_ids=generator.integers(0, kinds, count), aspect=1.5)


def samples(count: int, *, text: str = "left man") -> list[BoxGroundingSample]:
    return [
        BoxGroundingSample(boxes=image(2 + index % 5, seed=index), text=text, targets=(index % 2,))
        for index in range(count)
    ]


def make_set(**choices: Any) -> BoxGroundingDataset:
    defaults: dict[str, Any] = {
        "annotated": samples(12),
        "generated": 10,
        "detected": samples(4, text="dog on the right"),
        "noise": STRONG,
        "per_word": 1 + GRAMS,
        "classes": 80,
        "appearance": 22,
        "seed": 3,
    }
    return BoxGroundingDataset(PREPROCESS, **{**defaults, **choices})


def assert_same(first: BoxGroundingItem, second: BoxGroundingItem) -> None:
    one, other = first.sample, second.sample
    assert (one.text, one.targets) == (other.text, other.targets)
    assert np.array_equal(one.boxes.corners, other.boxes.corners)
    assert torch.equal(first.words, second.words) and torch.equal(first.word_mask, second.word_mask)


def differs(first: BoxGroundingItem, second: BoxGroundingItem) -> bool:
    one, other = first.sample, second.sample
    return one.text != other.text or not np.array_equal(one.boxes.corners, other.boxes.corners)


def test_an_item_depends_on_seed_epoch_and_index_alone() -> None:
    dataset = make_set()
    before = [dataset.item(3, index) for index in range(len(dataset))]
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    again = make_set()
    for index in reversed(range(len(again))):
        again.item(1, index)
        assert_same(again.item(3, index), before[index])
    again.set_epoch(3)
    plain, keyed = again[7], again[3, 7]
    assert isinstance(plain, BoxGroundingItem) and isinstance(keyed, BoxGroundingItem)
    assert_same(plain, keyed)
    for other in (make_set(seed=4), make_set()):
        epoch = 3 if other.seed == 4 else 4
        assert sum(differs(other.item(epoch, index), before[index]) for index in range(22)) > 15


def test_workers_change_nothing() -> None:
    dataset = make_set()
    sampler = EpochSampler(len(dataset), 5, seed=1, lengths=dataset.lengths)
    alone, shared = (list(batches(make_loader(dataset, sampler, workers=workers))) for workers in (0, 2))
    assert len(alone) == len(shared) == 5
    for one, other in zip(alone, shared, strict=True):
        assert one.texts == other.texts and torch.equal(one.words, other.words)
        assert one.box_targets is not None and other.box_targets is not None
        assert torch.equal(one.box_targets.boxes.corners, other.box_targets.boxes.corners)


def test_lengths_are_those_of_the_boxes() -> None:
    dataset = make_set(noise=NONE)
    sizes = [len(dataset.item(0, index).sample.boxes.category_ids) for index in range(len(dataset))]
    assert dataset.lengths.tolist() == sizes and len(dataset) == 26


def test_made_questions_are_new_in_every_epoch_and_about_the_asked_images() -> None:
    dataset = make_set(noise=NONE)
    images = {id(one.boxes) for one in dataset.annotated}
    made = [[dataset.item(epoch, 12 + index).sample for index in range(10)] for epoch in (0, 1)]
    assert [one.text for one in made[0]] != [one.text for one in made[1]]
    assert all(id(one.boxes) in images for epoch in made for one in epoch)
    assert len({id(one.boxes) for one in made[0]}) > 5


def test_nothing_is_made_about_boxes_of_unknown_kinds() -> None:
    unknown = [
        replace(sample, boxes=replace(sample.boxes, category_ids=sample.boxes.category_ids * 0 + UNKNOWN))
        for sample in samples(4)
    ]
    dataset = make_set(annotated=unknown)
    assert (dataset.generated, len(dataset)) == (0, 8)
    assert len({dataset.item(0, index).sample.text for index in range(8)}) > 1


def test_found_boxes_are_mirrored_at_most() -> None:
    dataset = make_set(noise=replace(STRONG, flip=1.0, typo=0.0))
    for index in range(4):
        item, own = dataset.item(0, 22 + index).sample, dataset.detected[index]
        assert item.text == "dog on the left" and item.targets == own.targets
        assert np.allclose(item.boxes.corners, own.mirrored().boxes.corners)


def test_generated_items_are_about_the_layouts_where_there_are_any() -> None:
    layouts = [image(4, seed=seed) for seed in range(20, 40)]
    dataset = make_set(layouts=layouts, noise=NONE)
    made = [dataset.item(0, 12 + index).sample for index in range(10)]
    assert {id(one.boxes) for one in made} <= {id(boxes) for boxes in layouts}


def test_no_target_items_come_last_and_are_about_images_without_the_noun() -> None:
    dogs = [
        replace(sample, boxes=replace(sample.boxes, category_ids=sample.boxes.category_ids * 0 + 16))
        for sample in samples(3)
    ]
    dataset = make_set(annotated=[*samples(3), *dogs], absent=5, noise=NONE)
    absent = [dataset.item(0, len(dataset) - 5 + index).sample for index in range(5)]
    assert all(one.targets == () and one.text == "left man" and 0 not in one.boxes.category_ids for one in absent)
    with pytest.raises(DataError, match=r"absent needs files"):
        make_set(annotated=[], absent=5)


def test_questions_without_a_word_are_left_out_and_counted() -> None:
    dataset = make_set(annotated=[*samples(3), *samples(2, text="...")], detected=samples(1, text=" _ "), generated=0)
    assert (len(dataset), dataset.left_out) == (3, 3)
    wordy = make_set(annotated=samples(3, text=".a.. m"), detected=(), generated=0, noise=replace(NONE, typo=1.0))
    assert all(isinstance(wordy[epoch, index], BoxGroundingItem) for epoch in range(20) for index in range(3))
    for nothing in ([], samples(2, text="?!")):
        with pytest.raises(DataError, match="no sample"):
            make_set(annotated=nothing, detected=(), generated=5)


def test_a_batch_says_what_its_questions_say() -> None:
    dataset = make_set(noise=NONE, generated=0)
    items = [dataset.item(0, index) for index in (0, 3, 12)]
    batch = dataset.collate(items)
    assert batch.texts == ("left man", "left man", "dog on the right") and len(batch) == 3
    assert batch.images.shape == (3, 3, 0, 0) and batch.targets is None
    # As long as the longest text, four words, and no longer.
    assert batch.words.shape == batch.word_mask.shape == (3, 4 * (1 + GRAMS))
    assert batch.word_mask.sum(1).tolist() == [2 * 16, 2 * 16, 4 * 16]
    for row, item in enumerate(items):
        assert torch.equal(batch.words[row], item.words[: 4 * (1 + GRAMS)])
    assert batch.box_targets is not None and batch.box_targets.is_target.shape == (3, 5)
    moved = batch.to("cpu")
    assert moved.box_targets is not None and torch.equal(moved.box_targets.is_target, batch.box_targets.is_target)


def test_tensors_say_what_the_questions_say() -> None:
    known = BoxGroundingSample(boxes=image(3), text="left man", targets=(0, 2))
    unknown = BoxGroundingSample(
        boxes=ImageBoxes(corners=image(1).corners, category_ids=np.array([UNKNOWN]), aspect=0.5),
        text="dog",
        targets=(),
    )
    asked = to_box_targets([known, unknown], classes=3)
    assert asked.is_target.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert asked.boxes.mask.tolist() == [[True] * 3, [True, False, False]]
    assert torch.equal(asked.boxes.classes[0].argmax(1), torch.from_numpy(known.boxes.category_ids))
    assert not asked.boxes.classes[1].any()
    assert asked.category_ids[1].tolist() == [UNKNOWN] * 3 and asked.boxes.aspect.tolist() == [1.5, 0.5]
    assert asked.boxes.appearance is None and asked.boxes.has_appearance is None


def test_doubt_blends_and_appearances_come_through() -> None:
    own = image(2, kinds=1)
    looks = np.eye(2, 4, dtype=np.float32)
    doubtful = replace(
        own,
        confidence=np.array([0.5, 0.9], dtype=np.float32),
        category_share=np.array([0.75, 1.0], dtype=np.float32),
        second_category_ids=np.array([2, 0]),
        appearance=looks,
    )
    plain = BoxGroundingSample(boxes=own, text="man", targets=(0,))
    asked = to_box_targets([replace(plain, boxes=doubtful), plain], classes=3, appearance=4)
    assert asked.boxes.classes[0].tolist() == [[0.75, 0, 0.25], [1, 0, 0]]
    assert (
        asked.boxes.confidence is not None
        and asked.boxes.appearance is not None
        and asked.boxes.has_appearance is not None
    )
    assert asked.boxes.confidence.tolist()[0] == pytest.approx([0.5, 0.9]) and asked.boxes.confidence[1].tolist() == [
        1,
        1,
    ]
    assert torch.equal(asked.boxes.appearance[0], torch.from_numpy(looks))
    assert asked.boxes.has_appearance.tolist() == [[True, True], [False, False]]


def test_more_words_than_are_read_are_no_error() -> None:
    item = make_set(annotated=samples(1, text="man " * 30), generated=0, detected=(), noise=NONE).item(0, 0)
    assert int(item.word_mask.sum()) == 6 * (1 + GRAMS)
    with pytest.raises(UsageError):
        PREPROCESS.text("...")

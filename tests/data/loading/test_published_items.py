"""Items of an epoch as ReferFormer's published code has them: how many, around which frames, and what replaces one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.annotated_frames import ANNOTATED, annotated_frames_dataset, mask_at
from helpers.tiny import tiny_dataset, tiny_store
from helpers.video_files import write_youtube

from risctl.data.batch import collate
from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.loading.clip_dataset import AnnotatedFrameDataset, PseudoClipDataset, ReferringVideoDataset
from risctl.data.loading.frame_sampling import frames_around, frames_of_window
from risctl.data.loading.image_dataset import ReferringImageDataset, relative_boxes
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.data.transforms.augmentations import Augmentations, RandomCrop
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.errors import DataError
from risctl.language.vocabulary import Vocabulary

PREPROCESS = ShortSidePreprocess(short=48, longest=None, max_words=8, vocabulary=Vocabulary(["red", "box", "left"]))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("videos")
    write_store(read_ref_youtube_vos(write_youtube(folder / "set")), folder / "videos.h5")
    return Store(folder / "videos.h5")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("frames") / "a2d.h5"
    write_store(annotated_frames_dataset(), path)
    return Store(path)


def test_images_give_an_item_a_sentence_and_videos_one_at_every_nth_frame(videos: Store, tmp_path: Path) -> None:
    """convert_refexp_to_coco.py and ytvos.py: frames 0, n, 2n, ... of each expression."""
    with Store(tiny_store(tmp_path)) as images:
        sentences = images.sentences("train").tolist()
        assert len(PseudoClipDataset(images, "train", PREPROCESS, frames=2, sentences="clips")) == len(sentences)
    for length, starts in ((2, [0, 2, 4]), (5, [0])):
        dataset = ReferringVideoDataset(videos, "train", PREPROCESS, frames=length, sentences="clips")
        rows = videos.sentences("train").tolist()
        assert [choices[0] for choices in dataset._choices] == [row for row in rows for _ in starts]
        assert dataset._centres == starts * len(rows)


def published_frames(count: int, centre: int, length: int, draw: np.random.Generator) -> list[int]:
    """Return the frames that `__getitem__` of the published ytvos.py samples."""
    found = [centre]
    if length != 1:
        before, after = draw.integers(1, 4), draw.integers(1, 4)
        found += [max(0, centre - int(before)), min(count - 1, centre + int(after))]
        if length > 3:
            every = list(range(count))
            others = every[: min(found)] + every[max(found) :]
            missing = length - len(found)
            pool = others if len(others) > missing else every
            found += draw.choice(pool, size=missing, replace=False).tolist()
    return sorted(found)[:length]


@pytest.mark.parametrize("length", [1, 3, 5, 6])
@pytest.mark.parametrize(("count", "centre"), [(20, 0), (20, 10), (20, 19), (5, 2), (3, 1)])
def test_frames_of_a_clip_are_those_of_the_published_sampling(count: int, centre: int, length: int) -> None:
    for seed in range(60):
        own, published = (np.random.default_rng(seed) for _ in range(2))
        found = frames_around(range(count), centre=centre, length=length, generator=own)
        assert found == published_frames(count, centre, length, published)
        assert centre in found and len(found) == length
    # Fewer frames than asked for: all of them, then some again.
    short = frames_around(range(2), centre=0, length=8, generator=np.random.default_rng(0))
    assert len(short) == 8 and set(short) == {0, 1}


def test_windows_are_those_of_the_published_evaluation() -> None:
    """a2d.py: T // 2 before the frame, the rest after it, frames at the ends standing for those beyond."""
    every = range(10)
    assert frames_of_window(every, centre=4, length=5) == [2, 3, 4, 5, 6]
    assert frames_of_window(every, centre=4, length=6) == [1, 2, 3, 4, 5, 6]
    assert frames_of_window(every, centre=0, length=5) == [0, 0, 0, 1, 2]
    assert frames_of_window(every, centre=9, length=6) == [6, 7, 8, 9, 9, 9]
    assert frames_of_window((3, 4, 5, 20), centre=4, length=5) == [3, 3, 4, 5, 5]


def test_another_item_takes_the_place_of_one_that_a_crop_does_not_show(tmp_path: Path) -> None:
    """refexp.py: a random index of the same dataset; the item is a function of its key all the same."""
    augmentations = Augmentations(
        crop=RandomCrop(probability=1.0, short_sides=(48,), min_size=16, max_size=16), sizes=(32,), clipped_boxes=True
    )
    with Store(tiny_store(tmp_path)) as store:
        dataset, again = (
            ReferringImageDataset(
                store, "train", PREPROCESS, sentences="all", augmentations=augmentations, first=0, seed=1
            )
            for _ in range(2)
        )
        replaced = 0
        for index in range(len(dataset)):
            item, same = dataset.item(2, index), again.item(2, index)
            assert item.ids is not None and item.ids == same.ids and torch.equal(item.image, same.image)
            assert item.boxes is not None and item.boxes[2] > 0 and item.boxes[3] > 0
            own = store.sentence(dataset._choices[index][0]).sentence_id
            seen_first = dataset.drawn_item(index, (2, index)) is not None
            assert (item.ids.sentence_id == own) or not seen_first
            replaced += not seen_first
        assert replaced > 3
        impossible = Augmentations(crop=RandomCrop(probability=1.0, short_sides=(48,), min_size=1, max_size=1))
        far = ReferringImageDataset(store, "train", PREPROCESS, augmentations=impossible)
        far.drawn_item = lambda chosen, draw: None  # type: ignore[method-assign]
        with pytest.raises(DataError, match="keep_object"):
            far.item(0, 0)


def test_boxes_are_the_annotated_ones_clipped_and_mirrored(tmp_path: Path) -> None:
    dataset = tiny_dataset(images=4, validation=1)
    write_store(dataset, tmp_path / "boxes.h5")
    every = Augmentations(crop=RandomCrop(probability=0.0), sizes=(48,), clipped_boxes=True)
    with Store(tmp_path / "boxes.h5") as store:
        for flip in (0.0, 1.0):
            items = ReferringImageDataset(store, "train", PREPROCESS, flip=flip, augmentations=every, seed=3)
            for index in range(len(items)):
                item = items.item(0, index)
                assert item.ids is not None and item.boxes is not None
                x, y, width, height = dataset.annotations[item.ids.ref_id].box
                image = dataset.images[item.ids.image_id]
                centre = (x + width / 2) / image.width
                wanted = [1 - centre if flip else centre, (y + height / 2) / image.height]
                wanted += [width / image.width, height / image.height]
                assert item.boxes.tolist() == pytest.approx(wanted, abs=1e-6)
    nothing = relative_boxes(np.zeros((2, 4)), None, size=(10, 20))
    assert not nothing.any()


def test_clips_around_an_annotated_frame_have_its_target_alone(frames: Store) -> None:
    dataset = AnnotatedFrameDataset(frames, "train", PREPROCESS, frames=5, sentences="all", flip=0.5, seed=2)
    assert len(dataset) == 4
    places: Counter[int] = Counter()
    for epoch in range(12):
        for index in range(len(dataset)):
            item = dataset.item(epoch, index)
            assert item.annotated is not None and item.target is not None
            assert item.image.shape == (5, 3, 48, 64) and item.target.shape == (1, 48, 64)
            # A frame's brightness is its number: they are in order, and the annotated one is where the item says.
            numbers = [round(float(frame.mean()) * 25.5) for frame in item.image]
            assert numbers == sorted(numbers) and numbers[item.annotated] in ANNOTATED
            mask = mask_at(numbers[item.annotated])
            mirrored = "right" in item.text
            assert np.array_equal(item.target[0].numpy() > 0.5, mask[:, ::-1] if mirrored else mask)
            places[item.annotated] += 1
    assert len(places) > 1  # not always in the middle
    batch = collate([dataset.item(0, 0), dataset.item(0, 1)])
    assert batch.annotated is not None and batch.annotated.shape == (2,)
    assert batch.targets is not None and batch.targets.shape == (2, 1, 48, 64)


def test_a_store_without_the_frames_around_is_told(tmp_path: Path) -> None:
    dataset = annotated_frames_dataset(kept=0, frames=5)  # one annotated frame a video
    write_store(dataset, tmp_path / "alone.h5")
    with Store(tmp_path / "alone.h5") as store, pytest.raises(DataError, match="--window 3"):
        AnnotatedFrameDataset(store, "train", PREPROCESS, frames=5)
    with Store(tiny_store(tmp_path)) as store, pytest.raises(DataError, match="VIDEO/NUMBER"):
        AnnotatedFrameDataset(store, "train", PREPROCESS, frames=5)

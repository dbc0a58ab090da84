"""`data.phrases_per_image`: items of an image come together, augmented alike, and a batch has their image once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny import damaged, tiny_store
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.data.batch import Batch, collate
from risctl.data.loading.clip_dataset import PseudoClipDataset
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.loading.joint_dataset import JointDataset
from risctl.data.loading.loader import EpochSampler, SkippingDataset, batches, make_loader
from risctl.data.store.reader import Store
from risctl.data.transforms.augmentations import Augmentations, RandomCrop
from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.language.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of 10 training images with 4 sentences each."""
    return Store(tiny_store(tmp_path_factory.mktemp("store")))


def dataset_of(store: Store, **options: Any) -> ReferringImageDataset:
    vocabulary = Vocabulary.from_texts(store.texts("train"))
    preprocess = LetterboxPreprocess(size=32, fill=0.5, target_size=16, max_words=4, vocabulary=vocabulary)
    options = {"sentences": "all", "flip": 0.5, "colour": 0.3, "seed": 5, "shares_images": True, **options}
    kind = PseudoClipDataset if "frames" in options else ReferringImageDataset
    return kind(store, "train", preprocess, **options)


def sampler_of(dataset: Any, **options: Any) -> EpochSampler:
    return EpochSampler(len(dataset), 4, seed=5, images=dataset.image_rows(), per_image=3, **options)


def read(dataset: Any, *, workers: int = 0, epochs: Sequence[int] = (0,)) -> list[Batch]:
    sampler = sampler_of(dataset)
    loader = make_loader(dataset, sampler, workers=workers)
    found = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found += list(batches(loader))
    return found


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    per_image=st.integers(2, 5),
    batch=st.integers(1, 6),
    world=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_up_to_so_many_items_of_an_image_follow_each_other(
    counts: list[int], per_image: int, batch: int, world: int, seed: int
) -> None:
    """Each once an epoch, in an order that knows neither the batch size nor the processes."""
    images = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    options: dict[str, Any] = {"seed": seed, "images": images, "per_image": per_image, "last_batch": "wrap"}
    whole = [key for keys in EpochSampler(len(images), 1, **options) for key in keys]
    assert sorted(index for _, index, _ in whole) == list(range(len(images)))
    firsts = [first for _, _, first in whole]
    runs = [firsts[0], *(one for before, one in pairwise(firsts) if one != before)]
    assert len(runs) == len(set(runs)) == sum(-(-count // per_image) for count in counts)
    assert max(Counter(firsts).values()) <= per_image
    assert all(images[index] == images[first] for _, index, first in whole)
    shares = [list(EpochSampler(len(images), batch, rank=rank, world=world, **options)) for rank in range(world)]
    dealt = [key for step in zip(*shares, strict=True) for keys in step for key in keys]
    assert dealt[: len(whole)] == whole


def test_each_epoch_brings_others_together(store: Store) -> None:
    sampler = sampler_of(dataset_of(store))
    companies = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        runs: dict[int, set[int]] = {}
        for keys in sampler:
            for _, index, first in keys:
                runs.setdefault(first, set()).add(index)
        companies.append({frozenset(run) for run in runs.values()})
    assert len(companies[0]) == 20 and len(companies[0] & companies[1]) < 15


def test_a_batch_has_each_image_once_and_its_items_are_drawn_alike(store: Store) -> None:
    dataset = dataset_of(store)
    shared = mirrored = 0
    for keys, batch in zip(sampler_of(dataset), read(dataset), strict=True):
        rows = list(range(len(batch))) if batch.image_rows is None else batch.image_rows.tolist()
        assert len(batch.images) == len(batch.padding) == len({first for *_, first in keys}) == max(rows) + 1
        shared += len(rows) - len(batch.images)
        for row, (epoch, index, first) in enumerate(keys):
            item = dataset.item_sharing(epoch, index, first=first)
            alone = collate([replace(item, image_key=None)])
            assert torch.equal(alone.images[0], batch.images[rows[row]]) and item.text == batch.texts[row]
            assert alone.targets is not None and batch.targets is not None
            assert torch.equal(alone.targets[0], batch.targets[row])
            assert torch.equal(batch.row_padding[row], alone.padding[0])
            # The sentence is the item's own, mirrored as the image is.
            assert item.ids is not None and item.ids.sentence_id in (
                store.sentence(at).sentence_id for at in dataset._choices[index]
            )
            plain = store.sample(dataset._choices[index][0])
            changed = item.text != plain.text
            mirrored += changed
            if changed:
                assert {"left", "right"} & set(item.text.split())
    assert shared >= 10 and mirrored >= 5


def test_sentences_of_refs_are_drawn_apart(store: Store) -> None:
    """With `random` an item is a ref, one of its sentences drawn: refs of an image must not all draw the same."""
    dataset = dataset_of(store, sentences="random", flip=0.0)
    turns = []
    for epoch in range(8):
        first, second = (dataset.item_sharing(epoch, index, first=0).ids for index in (0, 1))
        assert first is not None and second is not None and first.image_id == second.image_id
        turns.append((first.sentence_id % 2, second.sentence_id % 2))
    assert len(set(turns)) > 1 and any(one != other for one, other in turns)


def test_workers_change_nothing(store: Store) -> None:
    dataset = dataset_of(store)
    for one, other in zip(read(dataset, epochs=(0, 1)), read(dataset, workers=2, epochs=(0, 1)), strict=True):
        assert one.texts == other.texts and torch.equal(one.images, other.images)
        assert str(one.image_rows) == str(other.image_rows)


def test_clips_of_an_image_move_alike(store: Store) -> None:
    dataset = dataset_of(store, frames=3)
    first, second = (dataset.item_sharing(0, index, first=0) for index in (0, 2))
    assert torch.equal(first.image, second.image) and first.image.shape[0] == 3
    assert first.target is not None and second.target is not None and not torch.equal(first.target, second.target)


def test_stores_share_no_image(store: Store) -> None:
    parts = [dataset_of(store), dataset_of(store)]
    parts[1].first = len(parts[0])
    dataset = JointDataset(parts)
    assert len(set(dataset.image_rows().tolist())) == 20
    for keys, batch in zip(sampler_of(dataset), read(dataset), strict=True):
        assert all((index < 40) == (first < 40) for _, index, first in keys)
        assert len(batch.images) == len({first for *_, first in keys})


def test_what_a_crop_hides_is_replaced_by_what_shares_nothing(store: Store) -> None:
    crop = RandomCrop(probability=1.0, short_sides=(48,), min_size=12, max_size=14)
    dataset = dataset_of(store, augmentations=Augmentations(crop=crop))
    replaced = 0
    for keys, batch in zip(sampler_of(dataset), read(dataset), strict=True):
        own = [dataset.item_sharing(*key[:2], first=key[2]) for key in keys]
        replaced += sum(item.image_key is None for item in own)
        rows = range(len(batch)) if batch.image_rows is None else batch.image_rows.tolist()
        for item, row in zip(own, rows, strict=True):
            assert item.target is not None and item.target.any()
            assert torch.equal(collate([item]).images[0], batch.images[row])
    assert 3 < replaced < 37


def test_an_image_that_cannot_be_read_shares_nothing(tmp_path: Path) -> None:
    path = damaged(tiny_store(tmp_path), (2, 7))
    with Store(path) as store:
        dataset = SkippingDataset(dataset_of(store), max_count=2)
        dataset.image_rows = dataset.dataset.image_rows
        found = read(dataset)
        assert {one.image for batch in found for one in batch.skipped} == {
            "image 2 (2.png) of tiny.h5",
            "image 7 (7.png) of tiny.h5",
        }
        for batch in found:
            rows = range(len(batch)) if batch.image_rows is None else batch.image_rows.tolist()
            seen: dict[int, set[int]] = {}
            for row, identity in zip(rows, batch.ids, strict=True):
                assert identity is not None and identity.image_id not in (2, 7)
                seen.setdefault(row, set()).add(identity.image_id)
            assert all(len(images) == 1 for images in seen.values())

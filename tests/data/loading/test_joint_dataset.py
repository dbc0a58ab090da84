"""Several stores in one training set: everything once an epoch, and nothing that another store keeps for evaluation."""

from __future__ import annotations

import pytest
import torch
from helpers.tiny import tiny_dataset

from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.loading.joint_dataset import JointDataset, held_back_files
from risctl.data.loading.loader import EpochSampler, batches, make_loader
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.errors import DataError
from risctl.language.vocabulary import Vocabulary

PREPROCESS = ShortSidePreprocess(short=32, longest=None, max_words=4, vocabulary=Vocabulary(["red", "box"]))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """The same images in two stores; the second keeps other ones for validation."""
    folder = tmp_path_factory.mktemp("stores")
    found = []
    for name, kept in (("first", (10, 11)), ("second", (0, 1, 2))):
        dataset = tiny_dataset()
        dataset.name = name
        for number, record in enumerate(dataset.records):
            split = "val" if record.image_id in kept else "train"
            dataset.records[number] = type(record)(
                ref_id=record.ref_id + (1000 if name == "second" else 0),
                image_id=record.image_id,
                split=split,
                annotation_ids=record.annotation_ids,
                expressions=record.expressions,
            )
        write_store(dataset, folder / f"{name}.h5")
        found.append(Store(folder / f"{name}.h5"))
    return found


def joint(stores: list[Store]) -> JointDataset:
    parts = [ReferringImageDataset(store, "train", PREPROCESS, flip=0.5, seed=3) for store in stores]
    parts[1].first = len(parts[0])
    return JointDataset(parts)


def test_every_item_of_every_store_comes_once_an_epoch(stores: list[Store]) -> None:
    dataset = joint(stores)
    assert len(dataset) == 20 + 18
    sampler = EpochSampler(len(dataset), 2, seed=1)
    alone = [identity for batch in batches(make_loader(dataset, sampler, workers=0)) for identity in batch.ids]
    shared = [identity for batch in batches(make_loader(dataset, sampler, workers=2)) for identity in batch.ids]
    assert alone == shared and len({one.ref_id for one in alone if one}) == 38
    halves = [sum(one.ref_id >= 1000 for one in alone[at : at + 19] if one) for at in (0, 19)]
    assert min(halves) >= 4  # mixed, not one store after the other


def test_equal_images_of_two_stores_are_drawn_apart(stores: list[Store]) -> None:
    dataset = joint([stores[0], stores[0]])
    same = [torch.equal(dataset.item(0, index).image, dataset.item(0, 20 + index).image) for index in range(20)]
    assert 3 < sum(same) < 17


def test_what_another_store_evaluates_on_is_left_out(stores: list[Store]) -> None:
    held = held_back_files(stores, "train")
    assert held == {f"{number}.png" for number in (0, 1, 2, 10, 11)}
    part = ReferringImageDataset(stores[0], "train", PREPROCESS, sentences="all")
    assert part.leave_out(held) == 3 * 4 and len(part) == 7 * 4
    assert {item.ids.image_id for item in map(part.item, [0] * 28, range(28)) if item.ids} == set(range(3, 10))
    with pytest.raises(DataError, match="held back"):
        part.leave_out({f"{number}.png" for number in range(12)})

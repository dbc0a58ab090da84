"""Batches are the same whatever the workers, the start method, the order of asking and the place of resuming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_dataset, tiny_store
from hypothesis import given
from hypothesis import strategies as st

from risctl.data.batch import Batch
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.loading.loader import EpochSampler, batches, make_loader
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.errors import DataError, RisctlError, UsageError
from risctl.language.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tiny_store(tmp_path_factory.mktemp("store")))


def make_set(store: Store, **choices: object) -> ReferringImageDataset:
    vocabulary = Vocabulary.from_texts(store.texts("train"))
    preprocess = LetterboxPreprocess(size=32, fill=0.5, target_size=16, max_words=4, vocabulary=vocabulary)
    return ReferringImageDataset(store, "train", preprocess, **{"flip": 0.5, "colour": 0.3, "seed": 5, **choices})  # type: ignore[arg-type]


def read(
    dataset: ReferringImageDataset, *, workers: int, epochs: Sequence[int] = (0,), start_method: str | None = None
) -> list:
    sampler = EpochSampler(len(dataset), 4, seed=5)
    loader = make_loader(dataset, sampler, workers=workers, start_method=start_method)
    found = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found += list(batches(loader))
    return found


def assert_same(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second):
        assert one.texts == other.texts and one.ids == other.ids
        assert torch.equal(one.images, other.images)
        assert one.targets is not None and other.targets is not None and torch.equal(one.targets, other.targets)


def test_workers_change_nothing(store: Store) -> None:
    dataset = make_set(store)
    alone = read(dataset, workers=0, epochs=(0, 1))
    assert_same(alone, read(dataset, workers=2, epochs=(0, 1)))
    assert_same(alone[:5], read(dataset, workers=1))


def test_spawned_workers_change_nothing(store: Store) -> None:
    dataset = make_set(store)
    assert_same(read(dataset, workers=0), read(dataset, workers=1, start_method="spawn"))


def test_item_depends_on_seed_epoch_and_index_alone(store: Store) -> None:
    dataset = make_set(store)
    before = dataset.item(3, 7)
    for index in range(len(dataset)):
        dataset.item(1, index)
    torch.manual_seed(99)
    again = make_set(store).item(3, 7)
    assert before.text == again.text and torch.equal(before.image, again.image)
    dataset.set_epoch(3)
    plain = dataset[7]
    assert not isinstance(plain, RisctlError) and torch.equal(plain.image, before.image)
    others = [make_set(store, seed=seed).item(3, 7) for seed in range(8)] + [dataset.item(e, 7) for e in range(8)]
    assert any(not torch.equal(before.image, other.image) for other in others)


def test_random_sentences_meet_every_ref_once_an_epoch(store: Store) -> None:
    dataset = make_set(store)
    assert len(dataset) == len(store.refs("train"))
    refs = [dataset.item(0, index).ids for index in range(len(dataset))]
    assert len({ref.ref_id for ref in refs if ref}) == len(dataset)
    drawn = {dataset.item(epoch, 0).ids for epoch in range(20)}
    assert len(drawn) == 2


def test_all_sentences_meet_every_sentence_once(store: Store) -> None:
    dataset = make_set(store, sentences="all")
    ids = {one.sentence_id for index in range(len(dataset)) if (one := dataset.item(0, index).ids)}
    assert len(ids) == len(dataset) == len(store.sentences("train"))


def test_wordless_sentences_are_left_out_and_counted(tmp_path: Path) -> None:
    dataset = tiny_dataset(images=3, validation=1)
    first, second, *_ = dataset.records
    blank = tuple(replace(expression, sent=" ", raw=" ") for expression in first.expressions)
    dataset.records[0] = replace(first, expressions=blank)
    dataset.records[1] = replace(second, expressions=(replace(second.expressions[0], sent=""), second.expressions[1]))
    write_store(dataset, tmp_path / "blank.h5")
    with Store(tmp_path / "blank.h5") as store:
        every = make_set(store, sentences="all", flip=0.0)
        assert (len(every), every.left_out) == (5, 3)
        chance = make_set(store, flip=0.0)
        assert (len(chance), chance.left_out) == (3, 3)
        texts = {chance.item(epoch, 0).text for epoch in range(10)}
        assert texts == {second.expressions[1].sent}


def test_unknown_split_and_empty_split_are_refused(store: Store) -> None:
    vocabulary = Vocabulary(["box"])
    preprocess = LetterboxPreprocess(size=32, fill=0.5, target_size=16, max_words=4, vocabulary=vocabulary)
    with pytest.raises(UsageError, match="trian"):
        ReferringImageDataset(store, "trian", preprocess)


def test_damage_in_a_worker_reaches_the_caller_as_one_line(tmp_path: Path) -> None:
    path = tiny_store(tmp_path, images=12)
    content = bytearray(path.read_bytes())
    start = content.find(b"\x89PNG")
    while start >= 0:
        content[start + 40 : start + 60] = bytes(20)
        start = content.find(b"\x89PNG", start + 1)
    path.write_bytes(bytes(content))
    with Store(path) as store:
        dataset = make_set(store)
        for workers in (0, 1):
            with pytest.raises(DataError) as caught:
                read(dataset, workers=workers)
            assert "Traceback" not in str(caught.value) and len(str(caught.value).splitlines()) == 1


@given(
    length=st.integers(1, 200),
    batch=st.integers(1, 9),
    world=st.integers(1, 3),
    accumulate=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 50),
)
def test_sampler_shares_out_a_permutation(
    length: int, batch: int, world: int, accumulate: int, seed: int, epoch: int
) -> None:
    group = batch * world * accumulate
    if length < group:
        with pytest.raises(UsageError, match="batch_size"):
            EpochSampler(length, batch, seed=seed, world=world, accumulate=accumulate)
        return
    shares = []
    for rank in range(world):
        sampler = EpochSampler(length, batch, seed=seed, rank=rank, world=world, accumulate=accumulate)
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler) == length // group * accumulate
        assert all(len(share) == batch for share in shares[-1])
    keys = [key for share in shares for one in share for key in one]
    assert {key[0] for key in keys} == {epoch}
    indices = [key[1] for key in keys]
    assert len(set(indices)) == len(indices) == length // group * group
    assert set(indices) <= set(range(length))


def test_global_batch_does_not_depend_on_the_number_of_processes() -> None:
    alone = list(EpochSampler(40, 8, seed=1))
    pair = [list(EpochSampler(40, 4, seed=1, rank=rank, world=2)) for rank in range(2)]
    assert [first + second for first, second in zip(*pair)] == alone


def test_skipping_gives_the_rest_of_the_epoch_once() -> None:
    sampler = EpochSampler(50, 7, seed=2)
    sampler.set_epoch(3)
    whole = list(sampler)
    sampler.skip(4)
    assert list(sampler) == whole[4:]
    sampler.set_epoch(4)
    assert len(list(sampler)) == len(whole)
    assert list(sampler) != whole


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (1, 2), (2, 1)])
def test_the_first_items_of_an_epoch_can_fill_its_last_step(world: int, accumulate: int) -> None:
    options: dict[str, Any] = {"seed": 0, "world": world, "accumulate": accumulate, "last_batch": "wrap"}
    ranks = [list(EpochSampler(10, 4, rank=rank, **options)) for rank in range(world)]
    assert all(len(batch) == 4 for batches in ranks for batch in batches)
    order = [index for parts in zip(*ranks, strict=True) for batch in parts for _, index in batch]
    assert len(order) == -(-10 // (4 * world * accumulate)) * 4 * world * accumulate
    assert sorted(order[:10]) == list(range(10)) and order[10:] == order[: len(order) - 10]
    dropped = EpochSampler(10, 4, seed=0)
    assert [[index for _, index in batch] for batch in dropped] == [order[:4], order[4:8]]
    dropped.set_epoch(1)
    assert [index for batch in dropped for _, index in batch] != order[:8]


@given(
    length=st.integers(1, 300),
    batch=st.integers(1, 9),
    world=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 50),
)
def test_items_of_like_length_come_together_each_once(
    length: int, batch: int, world: int, seed: int, epoch: int
) -> None:
    group = batch * world
    if length < group:
        return
    lengths = np.random.default_rng(seed).integers(1, 40, length)
    shares = []
    for rank in range(world):
        sampler = EpochSampler(length, batch, seed=seed, rank=rank, world=world, lengths=lengths)
        sampler.set_epoch(epoch)
        shares.append([[index for _, index in keys] for keys in sampler])
        sampler.skip(1)
        assert [[index for _, index in keys] for keys in sampler] == shares[-1][1:]
    assert {len(share) for share in shares} == {length // group}
    indices = [index for share in shares for keys in share for index in keys]
    assert len(set(indices)) == len(indices) == length // group * group
    # The same batches in the same order as one process has that accumulates them.
    alone = EpochSampler(length, batch, seed=seed, accumulate=world, lengths=lengths)
    alone.set_epoch(epoch)
    together = [keys for step in zip(*shares, strict=True) for keys in step]
    assert [[index for _, index in keys] for keys in alone] == together


def test_like_lengths_leave_little_padding_and_batches_in_no_order() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 4000)
    spread, means = {}, []
    for own in (None, lengths):
        found = [[int(lengths[index]) for _, index in keys] for keys in EpochSampler(4000, 20, seed=1, lengths=own)]
        spread[own is None] = np.mean([max(one) - min(one) for one in found])
        means = [np.mean(one) for one in found]
    assert spread[False] < 0.15 * spread[True]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2

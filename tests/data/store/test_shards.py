"""A store whose images lie in shards reads as one that holds them itself, and knows its shards."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import store_files
from helpers.store_layout import layout_of, rewritten

from risctl.data.records import ImageRecord
from risctl.data.store import schema
from risctl.data.store.output_path import check_output_path
from risctl.data.store.reader import Store
from risctl.data.store.shards import Sharding
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError

EVERY = [*(Sharding(count=count) for count in (1, 2, 5, 7, 50)), *(Sharding(bytes=size) for size in (1, 900, 10**9))]


def rows_of(store: Store) -> Iterator[Any]:
    """Yield all that a store holds, item by item."""
    yield store.categories, store.splits, store.counts(), store.notes, store.file_names()
    for row in range(len(store.numbers("images/id"))):
        yield store.image(row), store.image_bytes(row), store.pixels(row).tobytes(), store.annotations_of(row).tolist()
    for row in range(len(store.numbers("sentences/id"))):
        sample = store.sample(row)
        yield store.sentence(row), sample.image.tobytes(), sample.mask.tobytes(), sample.ids, sample.annotation_ids


@pytest.mark.parametrize("sharding", EVERY, ids=str)
def test_a_sharded_store_holds_what_an_unsharded_one_holds(tmp_path: Path, sharding: Sharding) -> None:
    content = store_files.dataset(images=11)
    whole = write_store(content, tmp_path / "whole.h5")
    apart = write_store(content, tmp_path / "apart.h5", shards=sharding)
    assert apart.fingerprint == whole.fingerprint and apart.counts == whole.counts
    with Store(whole.path) as one, Store(apart.path) as other:
        assert other.fingerprint == one.fingerprint
        assert [*rows_of(other)] == [*rows_of(one)]
        assert not verify_store(other).failures
        expected = sharding.count if sharding.count <= 11 else 11
        if sharding.count:
            assert len(other.shards) == expected
        assert apart.bytes == other.size == sum(path.stat().st_size for path in (apart.path, *other.shards))
        assert one.shards == []


def test_images_that_share_a_file_are_kept_once_in_shards_too(tmp_path: Path) -> None:
    content = store_files.dataset(images=6, folder=tmp_path / "pictures")
    first = next(iter(content.images.values()))
    content = replace(
        content,
        images={
            number: replace(one, path=first.path, height=first.height, width=first.width)
            for number, one in content.images.items()
        },
        annotations={},
        records=[replace(one, annotation_ids=()) for one in content.records],
    )
    info = write_store(content, tmp_path / "one.h5", shards=Sharding(count=3))
    with Store(info.path) as store:
        assert len({store.image_bytes(row) for row in range(6)}) == 1
        assert len(store.shards) == 1


def test_a_sharded_store_is_read_by_threads_and_copies_and_after_a_move(tmp_path: Path) -> None:
    info = write_store(store_files.dataset(images=8), tmp_path / "a" / "store.h5", shards=Sharding(count=4))
    (tmp_path / "a").rename(tmp_path / "b")
    path = tmp_path / "b" / info.path.name
    path = path.rename(tmp_path / "b" / "renamed.h5")
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    with Store(path) as store, Store(link) as linked:
        expected = [store.image_bytes(row) for row in range(8)]
        copy = pickle.loads(pickle.dumps(store))
        assert [copy.image_bytes(row) for row in range(8)] == expected
        assert [linked.image_bytes(row) for row in range(8)] == expected
        with ThreadPoolExecutor(8) as pool:
            assert [*pool.map(copy.image_bytes, [*range(8)] * 20)] == expected * 20
        copy.close()
        with pytest.raises(DataError, match="closed"):
            copy.image_bytes(0)


def test_a_missing_shard_is_named_when_the_store_is_opened(tmp_path: Path) -> None:
    info = write_store(store_files.dataset(images=8), tmp_path / "store.h5", shards=Sharding(count=4))
    with Store(info.path) as store:
        second = store.shards[1]
    second.unlink()
    with pytest.raises(DataError, match=r"lacks 1 of its 4 shards \(store.shards/0001-.*copy them"):
        Store(info.path)


def test_a_shard_of_another_store_is_refused_and_a_damaged_image_is_noticed(tmp_path: Path) -> None:
    infos = [
        write_store(store_files.dataset(images=8, seed=seed), tmp_path / f"{seed}.h5", shards=Sharding(count=2))
        for seed in (0, 1)
    ]
    with Store(infos[0].path) as one, Store(infos[1].path) as other:
        mine, theirs = one.shards[0], other.shards[0]
    before = mine.read_bytes()
    for content, problem in (
        (theirs.read_bytes(), "is a shard of another store"),
        (before[:-1], "should have"),
        (b"", "is no shard of a store"),
        (infos[0].path.read_bytes(), "is no shard of a store"),
    ):
        mine.write_bytes(content)
        with pytest.raises(DataError, match=problem):
            Store(infos[0].path)
    damaged = bytearray(before)
    damaged[schema.HEADER_BYTES :] = bytes(255 - byte for byte in damaged[schema.HEADER_BYTES :])
    mine.write_bytes(damaged)
    with Store(infos[0].path) as store:
        assert len(verify_store(store).failures) >= 4
        with pytest.raises(DataError, match="is damaged"):
            store.image_bytes(0)


def test_a_shard_is_no_store_and_is_not_replaced(tmp_path: Path) -> None:
    info = write_store(store_files.dataset(images=4), tmp_path / "store.h5", shards=Sharding(count=1))
    with Store(info.path) as store:
        shard = store.shards[0]
    with pytest.raises(DataError, match="is a shard of a store; name the store"):
        Store(shard)
    with pytest.raises(UsageError, match="is no risctl store"):
        check_output_path(shard, overwrite=True)


def test_a_store_is_replaced_with_its_shards_and_a_failure_leaves_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "store.h5"
    old = write_store(store_files.dataset(images=6), out, shards=Sharding(count=3))
    with Store(out) as store:
        before = [*rows_of(store)]
    files = sorted(tmp_path.rglob("*"))
    broken = store_files.dataset(images=6, seed=5)
    last = [*broken.images][-1]
    missing = ImageRecord(image_id=last, file_name="x", height=1, width=1, path=tmp_path / "none.jpg")
    broken = replace(broken, images={**broken.images, last: missing})
    with pytest.raises(DataError, match=r"none\.jpg"):
        write_store(broken, out, shards=Sharding(count=3))
    assert sorted(tmp_path.rglob("*")) == files
    with Store(out) as store:
        assert [*rows_of(store)] == before
    # The same content again has the same shards.
    assert write_store(store_files.dataset(images=6), out, shards=Sharding(count=3)).fingerprint == old.fingerprint
    assert sorted(tmp_path.rglob("*")) == files
    new = write_store(store_files.dataset(images=6, seed=9), out, shards=Sharding(count=2))
    with Store(out) as store:
        assert store.fingerprint == new.fingerprint and len(store.shards) == 2
        assert sorted(tmp_path.rglob("*.shard")) == sorted(store.shards)
    write_store(store_files.dataset(images=6), out)
    assert not [*tmp_path.rglob("*.shard")]


def test_what_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    content = store_files.dataset(images=3, folder=tmp_path / "pictures")
    with pytest.raises(UsageError, match="leave --link or --shards out"):
        write_store(content, tmp_path / "store.h5", link=True, shards=Sharding(count=2))
    assert not (tmp_path / "store.h5").exists()
    many = store_files.dataset(images=300, side=8)
    with pytest.raises(UsageError, match="more than 256 shards"):
        write_store(many, tmp_path / "store.h5", shards=Sharding(bytes=1))
    assert not [*tmp_path.rglob("*.shard")] and not (tmp_path / "store.shards").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8", Sharding(count=8)), ("4GB", Sharding(bytes=4 * 10**9)), ("500 mb", Sharding(bytes=5 * 10**8))],
)
def test_shards_are_a_number_or_a_size(text: str, expected: Sharding) -> None:
    assert Sharding.parse(text) == expected


@pytest.mark.parametrize("text", ["", "0", "257", "0GB", "-1", "4 PB", "many", "1.5GB"])
def test_other_texts_are_no_shards(text: str) -> None:
    with pytest.raises(UsageError, match="expected a number from 1 to 256, or a size"):
        Sharding.parse(text)


def test_shards_lead_nowhere_else(tmp_path: Path) -> None:
    info = write_store(store_files.dataset(images=4), tmp_path / "store.h5", shards=Sharding(count=2))
    shards = layout_of(info.path)["shards"]
    for name in ("../other.shard", "/etc/passwd", "..", "a/../b", "store.shards/..", "store.shards/", "a\\b/c"):
        rewritten(info.path, {}, shards=[shards[0] | {"name": name}, shards[1]])
        with pytest.raises(DataError, match="no file in a folder beside the store"):
            Store(info.path)
    for change, problem in (
        ({"parts": 2}, "other parts than"),
        ({"parts": 10**9}, "parts of a shard"),
        ({"bytes": 600}, "ends beyond the file|is impossible"),
        ({"digest": "0"}, "digest of a shard is none"),
    ):
        rewritten(info.path, {}, shards=[shards[0] | change, shards[1]])
        with pytest.raises(DataError, match=problem):
            Store(info.path)

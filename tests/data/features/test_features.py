"""Files of features give back what was put in, go on after a kill, and are refused when they are not whole."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import re
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers.full_disk import files_of_at_most
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risctl.data.features import schema, writer
from risctl.data.features.cached_features import CachedFeatures
from risctl.data.features.joining import join, present_shards
from risctl.data.features.reader import FeatureCache, FeatureFile
from risctl.data.features.schema import Key, Layout
from risctl.data.features.writer import Samples, ShardWriter
from risctl.errors import DataError, MachineError

KEY = Key(store="abc", images={"name": "Backbone", "weights": "1"}, texts={}, code="risctl 1", orientations=1)
Tensors = list[np.ndarray]


def plan(shard: tuple[int, int] = (1, 1), key: Key = KEY) -> Layout:
    return Layout(key=key, recipe="r", store="s.h5", split="train", shard=shard, groups={})


def numbers(shapes: Sequence[tuple[tuple[int, ...], ...]], *, seed: int = 0) -> list[Tensors]:
    """Return tensors of these shapes, another number everywhere."""
    generator = np.random.default_rng(seed)
    return [[generator.normal(size=shape).astype(np.float16) for shape in one] for one in shapes]


def samples_of(content: dict[str, Tensors], shard: tuple[int, int] = (1, 1)) -> Samples:
    shapes = [tuple(tensor.shape for tensor in tensors) for tensors in content.values()]
    longest = max((sum(int(np.prod(shape)) for shape in one) for one in shapes), default=0)
    rows = schema.shard_rows(len(content), shard)
    return Samples(
        keys=list(content)[rows.start : rows.stop],
        shapes=shapes[rows.start : rows.stop],
        numbers=longest,
        first=rows.start,
        total=len(content),
    )


def write(path: Path, groups: dict[str, dict[str, Tensors]], *, shard: tuple[int, int] = (1, 1)) -> Path:
    """Write groups of tensors by key, or a shard of them."""
    samples = {name: samples_of(content, shard) for name, content in groups.items()}
    with ShardWriter(schema.shard_path(path, shard), plan(shard), samples) as own:
        for name, one in samples.items():
            rows = own.todo(name)
            own.put(name, rows, [groups[name][one.keys[row]] for row in rows])
        return own.finish()


def read_back(cache: FeatureCache, groups: dict[str, dict[str, Tensors]]) -> None:
    for name, content in groups.items():
        assert cache.keys(name) == list(content)
        for key, tensors in content.items():
            found = cache.sample(name, key)
            assert [one.shape for one in found] == [tensor.shape for tensor in tensors]
            assert all(np.array_equal(mine, theirs) for mine, theirs in zip(found, tensors, strict=True))


def written_in_shards(folder: Path, content: dict[str, dict[str, Tensors]]) -> Path:
    """Write groups of tensors in two shards, and the file that joins them."""
    for number in (1, 2):
        write(folder / "a.features.h5", content, shard=(number, 2))
    return join(folder / "a.features.h5", 2)


SHAPES = ((2, 3, 4), (5, 2, 2))


@pytest.fixture
def content() -> dict[str, dict[str, Tensors]]:
    """Five images of two maps each, one of them smaller, and three texts."""
    shapes = [SHAPES, SHAPES, ((2, 1, 2), (5, 1, 1)), SHAPES, SHAPES]
    images = dict(zip(["7", "7 mirrored", "9", "-3", "12"], numbers(shapes), strict=True))
    texts = dict(zip(["the man", "café", ""], numbers([((3, 4), (4,)), ((2, 4), (4,)), ((1, 4), (4,))]), strict=True))
    return {"images": images, "texts": texts}


@pytest.fixture
def written(tmp_path: Path, content: dict[str, dict[str, Tensors]]) -> Path:
    return write(tmp_path / "a.features.h5", content)


sides = st.integers(0, 4)
tensor_shapes = st.lists(sides, max_size=4).map(tuple)


@given(
    shapes=st.integers(0, 3).flatmap(
        lambda count: st.lists(st.lists(tensor_shapes, min_size=count, max_size=count).map(tuple), max_size=5)
    ),
    keys=st.lists(st.text(max_size=6), min_size=5, max_size=5, unique=True),
    shards=st.integers(1, 3),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tensors_come_back_from_one_file_and_from_shards(
    shapes: list[tuple[tuple[int, ...], ...]], keys: list[str], shards: int
) -> None:
    content = {"images": dict(zip(keys, numbers(shapes), strict=False))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.features.h5"
        for number in range(1, shards + 1):
            write(path, content, shard=(number, shards))
        if shards > 1:
            join(path, shards)
        with FeatureCache(path) as cache:
            read_back(cache, content)


def test_any_hdf5_tool_reads_the_same(written: Path, content: dict[str, dict[str, Tensors]]) -> None:
    with h5py.File(written) as file:
        values = file["images/values"]
        assert values.dtype == np.float16 and values.chunks == (1, values.shape[1]), "one chunk a sample"
        for row, tensors in enumerate(content["images"].values()):
            flat = np.concatenate([tensor.ravel() for tensor in tensors])
            assert np.array_equal(values[row][: len(flat)], flat)


def test_virtual_datasets_join_the_shards(tmp_path: Path, content: dict[str, dict[str, Tensors]]) -> None:
    path = tmp_path / "a.features.h5"
    for number in (3, 1, 2):
        assert not path.exists()
        write(path, content, shard=(number, 3))
    assert present_shards(path) == {3: [1, 2, 3]}
    join(path, 3)
    with FeatureCache(path) as cache, h5py.File(path) as file:
        read_back(cache, content)
        assert file["images/values"].is_virtual
        for row, tensors in enumerate(content["images"].values()):
            assert np.array_equal(file["images/values"][row][: tensors[0].size], tensors[0].ravel())
    (tmp_path / "elsewhere").mkdir()
    for one in tmp_path.glob("*.h5"):
        one.rename(tmp_path / "elsewhere" / one.name)
    with FeatureCache(tmp_path / "elsewhere" / "a.features.h5") as cache:
        read_back(cache, content)


def test_other_tools_see_no_numbers_of_a_shard_that_is_gone_or_cut(
    tmp_path: Path, content: dict[str, dict[str, Tensors]]
) -> None:
    path = written_in_shards(tmp_path, content)
    with h5py.File(path) as file:
        whole = file["images/values"][:]
        assert not np.isnan(whole).any()
    rows = len(schema.shard_rows(len(whole), (1, 2)))
    shard = schema.shard_path(path, (2, 2))
    os.truncate(shard, shard.stat().st_size // 2)
    with h5py.File(path) as file, pytest.raises(OSError, match="truncated"):
        file["images/values"][:]
    shard.unlink()
    with h5py.File(path) as file:
        found = file["images/values"][:]
    assert np.isnan(found[rows:]).all() and np.array_equal(found[:rows], whole[:rows])
    with pytest.raises(DataError, match=re.escape(shard.name)):
        FeatureCache(path)


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path, content: dict[str, dict[str, Tensors]]) -> None:
    path = tmp_path / "a.features.h5"
    write(path, content, shard=(1, 2))
    with pytest.raises(DataError, match=r"a\.2-of-2\.features\.h5"):
        join(path, 2)
    other = {name: samples_of(one, (2, 2)) for name, one in content.items()}
    stale = replace(KEY, images={"name": "Backbone", "weights": "2"})
    with ShardWriter(schema.shard_path(path, (2, 2)), plan((2, 2), stale), other) as own:
        for name, one in other.items():
            own.put(name, own.todo(name), [content[name][key] for key in one.keys])
        own.finish()
    with pytest.raises(DataError, match="weights changed"):
        join(path, 2)
    write(path, content, shard=(2, 2))
    join(path, 2)
    write(path, {name: dict(list(one.items())[:3]) for name, one in content.items()}, shard=(2, 2))
    with pytest.raises(DataError, match="another shard than"):
        FeatureCache(path)
    with pytest.raises(DataError, match="are incomplete"):
        join(path, 2)


def test_a_key_says_what_has_changed() -> None:
    now = replace(KEY, store="xyz", code="risctl 2", orientations=2, texts={"name": "Reader"})
    found = "; ".join(now.differences(KEY))
    for part in ("another store", "risctl 1, this is risctl 2", "no mirrored samples", "the text encoder's name"):
        assert part in found
    assert KEY.differences(replace(KEY, orientations=2)) == [], "more orientations than needed do no harm"


def test_a_pickled_cache_opens_for_itself_and_notices_others(
    written: Path, content: dict[str, dict[str, Tensors]]
) -> None:
    recall = CachedFeatures(written)
    data = pickle.dumps(recall)
    assert len(data) < 1000
    again = pickle.loads(data)
    kept = again.image(9, mirrored=False)
    assert [tuple(item.shape) for item in kept] == [(2, 1, 2), (5, 1, 1)]
    assert again.text("café")[1].shape == (4,)
    with pytest.raises(DataError, match="no features of '9 mirrored'"):
        again.image(9, mirrored=True)
    write(written, {"images": content["images"]})
    with pytest.raises(DataError, match="replaced by other features"):
        pickle.loads(data)
    assert CachedFeatures(written).text("café") is None


# A file that is not whole.


def test_features_cut_at_any_byte_are_refused(written: Path) -> None:
    data = written.read_bytes()
    cut = written.with_name("cut.features.h5")
    cut.write_bytes(data)
    for length in reversed(range(len(data))):
        os.truncate(cut, length)
        with pytest.raises(DataError, match=r"cut\.features\.h5"):
            FeatureCache(cut)
    cut.write_bytes(data + b"\0")
    with pytest.raises(DataError, match="truncated or altered"):
        FeatureCache(cut)


@pytest.mark.parametrize("which", ["a.features.h5", "a.1-of-2.features.h5", "a.2-of-2.features.h5"])
def test_a_set_with_any_of_its_files_cut_at_any_byte_is_refused(
    tmp_path: Path, content: dict[str, dict[str, Tensors]], which: str
) -> None:
    path = written_in_shards(tmp_path, content)
    with FeatureCache(path) as cache:
        read_back(cache, content)
    cut = tmp_path / which
    size = cut.stat().st_size
    # Its header and its end byte by byte, the middle by samples.
    for length in sorted({*range(schema.HEADER_BYTES + 8), *range(0, size, 23), *range(size - 40, size)}, reverse=True):
        os.truncate(cut, length)
        with pytest.raises(DataError, match=re.escape(which)):
            FeatureCache(path)


@given(seed=st.integers(0, 10**9), which=st.sampled_from(["a.features.h5", "a.1-of-2.features.h5"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_in_a_set_give_what_was_written_or_an_error(
    tmp_path: Path, content: dict[str, dict[str, Tensors]], seed: int, which: str
) -> None:
    noise = random.Random(seed)
    path = tmp_path / "a.features.h5"
    if not path.exists():
        written_in_shards(tmp_path, content)
    damaged = tmp_path / which
    before = damaged.read_bytes()
    data = bytearray(before)
    for _ in range(noise.choice((1, 3, 50))):
        data[noise.randrange(len(data))] = noise.randrange(256)
    damaged.write_bytes(data)
    try:
        with FeatureCache(path) as cache:
            read_back(cache, content)
    except DataError:
        pass
    finally:
        damaged.write_bytes(before)


@given(seed=st.integers(0, 10**9))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_give_what_was_written_or_an_error(
    written: Path, content: dict[str, dict[str, Tensors]], seed: int
) -> None:
    noise = random.Random(seed)
    data = bytearray(written.read_bytes())
    for _ in range(noise.choice((1, 3, 50))):
        data[noise.randrange(len(data))] = noise.randrange(256)
    damaged = written.with_name("damaged.features.h5")
    damaged.write_bytes(data)
    try:
        with FeatureCache(damaged) as cache:
            read_back(cache, content)
    except DataError:
        pass


def test_a_file_cut_while_it_is_open_gives_an_error_and_no_data(written: Path) -> None:
    with FeatureCache(written) as cache:
        with written.open("rb+") as handle:
            handle.truncate(600)
        with pytest.raises(DataError, match="cut short while in use"):
            cache.sample("images", "7")


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n" + bytes(600), b"[1]\n" + bytes(600)])
def test_a_foreign_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.h5 is not a file of features"):
        FeatureCache(tmp_path / "x.h5")
    with pytest.raises(DataError, match="risctl prepare features"):
        FeatureCache(tmp_path / "absent.h5")


# Writers that are killed, meet, or fill the disk.

needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork and signals")
MANY = {"images": {str(one): tensors for one, tensors in enumerate(numbers([SHAPES] * 60))}}


def _write_slowly(path: Path) -> None:
    samples = samples_of(MANY["images"])
    with ShardWriter(path, plan(), {"images": samples}) as own:
        for row in own.todo("images"):
            own.put("images", [row], [MANY["images"][samples.keys[row]]])
            time.sleep(0.002)
        own.finish()


@needs_fork
def test_a_killed_writer_is_gone_on_with_and_nothing_is_computed_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.features.h5"
    left, stopped = len(MANY["images"]), 0
    delays = random.Random(0)
    for trial in range(60):
        if trial >= 12 and stopped:
            break
        process = multiprocessing.get_context("fork").Process(target=_write_slowly, args=(path,))
        process.start()
        # A busy machine starts it late: then later trials fall into the writing.
        time.sleep(delays.uniform(0.01, 0.06) * (1 + trial / 12))
        process.kill()
        process.join()
        if path.exists():
            break
        with pytest.raises(DataError):
            FeatureCache(path)
        with ShardWriter(path, plan(), {"images": samples_of(MANY["images"])}) as own:
            todo = len(own.todo("images"))
        assert todo <= left
        stopped += 0 < todo < len(MANY["images"])
        left = todo
    assert stopped, "no kill fell into the writing"
    if not path.exists():
        _write_slowly(path)
    with FeatureCache(path) as cache:
        read_back(cache, MANY)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def _write_shard_slowly(path: Path, shard: tuple[int, int], hang_at: int | None = None) -> None:
    samples = samples_of(MANY["images"], shard)
    with ShardWriter(schema.shard_path(path, shard), plan(shard), {"images": samples}) as own:
        for done, row in enumerate(own.todo("images")):
            if done == hang_at:
                time.sleep(600)  # until it is killed
            own.put("images", [row], [MANY["images"][samples.keys[row]]])
            time.sleep(0.005)
        own.finish()


@needs_fork
def test_of_several_processes_one_is_killed_and_goes_on_before_the_shards_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.features.h5"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_write_shard_slowly, args=(path, (one, 3), hang_at))
        for one, hang_at in ((1, None), (2, 15), (3, None))
    ]
    for process in processes:
        process.start()
    killed = schema.shard_path(path, (2, 3))
    part = killed.with_name(f"{killed.name}.part")
    deadline = time.monotonic() + 60
    while _done(part) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    processes[1].kill()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL, 0]
    assert present_shards(path) == {3: [1, 3]} and 5 <= _done(part) < 20
    with pytest.raises(DataError, match=re.escape(killed.name)):
        join(path, 3)
    with ShardWriter(killed, plan((2, 3)), {"images": samples_of(MANY["images"], (2, 3))}) as own:
        assert len(own.todo("images")) == 20 - _done(part)
    _write_shard_slowly(path, (2, 3))
    join(path, 3)
    with FeatureCache(path) as cache:
        read_back(cache, MANY)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        [path.name, *(f"a.{one}-of-3.features.h5" for one in (1, 2, 3))]
    )


def _done(part: Path) -> int:
    """Return how many samples an unfinished file has."""
    try:
        file = FeatureFile(part, unfinished=True)
    except DataError:
        return 0
    try:
        return int(file._table("images", "done").sum())
    finally:
        file.close()


def test_what_other_features_left_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.features.h5"
    samples = {"images": samples_of(MANY["images"])}
    for key in (KEY, replace(KEY, store="other"), KEY):
        with ShardWriter(path, plan(key=key), samples) as own:
            assert len(own.todo("images")) == 60
            own.put("images", [3], [MANY["images"]["3"]])
            with pytest.raises(ValueError, match="samples are missing"):
                own.finish()
    fewer = {"images": samples_of(dict(list(MANY["images"].items())[:30]))}
    with ShardWriter(path, plan(), fewer) as own:
        assert len(own.todo("images")) == 30
        with pytest.raises(ValueError, match="shapes"):
            own.put("images", [0], [numbers([((1,), (2,))])[0]])


def test_two_writers_of_one_shard_do_not_mix(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "a.features.h5"
    samples = {"images": samples_of(MANY["images"])}
    with (
        ShardWriter(path, plan(), samples) as own,
        pytest.raises(DataError, match="being written by another process"),
        ShardWriter(path, plan(), samples),
    ):
        pass
    with ShardWriter(path, plan(), samples) as own:
        own.put("images", range(60), list(MANY["images"].values()))
        own.finish()
    with FeatureCache(path) as cache:
        read_back(cache, MANY)


def _write_limited(path: Path, limit: int, told: Any) -> None:
    resource = pytest.importorskip("resource")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        write(path, MANY)
    except MachineError as error:
        told.put(str(error))


@needs_fork
@pytest.mark.parametrize("limit", [0, 1_000, 6_000])
def test_a_full_disk_is_said_before_anything_is_computed(tmp_path: Path, limit: int) -> None:
    out = tmp_path / "a.features.h5"
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    process = context.Process(target=_write_limited, args=(out, limit, told))
    process.start()
    message = told.get(timeout=60)
    process.join()
    assert "no space left to write" in message and str(out) in message
    assert not out.exists()
    write(out, MANY)
    with FeatureCache(out) as cache:
        read_back(cache, MANY)


@pytest.mark.parametrize("limit", [0, 600, 8_000])
def test_a_disk_that_fills_while_shards_are_joined_is_said_and_leaves_them(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a.features.h5"
    for number in (1, 2):
        write(path, MANY, shard=(number, 2))
    with files_of_at_most(limit), pytest.raises(MachineError, match="no space left to write"):
        join(path, 2)
    assert len(list(tmp_path.iterdir())) == 2
    with FeatureCache(join(path, 2)) as cache:
        read_back(cache, MANY)


def test_a_disk_that_is_too_small_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage: Any = writer.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(MachineError, match=r"GB free; choose another disk with --out"):
        write(tmp_path / "a.features.h5", MANY)

"""Files read by offset: with and without `os.pread`, by threads, and by forked and spawned processes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from helpers.tiny import tiny_store

from risctl.data.random_access import RandomAccessFile
from risctl.data.store.reader import Store

DATA = bytes(range(256)) * 400


@pytest.fixture(params=["pread", "seek"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RandomAccessFile:
    if request.param == "seek":
        monkeypatch.delattr(os, "pread", raising=False)
    elif not hasattr(os, "pread"):
        pytest.skip("this system has no os.pread")
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return RandomAccessFile(path)


def test_pieces_are_those_of_the_file(file: RandomAccessFile) -> None:
    assert file.size == len(DATA)
    assert file.read(1000, 77) == DATA[1000:1077] and file.read(0, len(DATA) + 5) == DATA
    assert file.read(len(DATA), 3) == b""
    file.close()
    assert file.closed


def test_threads_do_not_disturb_each_other(file: RandomAccessFile) -> None:
    offsets = [(index * 7919) % (len(DATA) - 5000) for index in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        pieces = pool.map(lambda offset: file.read(offset, 5000), offsets)
        assert all(piece == DATA[offset : offset + 5000] for offset, piece in zip(offsets, pieces, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_its_own_position(file: RandomAccessFile) -> None:
    assert file.read(5, 3) == DATA[5:8]
    with get_context("fork").Pool(2) as pool:
        found = pool.starmap(file_read, [(file.path, offset) for offset in range(50)])
    assert found == [DATA[offset : offset + 9] for offset in range(50)]
    child = os.fork()
    if child == 0:
        os._exit(0 if all(file.read(index, 9) == DATA[index : index + 9] for index in range(500)) else 1)
    assert all(file.read(index, 9) == DATA[index : index + 9] for index in range(500, 0, -1))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def file_read(path: Path, offset: int) -> bytes:
    return RandomAccessFile(path).read(offset, 9)


def texts_of(store: Store) -> list[str]:
    return store.texts("all")


def test_a_store_goes_to_a_spawned_process(tmp_path: Path) -> None:
    store = Store(tiny_store(tmp_path))
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(texts_of, (store,)) == store.texts("all")


def test_a_store_reads_the_same_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_store(tmp_path)
    expected = [Store(path).sample(row) for row in range(3)]
    monkeypatch.delattr(os, "pread", raising=False)
    for row, sample in enumerate(expected):
        again = Store(path).sample(row)
        assert (again.text, again.ids) == (sample.text, sample.ids)
        assert (again.image == sample.image).all() and (again.mask == sample.mask).all()

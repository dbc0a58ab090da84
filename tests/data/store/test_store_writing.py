"""Writing a store is all or nothing: killed at any moment, on a full disk, or by two at once."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import store_files

from risctl import files
from risctl.data.records import Dataset
from risctl.data.store import schema
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, MachineError

HERE = Path(__file__).parent

needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork and SIGKILL")


def _write_on_and_on(out: Path) -> None:
    schema.PART_BYTES = 100_000
    while True:
        for dataset in _datasets():
            write_store(dataset, out)


@functools.cache
def _datasets() -> list[Dataset]:
    return [store_files.dataset(images=40, seed=seed, side=90) for seed in (1, 2)]


def _start(out: Path) -> Any:
    _datasets()  # made here, so that a busy machine's child spends its time on writing
    process = multiprocessing.get_context("fork").Process(target=_write_on_and_on, args=(out,))
    process.start()
    return process


@needs_fork
def test_a_kill_at_any_moment_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    out = tmp_path / "store.h5"
    whole = {write_store(dataset, tmp_path / f"{number}.h5").fingerprint for number, dataset in enumerate(_datasets())}
    old = write_store(store_files.dataset(seed=9), out).fingerprint
    delays = random.Random(0)
    interrupted = 0
    for _ in range(25):
        process = _start(out)
        time.sleep(delays.uniform(0.0, 0.3))
        process.kill()
        process.join()
        interrupted += any(tmp_path.glob(".store.h5.*.part"))
        with Store(out) as store:
            assert store.fingerprint in whole | {old}
            assert verify_store(store).failures == []
    print(f"{interrupted} of 25 kills fell into a writing")
    assert interrupted, "no kill fell into a writing: make the writing longer"
    write_store(store_files.dataset(), out)
    assert not list(tmp_path.glob(".*")), "the next writer removes what killed ones left"


@needs_fork
def test_two_writers_at_once_leave_one_whole_store(tmp_path: Path) -> None:
    out = tmp_path / "store.h5"
    old = write_store(store_files.dataset(), out).fingerprint
    writers = [_start(out) for _ in range(2)]
    deadline = time.monotonic() + 120
    seen = {old}  # the writers may be done with it before it is read
    while time.monotonic() < deadline and len(seen) < 3:
        with Store(out) as store:
            assert verify_store(store).failures == []
            seen.add(store.fingerprint)
    for writer in writers:
        assert writer.is_alive(), "a writer fell over the other"
        writer.kill()
        writer.join()
    assert len(seen) == 3, "both that are written in turns"


LIMITED = f"""
import resource, signal, sys
sys.path.insert(0, {str(HERE.parents[1])!r})
from helpers import store_files
from pathlib import Path
from risctl.data.store.writer import write_store
from risctl.errors import MachineError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
dataset = store_files.dataset(images=60, side=90)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    write_store(dataset, Path(sys.argv[1]))
except MachineError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on file sizes")
@pytest.mark.parametrize("limit", [0, 2_000, 100_000, 300_000])
def test_a_full_disk_is_said_and_leaves_the_old_store(tmp_path: Path, limit: int) -> None:
    out = tmp_path / "store.h5"
    old = write_store(store_files.dataset(), out)
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(out), str(limit)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "no space left to write" in run.stdout and str(out) in run.stdout, run.stdout + run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]
    with Store(out) as store:
        assert store.fingerprint == old.fingerprint


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot create the folder"):
        write_store(store_files.dataset(), tmp_path / "file" / "store.h5")
    with pytest.raises(DataError, match="is a folder"):
        write_store(store_files.dataset(), tmp_path)


def test_an_error_in_the_block_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(file) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(MachineError, match="no space"), files.replacing(file):
        raise OSError(28, "No space left on device")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_what_is_written_can_be_read_by_those_the_umask_lets(tmp_path: Path) -> None:
    private = tmp_path / "private.txt"
    before = os.umask(0o027)
    try:
        with files.replacing(private) as part:
            part.touch(mode=0o600)
    finally:
        os.umask(before)
    assert private.stat().st_mode & 0o777 == 0o640


def test_only_dead_writers_leftovers_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "store.h5"
    host = files._host()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = {
        "dead": tmp_path / f".store.h5.{host}-{dead.pid}-00.part",
        "alive": tmp_path / f".store.h5.{host}-{os.getpid()}-00.part",
        "elsewhere": tmp_path / f".store.h5.other-{dead.pid}-00.part",
        "old": tmp_path / ".store.h5.other-1-00.part",
        "another": tmp_path / f".other.h5.{host}-{dead.pid}-00.part",
    }
    for file in left.values():
        file.write_text("")
    long_ago = time.time() - 2 * files.STALE_SECONDS
    os.utime(left["old"], (long_ago, long_ago))
    assert set(files.remove_stale(out)) == {left["dead"], left["old"]}
    assert left["alive"].exists() and left["elsewhere"].exists() and left["another"].exists()

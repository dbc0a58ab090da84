"""What foreign files can make the readers allocate: no more than their size times a stated factor."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from risctl.core.encoders.clip_weights import read_published_clip
from risctl.core.encoders.visual.deeplab_weights import read_deeplab
from risctl.errors import CheckpointError
from risctl.systems.cris.published import read_cris
from risctl.systems.referformer.published import read_referformer
from risctl.systems.zsi.published import read_zsi
from risctl.weights.budget import SMALL, Budget
from risctl.weights.keras_h5 import read_keras_weights
from risctl.weights.npz import read_npz
from risctl.weights.pytorch_file import read_pytorch, read_state
from risctl.weights.torchscript import read_torchscript

READERS = {"zsi": read_zsi, "referformer": read_referformer, "cris": read_cris, "clip": read_published_clip}


def keras_file(path: Path, store: Callable[[h5py.Group], Any], *, names: Any = (b"a/k",)) -> Path:
    """Write a Keras file of one layer `a`, whose weight `a/k` is what `store` makes of the layer's group."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"a"])
        group = file.create_group("a")
        group.attrs["weight_names"] = np.array(names)
        store(group)
    return path


def packed_chunk(group: h5py.Group) -> None:
    """Store a chunk of 4,000 bytes that unpacks to 64 MB."""
    dataset = group.create_dataset("a/k", shape=(1000,), dtype="f4", chunks=(1000,), compression="gzip")
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(2**26)))


HOSTILE_KERAS: dict[str, tuple[Callable[[h5py.Group], Any], str]] = {
    "never written": (lambda g: g.create_dataset("a/k", shape=(10**12,), dtype="f4"), "may hold 8 times its own size"),
    "compressed": (
        lambda g: g.create_dataset("a/k", data=np.zeros(2**23, np.float32), compression="gzip"),
        "may hold 8 times its own size",
    ),
    "chunk unpacks to more": (packed_chunk, "unpacks to more than its 4,000 bytes"),
    "huge chunk": (
        lambda g: g.create_dataset("a/k", shape=(10,), maxshape=(None,), dtype="f4", chunks=(2**29,)),
        "stored in chunks of",
    ),
    "other filter": (lambda g: g.create_dataset("a/k", data=np.ones(99), compression="lzf"), "a filter that is not"),
    "another file": (lambda g: g.__setitem__("a", h5py.ExternalLink("/dev/zero", "/a")), "is a link"),
    "soft link": (lambda g: g.__setitem__("a", h5py.SoftLink("/a")), "is a link"),
    "external numbers": (
        lambda g: g.create_dataset("a/k", shape=(4,), dtype="f4", external=[("/dev/zero", 0, 16)]),
        "lie in other files",
    ),
    "no space": (lambda g: g.create_dataset("a/k", data=h5py.Empty("f4")), "holds no numbers"),
    "a group": (lambda g: g.create_group("a/k"), "holds no numbers"),
}


@pytest.mark.parametrize("case", HOSTILE_KERAS)
def test_keras_files_that_describe_more_than_they_hold(tmp_path: Path, case: str) -> None:
    store, says = HOSTILE_KERAS[case]
    with pytest.raises(CheckpointError, match=says):
        read_keras_weights(keras_file(tmp_path / "w.h5", store))


def test_one_keras_dataset_under_many_names_counts_each_time(tmp_path: Path) -> None:
    names = np.array([b"a/k"] * 20)
    path = keras_file(
        tmp_path / "w.h5", lambda g: g.create_dataset("a/k", data=np.ones(2**18, np.float32)), names=names
    )
    with pytest.raises(CheckpointError, match="may hold 8 times"):
        read_keras_weights(path)


@pytest.mark.parametrize("names", ["a", 3, np.ones(2), np.array([["a"]], dtype="S1")])
def test_layer_names_that_are_no_list_of_names(tmp_path: Path, names: Any) -> None:
    path = keras_file(tmp_path / "w.h5", lambda g: g.create_dataset("a/k", data=np.ones(3)))
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = names
    with pytest.raises(CheckpointError, match="no list of names"):
        read_keras_weights(path)


def test_names_of_variable_length_are_read_unless_they_repeat_a_long_one(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "w.h5", lambda g: g.create_dataset("a/k", data=np.ones(3)))
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = ["a"]
    assert list(read_keras_weights(path)) == ["a/a/k"]
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = ["x" * 2**17] + ["a"] * 2000
    with pytest.raises(CheckpointError, match="too long"):
        read_keras_weights(path)


def test_plain_compression_of_weights_is_read(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(100, 30)).astype(np.float32)
    path = keras_file(
        tmp_path / "w.h5",
        lambda g: g.create_dataset("a/k", data=numbers, compression="gzip", shuffle=True, fletcher32=True),
    )
    assert np.array_equal(read_keras_weights(path)["a/a/k"], numbers)


def npy(shape: tuple[int, ...], descr: str = "<f4", *, data: bytes = b"") -> bytes:
    head = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (npy((10**13,), data=b"1234"), "does not fit"),
        (npy((-1,), data=b"1234"), "does not fit"),
        (npy((2**62, 4), data=b"1234"), "does not fit"),
        (npy((1,), "|O", data=b"12345678"), "holds no numbers"),
        (npy((1,), "<c8", data=b"12345678"), "holds no numbers"),
        (npy((8,), data=bytes(32))[:-5], "does not fit"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{", "cannot be read"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9) + b"(((((((((", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_npz_headers_that_lie(tmp_path: Path, member: bytes, says: str) -> None:
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(CheckpointError, match=says):
        read_npz(tmp_path / "w.npz", what="arrays")


def test_npz_that_unpacks_to_more_than_it_holds(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(2 * SMALL, np.uint8))
    for read in (lambda path: read_npz(path, what="arrays"), read_deeplab):
        with pytest.raises(CheckpointError, match="may hold 8 times its own size"):
            read(tmp_path / "w.npz")


def test_npz_reads_what_numpy_writes(tmp_path: Path) -> None:
    arrays = {
        "rows": np.arange(6, dtype=np.int64).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "half": np.ones((), np.float16),
        "none": np.zeros((0, 3), np.float32),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "w.npz", **arrays)
        found = read_npz(tmp_path / "w.npz", what="arrays")
        assert set(found) == set(arrays)
        for name, values in arrays.items():
            assert np.array_equal(found[name], values) and found[name].dtype == values.dtype


def repack(path: Path, change: Callable[[str, bytes], bytes] = lambda name, data: data) -> None:
    """Write a zip archive anew with compression, its members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, change(name, data))


@pytest.mark.parametrize("reader", READERS)
def test_pth_that_unpacks_to_more_than_it_holds(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(SMALL // 2)}, path)
    repack(path)
    assert path.stat().st_size < 2**20
    with pytest.raises(CheckpointError, match="may hold 8 times its own size"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({1: torch.zeros(1)}, "got the key 1"),
        ({("a", "b"): torch.zeros(1)}, r"got the key \('a', 'b'\)"),
        ({"a": 3}, "got int at 'a'"),
        ([torch.zeros(1)], "got list"),
        (torch.zeros(1), "got Tensor"),
        ({"a": torch.zeros(1).expand(10**10)}, "may hold 8 times"),
        ({"a": torch.eye(3).to_sparse()}, "expected plain tensors"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "complex64"),
        ({"a": torch.zeros(2, device="meta")}, "expected plain tensors"),
    ],
)
def test_pth_of_something_else(tmp_path: Path, reader: str, content: Any, says: str) -> None:
    path = tmp_path / "w.pth"
    for new in (True, False):
        torch.save(content, path, _use_new_zipfile_serialization=new)
        with pytest.raises(CheckpointError, match=says):
            READERS[reader](path)


class _Call:
    """What pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("reader", READERS)
def test_refused_pth_gives_no_advice_to_load_it_unsafely(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "w.pth"
    for content in ({"a": _Call(os.system, "true")}, {"a": _Call(OrderedDict, 3)}, {"a": _Call(bytearray, 10**14)}):
        for new in (True, False):
            torch.save(content, path, _use_new_zipfile_serialization=new)
            with pytest.raises(CheckpointError) as caught:
                READERS[reader](path)
            text = str(caught.value)
            assert "weights_only" not in text and "safe_globals" not in text and "\n" not in text
    torch.save({"a": _Call(os.system, "true")}, path)
    with pytest.raises(CheckpointError, match=r"it asks for 'posix\.system'.*get the file from its publisher"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80", pickle.dumps({"a": 1}), b"PK\x05\x06" + bytes(18)])
def test_empty_and_cut_files(tmp_path: Path, reader: str, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pth"):
        READERS[reader](tmp_path / "w.pth")


def test_a_long_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(3)}, path)
    repack(path, lambda name, data: data + b"]" * 2**23 if name.endswith("data.pkl") else data)
    with pytest.raises(CheckpointError, match="the description of a file of weights"):
        read_pytorch(path, what="weights")


def test_a_folder_a_pipe_and_nothing_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for name, says in (("pipe.pth", "a device or pipe"), ("", "a folder"), ("none.pth", "found no file")):
        with pytest.raises(CheckpointError, match=says):
            read_pytorch(tmp_path / name, what="weights")


def test_tensors_under_a_key_and_of_parallel_training_are_found(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    tensors = {"module.a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.int64)}
    for content in ({"state_dict": tensors, "epoch": 3}, tensors):
        torch.save(content, path)
        found = read_state(path, what="weights", inside=("state_dict",))
        assert set(found) == {"a", "b"} and torch.equal(found["a"], tensors["module.a"])


def test_a_torchscript_archive_cannot_repeat_a_number_without_end(tmp_path: Path) -> None:
    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("wide", torch.zeros(1).expand(2**26))

        def forward(self) -> int:
            return 1

    with pytest.warns(FutureWarning):
        torch.jit.script(Wide()).save(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="may hold 8 times"):
        read_torchscript(tmp_path / "w.pt")


def test_the_budget_counts_all_arrays_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(2**22))
    budget = Budget(tmp_path / "f")
    budget.spend(2**24)
    budget.spend(2**24)
    with pytest.raises(CheckpointError, match="4,194,304 bytes and describes arrays of more than 33,554,432"):
        budget.spend(1)

"""Attacks files of weights: flipped bits, changed lengths, and hostile values with valid digests.

A checkpoint must give the weights that its digests are of, or be refused. Published files (PyTorch in both its forms,
Keras h5, npz) carry no digests: a flipped number is a number, so that tensors of finite size by name are right there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import load_file

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.core.encoders.clip_weights import read_published_clip
from risctl.core.encoders.load_weights import load_state
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.systems.referformer.published import read_referformer
from risctl.systems.registry import build_system
from risctl.systems.zsi.published import read_zsi
from risctl.weights.keras_h5 import read_keras_weights
from risctl.weights.npz import read_npz

SUITE_COUNT = 40
FILES = ("run.safetensors", "new.pth", "old.pth", "w.h5", "packed.h5", "w.npz", "packed.npz")
MODEL = {
    "system": "mini",
    "input_size": 64,
    "max_words": 6,
    "mask_channels": 16,
    "neck": 16,
    "channels": 16,
    "layers": 1,
    "heads": 2,
    "visual": {"weights": None},
    "text": {"buckets": 16},
}
NUMBERS = (-(2**63), -(2**31), -1, 0, 1, 2, 7, 255, 65_536, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, "", "\ud800", "a\0b", "\x1b[31m", [], {}, [[]], [{}], 0.5, -1, 0, 1, 2**31, 2**63, 10**400),
    *(
        "RAW:Infinity",
        "RAW:NaN",
        "RAW:1e999",
        "RAW:" + "9" * 5000,
        "RAW:" + "[" * 100_000,
        "RAW:" + "[" * 90 + "]" * 90,
    ),
    *(["<byte-pairs>", ["a"], "<byte-pairs>"], ["<byte-pairs>", "a", "<byte-pairs>"], ["<tokenizer>", "{}"]),
)


def prepare(folder: Path) -> None:
    """Writes a checkpoint of a small mini, and published files of two tensors in every form."""
    recipe = parse_recipe(
        {"name": "small", "model": MODEL, "data": {"store": "none.h5"}, "train": {"epochs": 1}}, source="the attack"
    )
    vocabulary = Vocabulary(["red", "cup"])
    torch.manual_seed(0)
    system = build_system(recipe.model, vocabulary=vocabulary, pretrained=False)
    extra = {"step": 7, "dataset": {"name": "toy", "fingerprint": "ab", "also": []}, "metrics": {"mIoU": 1.5}}
    save_checkpoint(folder / FILES[0], system=system, recipe=recipe, vocabulary=vocabulary, extra=extra)
    tensors = {"a.weight": torch.randn(30, 4), "b.bias": torch.arange(5), "c": torch.ones(3).half()}
    torch.save({"model": tensors, "state_dict": tensors, "epoch": 3}, folder / "new.pth")
    torch.save({"model": tensors, "state_dict": tensors}, folder / "old.pth", _use_new_zipfile_serialization=False)
    for name, options in (("w.h5", {}), ("packed.h5", {"compression": "gzip", "shuffle": True, "chunks": (10, 4)})):
        with h5py.File(folder / name, "w") as file:
            file.attrs["layer_names"] = np.array([b"a", b"b"])
            for layer in "ab":
                group = file.create_group(layer)
                group.attrs["weight_names"] = np.array([b"kernel:0"])
                group.create_dataset("kernel:0", data=tensors["a.weight"].numpy(), **options)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez(folder / "w.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)


def mutate(folder: Path, target: Path, random: Random) -> str:
    """Writes a mutated file of weights into `target`."""
    name = random.choice(FILES)
    data = (folder / name).read_bytes()
    own: dict[str, tuple[Callable[[bytes, Random], bytes], ...]] = {
        ".safetensors": (_entry, _entry, _model_key, _tensor, _table),
        ".pth": (_repacked,) if name == "new.pth" else (),
        ".npz": (_repacked, _shape),
    }
    chosen = random.choice((_flip, _flip, _cut, _stretch, _number, *own.get(Path(name).suffix, ())))
    (target / name).write_bytes(chosen(data, random))
    return f"{chosen.__name__} {name}"


def check(folder: Path, target: Path) -> str:
    """Returns whether the mutated file gives weights that may be right."""
    [path] = target.iterdir()
    if path.suffix == ".safetensors":
        state = load_checkpoint(path).system.state_dict()
        held = {name.removeprefix("model."): tensor for name, tensor in load_file(path).items()}
        same = all(torch.equal(state[name], tensor.to(state[name].dtype)) for name, tensor in held.items())
        finite = all(bool(tensor.isfinite().all()) for tensor in state.values() if tensor.is_floating_point())
        return "right" if same and finite and set(state) == set(held) else "wrong"
    if path.suffix == ".h5":
        arrays = read_keras_weights(path)
        return "right" if all(array.dtype == np.float32 for array in arrays.values()) else "wrong"
    if path.suffix == ".npz":
        return (
            "right" if all(array.dtype.kind in "fiu" for array in read_npz(path, what="arrays").values()) else "wrong"
        )
    states = [read(path) for read in (read_zsi, read_referformer, read_published_clip)]
    module = torch.nn.Module()
    module.a = torch.nn.Linear(4, 30, bias=False)
    load_state(module, {name: tensor for name, tensor in states[0].items() if name == "a.weight"}, source=str(path))
    return "right" if all(isinstance(name, str) for state in states for name in state) else "wrong"


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    # Headers are short and at the ends: half of the bits fall there.
    span = len(data) if random.random() < 0.5 else min(len(data), 2000)
    for _ in range(random.choice((1, 1, 3, 30))):
        place = random.randrange(span)
        changed[place if random.random() < 0.6 else -1 - place] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.choice((0, 1, 4, 8, 100, random.randrange(len(data)), len(data) - 1))]


def _stretch(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    more = random.choice((b"\0", b"]" * 5000, random.randbytes(100), data[:1000]))
    return data[:place] + more + data[place:]


def _number(data: bytes, random: Random) -> bytes:
    number = random.choice(NUMBERS) % 2**64
    width = random.choice((4, 8))
    place = random.randrange(max(1, min(len(data), 4000) - width))
    place = place if random.random() < 0.6 else max(0, len(data) - width - place)
    return data[:place] + (number % 2 ** (8 * width)).to_bytes(width, "little") + data[place + width :]


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns the table of a safetensors file and its numbers."""
    [length] = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(table: dict[str, Any], numbers: bytes) -> bytes:
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def _raw(value: Any) -> str:
    return value[4:] if isinstance(value, str) and value.startswith("RAW:") else json.dumps(value)


def _with_header(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    table, numbers = _parts(data)
    header = json.loads(table["__metadata__"]["risctl"])
    change(header)
    marks = {f"MARK{place}": value for place, value in enumerate(JSON_VALUES)}
    text = json.dumps(header)
    for mark, value in reversed(marks.items()):
        text = text.replace(f'"{mark}"', _raw(value))
    table["__metadata__"]["risctl"] = text
    return _joined(table, numbers)


def _entry(data: bytes, random: Random) -> bytes:
    def change(header: dict[str, Any]) -> None:
        where: Any = header
        while True:
            key = random.choice(list(where)) if isinstance(where, dict) else random.randrange(len(where))
            if not isinstance(where[key], dict | list) or not where[key] or random.random() < 0.3:
                where[key] = f"MARK{random.randrange(len(JSON_VALUES))}"
                return
            where = where[key]

    return _with_header(data, change)


def _model_key(data: bytes, random: Random) -> bytes:
    sizes = {"channels": 2048, "neck": 1024, "layers": 24, "max_words": 200, "input_size": 4096, "mask_channels": 1024}

    def change(header: dict[str, Any]) -> None:
        model = header["recipe"]["model"]
        for key in random.sample(sorted(sizes), random.randrange(1, 4)):
            model[key] = sizes[key]
        model["text"]["buckets"] = random.choice((16, 1_000_000))

    return _with_header(data, change)


def _tensor(data: bytes, random: Random) -> bytes:
    """Changes a tensor's numbers or type, with digests that fit."""
    table, numbers = _parts(data)
    header = json.loads(table["__metadata__"]["risctl"])
    name = random.choice([one for one in table if one != "__metadata__" and table[one]["dtype"] == "F32"])
    entry = table[name]
    start, end = entry["data_offsets"]
    if random.random() < 0.5:
        entry["dtype"] = random.choice(("I32", "U32", "F32", "C64"))
        if entry["dtype"] == "C64":
            entry["shape"] = [(end - start) // 8]
    else:
        value = random.choice((float("nan"), float("inf"), 1e30, 0.0))
        numbers = numbers[:start] + struct.pack("<f", value) + numbers[start + 4 :]
    with contextlib.suppress(KeyError):  # of a type that torch does not have
        header["sha256"]["model."] = _digest(table, numbers)
    table["__metadata__"]["risctl"] = json.dumps(header)
    return _joined(table, numbers)


def _digest(table: dict[str, Any], numbers: bytes) -> str:
    kinds = {"F32": "torch.float32", "I32": "torch.int32", "I64": "torch.int64", "C64": "torch.complex64"}
    digest = hashlib.sha256()
    for name in sorted(one for one in table if one.startswith("model.")):
        entry = table[name]
        digest.update(f"{name} {kinds[entry['dtype']]} {tuple(entry['shape'])}\n".encode())
        digest.update(numbers[slice(*entry["data_offsets"])])
    return digest.hexdigest()


def _table(data: bytes, random: Random) -> bytes:
    table, numbers = _parts(data)
    name = random.choice([one for one in table if one != "__metadata__"])
    match random.randrange(4):
        case 0:
            table[name]["shape"] = [random.choice(NUMBERS) for _ in range(random.randrange(4))]
        case 1:
            table[name]["data_offsets"] = [random.choice(NUMBERS), random.choice(NUMBERS)]
        case 2:
            table[name + random.choice(("", "x", "\ud800", "\x1b[1m"))] = table.pop(name)
        case _:
            table["more"] = {"dtype": "F32", "shape": [0, random.choice(NUMBERS) % 2**63], "data_offsets": [0, 0]}
    return _joined(table, numbers)


def _members(data: bytes, random: Random, change: Callable[[str, bytes], bytes]) -> bytes:
    out = io.BytesIO()
    kind = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w", kind) as packed:
        for name in archive.namelist():
            packed.writestr(name, change(name, archive.read(name)))
    return out.getvalue()


def _repacked(data: bytes, random: Random) -> bytes:
    """Writes the archive anew, a member of it mutated or swollen, with sums that fit."""
    with_bomb, victim = random.random() < 0.3, random.randrange(6)
    seen = -1

    def change(_: str, member: bytes) -> bytes:
        nonlocal seen
        seen += 1
        if seen != victim or not member:
            return member
        if with_bomb:
            return member + bytes(2**25)
        return random.choice((_flip, _cut, _stretch, _number))(member, random)

    return _members(data, random, change)


def _shape(data: bytes, random: Random) -> bytes:
    shape = tuple(random.choice(NUMBERS) for _ in range(random.randrange(4)))
    kind = random.choice(("<f4", "|O", "<c16", "<M8[s]", "S9999999", "<f4,<i8"))
    head = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + random.randbytes(64)
    return _members(data, random, lambda _, __: member)

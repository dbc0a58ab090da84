"""Attacks stores: flipped bits, changed lengths, and hostile values whose sums are made valid again.

What a case must give is read from its file by a second, plain reader (`_plain_store`): the original's content where the
sums were left as they are, else what the mutated file says, or nothing where that is impossible.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from attacks._plain_store import HEADER, ImpossibleError, Layout, content, layout_of, size_of, values_of
from attacks._small_stores import dataset
from risctl.data.datasets.counts import store_counts
from risctl.data.stats import stats_of
from risctl.data.store.clips import ClipStore, is_video_store
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import RisctlError

SUITE_COUNT = 500
KINDS = ("whole", "linked", "video")

NUMBERS = (-(2**63), -(2**31), -1, 0, 1, 2, 7, 255, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "\ud800", "a\0b", "\x1b[31m", [], {}, [[]], 0.5, -1, 0, 1, 2**31, 2**63, 2**64, 10**400),
    *("RAW:Infinity", "RAW:-Infinity", "RAW:NaN", "RAW:1e999", "RAW:" + "9" * 5000, "RAW:" + "[" * 100_000),
    *("RAW:" + '{"a":' * 50_000, "RAW:" + "[" * 900 + "]" * 900, "O", "<f8", ">i8", "i4,(9999999,)i4", [10**9], [-1]),
)
TEXTS = (b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\x1b]0;x\x07", b"\n", b"../../x", "é".encode(), b"a" * 300)
COUNTS = (
    b"",
    b"0",
    b"P",
    b"oooooooooooooo",
    b"PPPPPPPPPPPPPP1",
    b"\xff",
    b"1" * 50,
    b"o" * 2000,
    b"_____1",
    b"nk0nk0nk0",
)


# Originals.


def prepare(folder: Path) -> None:
    """Writes a store with its pictures, one that links to files, and one of videos."""
    os.environ["XDG_CONFIG_HOME"] = str(folder / "configuration")  # no folder is remembered for the user
    for kind in KINDS:
        write_store(dataset(folder, kind), folder / f"{kind}.h5", link=kind == "linked")


# Mutations.


def mutate(folder: Path, target: Path, random: Random) -> str:
    """Writes a mutated store, and what it must give, into `target`."""
    kind = random.choice(KINDS)
    data = bytearray((folder / f"{kind}.h5").read_bytes())
    chosen = random.choice(_MUTATIONS + ((_link,) * 4 if kind == "linked" else ()))
    changed, resummed = chosen(data, random, target)
    path = target / "store.h5"
    path.write_bytes(changed)
    (target / "original").write_text(kind)
    if resummed:
        (target / "resummed").touch()
    return f"{kind}: {chosen.__name__.lstrip('_')}"


Mutation = Callable[[bytearray, Random, Path], tuple[bytes, bool]]


def _bits(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data), False


def _column_bits(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    columns = [one for one in layout_of(data)["columns"].values() if size_of(one)]
    for _ in range(random.choice((1, 2, 8))):
        column = random.choice(columns)
        data[column["offset"] + random.randrange(size_of(column))] ^= 1 << random.randrange(8)
    return bytes(data), False


def _blocks(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    start, length = random.randrange(len(data)), random.choice((1, 8, 64, 4096))
    block = bytes(data[start : start + length])
    data[start : start + length] = random.choice(
        (bytes(len(block)), b"\xff" * len(block), random.randbytes(len(block)))
    )
    return bytes(data), False


def _lengths(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    way = random.randrange(4)
    place, length = random.randrange(len(data)), random.choice((1, 7, 512, 5000))
    if way == 0:
        return bytes(data[:place]), False
    if way == 1:
        return bytes(data) + random.randbytes(length), False
    if way == 2:
        return bytes(data[:place] + data[place + length :]), False
    return bytes(data[:place] + random.randbytes(length) + data[place:]), False


def _head(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    head = json.loads(bytes(data[:HEADER]).split(b"\n", 1)[0])
    replace_node(head, random)
    line = dumped(head)[: HEADER - 1] + b"\n"
    data[:HEADER] = line.ljust(HEADER, b"\0")
    return bytes(data), True


def _tree(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    layout = layout_of(data)
    for _ in range(random.choice((1, 1, 2))):
        replace_node(layout, random)
    return _rewritten(data, layout), True


def _places(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    layout = layout_of(data)
    columns = list(layout["columns"].values())
    column = random.choice([*columns, *layout["parts"]])
    way = random.randrange(4)
    if way == 0:
        column["offset"] = random.choice((*NUMBERS, random.randrange(len(data))))
    elif way == 1:
        column["shape"][0] = random.choice((*NUMBERS, column["shape"][0] + random.choice((-1, 1))))
    elif way == 2:
        column.update(random.choice(columns))
    else:
        for one in columns:
            one["shape"][0] = max(0, one["shape"][0] + random.choice((-1, 0, 1)))
    for one in columns:
        _sum(data, one)
    return _rewritten(data, layout), True


def _values(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    layout = layout_of(data)
    numbers = [name for name, one in layout["columns"].items() if size_of(one) and not name.endswith("/blob")]
    for _ in range(random.choice((1, 1, 2, 3))):
        column = layout["columns"][random.choice(numbers)]
        kind = np.dtype(column["kind"])
        if kind.kind == "f":
            value = np.array(random.choice((np.nan, np.inf, -np.inf, 1e308, -1.0)), dtype=kind)
        else:
            limits = np.iinfo(kind)
            near = int(values_of(data, column).reshape(-1)[0]) + random.choice((-1, 1))
            allowed = [one for one in (*NUMBERS, near, random.randrange(12)) if limits.min <= one <= limits.max]
            value = np.array(random.choice(allowed), dtype=kind)
        place = column["offset"] + random.randrange(size_of(column) // kind.itemsize) * kind.itemsize
        data[place : place + kind.itemsize] = value.tobytes()
        _sum(data, column)
    return _rewritten(data, layout), True


def _texts(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    layout = layout_of(data)
    name = random.choice([name for name in layout["columns"] if name.endswith("/blob")])
    return _with_text(data, layout, name.removesuffix("/blob"), random, None), True


def _masks(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    layout = layout_of(data)
    if random.random() < 0.3:  # a size that is huge, and masks that fill it
        sides = random.choice(((13_000, 13_000), (60_000, 60_000), (1, 170_000_000), (2**31 - 1, 1)))
        for name, side in zip(("images/height", "images/width"), sides, strict=True):
            column = layout["columns"][name]
            values = values_of(data, column).copy()
            values[:] = side
            data[column["offset"] : column["offset"] + size_of(column)] = values.tobytes()
            _sum(data, column)
        return _with_text(data, layout, "annotations/counts", random, _counts([sides[0] * sides[1]])), True
    return _with_text(data, layout, "annotations/counts", random, random.choice(COUNTS)), True


def _pictures(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    layout = layout_of(data)
    if not layout["parts"]:
        return _bits(data, random, target)
    width, height = random.choice(
        ((60_000, 60_000), (178_956_970, 1), (24, 20), (2**31 - 1, 2**31 - 1), (12_000, 12_000))
    )
    picture = _png(width, height)
    part = layout["parts"][0]
    row = random.randrange(6)
    start = int(values_of(data, layout["columns"]["images/start"])[row])
    length = min(len(picture), part["shape"][0] - start)
    data[part["offset"] + start : part["offset"] + start + length] = picture[:length]
    for name, value in (("images/length", length), ("images/crc32", zlib.crc32(picture[:length]))):
        column = layout["columns"][name]
        values = values_of(data, column).copy()
        values[row] = value
        data[column["offset"] : column["offset"] + size_of(column)] = values.tobytes()
        _sum(data, column)
    return _rewritten(data, layout), True


def _link(data: bytearray, random: Random, target: Path) -> tuple[bytes, bool]:
    os.mkfifo(target / "pipe")
    (target / "sparse").touch()
    os.truncate(target / "sparse", 1 << 40)
    (target / "escape").symlink_to("/etc/passwd")
    (target / "loop").symlink_to(target / "loop")
    (target / "self").symlink_to(target / "store.h5")
    names: tuple[str, ...] = ("/dev/zero", "/dev/stdin", "/proc/self/mem", "/etc/passwd", "/", "", "0.png", "a\0b")
    own = ("pipe", "sparse", "escape", "loop", "self", "absent", ".", "../originals/pictures/0.png", "x" * 300)
    names += tuple(str(target / one) for one in own)
    layout = layout_of(data)
    text = random.choice((*(name.encode() for name in names), b"/\xff", b"/\xed\xa0\x80", b"/" + b"a/" * 5000))
    return _with_text(data, layout, "images/path", random, text), True


_MUTATIONS: tuple[Mutation, ...] = (
    *(_bits, _column_bits, _column_bits, _blocks, _lengths, _head, _tree, _tree, _places, _places),
    *(_values, _values, _values, _texts, _texts, _masks, _masks, _pictures),
)


def _rewritten(data: bytearray, layout: Layout) -> bytes:
    packed = dumped(layout)
    head = {"format": "risctl store", "schema": 1, "bytes": len(data) + len(packed)}
    line = dumped(head | {"layout": [len(data), len(packed), hashlib.sha256(packed).hexdigest()]}) + b"\n"
    return line.ljust(HEADER, b"\0") + bytes(data[HEADER:]) + packed


def dumped(value: Any) -> bytes:
    """Returns JSON, in which a text "RAW:…" stands for itself."""
    text = json.dumps(value)
    for raw in JSON_VALUES:
        if isinstance(raw, str) and raw.startswith("RAW:"):
            text = text.replace(json.dumps(raw), raw[4:])
    return text.encode()


def replace_node(tree: Any, random: Random) -> None:
    """Replaces or renames a random entry of a tree of JSON, more often one near its root."""
    nodes: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        items = list(one.items()) if isinstance(one, dict) else list(enumerate(one)) if isinstance(one, list) else []
        nodes += [(one, key) for key, _ in items]
        waiting += [value for _, value in items]
    holder, key = random.choice([*nodes[:8], random.choice(nodes)] if nodes else [(tree, "x")])
    if isinstance(holder, dict) and random.random() < 0.2:
        del holder[key]
        holder[random.choice(("", "surprise", "refs/id", "\ud800"))] = random.choice(JSON_VALUES)
    else:
        holder[key] = random.choice(JSON_VALUES)


def _sum(data: bytearray, column: Layout) -> None:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        column["crc32"] = zlib.crc32(data[column["offset"] : column["offset"] + size_of(column)])


def _with_text(data: bytearray, layout: Layout, name: str, random: Random, text: bytes | None) -> bytes:
    """Replaces a text, or all with the same one where `text` is given and chance has it; it moves to the end."""
    blob, offsets = layout["columns"][f"{name}/blob"], layout["columns"][f"{name}/offsets"]
    whole, places = values_of(data, blob).tobytes(), values_of(data, offsets).tolist()
    texts = [whole[start:stop] for start, stop in pairwise(places)]
    every = text is not None and random.random() < 0.5
    for row in range(len(texts)) if every else [random.randrange(len(texts))] if texts else []:
        texts[row] = random.choice(TEXTS) if text is None else text
    values = np.cumsum([0, *map(len, texts)])
    for column, packed in ((blob, b"".join(texts)), (offsets, values.astype("<i8").tobytes())):
        column["offset"] = len(data)
        data += packed
        column["crc32"] = zlib.crc32(packed)
    blob["shape"] = [int(values[-1])]
    return _rewritten(data, layout)


def _counts(runs: Sequence[int]) -> bytes:
    """Returns COCO's compressed form of a few runs, below three."""
    out = bytearray()
    for run in runs:
        while True:
            low, run = run & 31, run >> 5
            more = run != 0 or low & 16 != 0
            out.append(48 + (low | 32 if more else low))
            if not more:
                break
    return bytes(out)


def _png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(200))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


# What a file says, and what the store reads.


def check(folder: Path, target: Path) -> str:
    """Reads a mutated store whole, and compares; then whatever else reads stores has to take or refuse it, too."""
    path = target / "store.h5"
    own = (folder / f"{(target / 'original').read_text()}.h5").read_bytes()
    try:
        wanted = content(path.read_bytes() if (target / "resummed").exists() else own)
    except ImpossibleError:
        wanted = None
    refusal = None
    for read in (_read, _stats, _samples, _clips, _verification):
        try:
            with Store(path, image_roots=[folder / "pictures"]) as store:
                found = read(store)
        except RisctlError as error:
            refusal = error
        else:
            if read is _read and (wanted is None or found != wanted):
                return "wrong"
    if refusal is not None:
        raise refusal
    return "right"


def _stats(store: Store) -> None:
    stats_of(store).as_text()
    store_counts(store)
    store.texts("all")


def _samples(store: Store) -> None:
    for row in reversed(store.sentences("all")):
        sample = store.sample(int(row))
        if sample.image.shape[:2] != sample.mask.shape:
            raise ValueError(f"{sample.image.shape} and {sample.mask.shape}")


def _clips(store: Store) -> None:
    if not is_video_store(store):
        return
    clips = ClipStore(store)
    for row in store.refs("all"):
        ref = clips.ref(int(row))
        clips.masks(ref, ref.frames)
        clips.void(ref.frames[0])


def _verification(store: Store) -> None:
    found = verify_store(store)
    found.failures = [one for one in found.failures if "fingerprint" not in one]  # no case makes that valid again
    found.raise_if_failed(store.path)


def _read(store: Store) -> dict[str, Any]:
    images, annotations, sentences = (
        len(store.numbers(f"{table}/id")) for table in ("images", "annotations", "sentences")
    )
    found: dict[str, Any] = {"name": store.name, "split_by": store.split_by, "categories": store.categories}
    found["images"] = [
        (one.image_id, one.file_name, one.height, one.width, _span(store.annotations_of(row)), store.image_bytes(row))
        for row, one in ((row, store.image(row)) for row in range(images))
    ]
    found["annotations"] = [
        (one.annotation_id, one.image, one.category_id, one.box, one.crowd, one.mask["counts"])
        for one in map(store.annotation, range(annotations))
    ]
    found["refs"] = [
        (one.ref_id, one.image, one.split, one.annotations, _span(one.sentences))
        for one in map(store.ref, range(len(store.numbers("refs/id"))))
    ]
    found["sentences"] = [
        (one.sentence_id, one.ref, one.raw, one.sent, one.tokens, one.abilities)
        for one in map(store.sentence, range(sentences))
    ]
    return found


def _span(rows: np.ndarray) -> tuple[int, int] | None:
    """Returns the first row and the one after the last; None of no rows, which may lie anywhere."""
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else None

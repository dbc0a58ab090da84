"""Attacks cached features, of one file and joined of shards: bits, lengths, and hostile values with valid sums.

Where the sums were left as they are, a case must give the original's features; where they were made valid again,
features of possible shapes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from attacks.stores import JSON_VALUES, NUMBERS, dumped, replace_node
from risctl.data.features import schema
from risctl.data.features.joining import join
from risctl.data.features.reader import FeatureCache
from risctl.data.features.schema import Key, Layout
from risctl.data.features.writer import Samples, ShardWriter

SUITE_COUNT = 200
HEADER = 512
SHAPES = ((3, 4, 5), (2,))
FILES = {"one": ("one.features.h5",), "joined": ("joined.features.h5", "joined.1-of-2.features.h5")}


def prepare(folder: Path) -> None:
    """Writes features in one file, and the same in two shards with the file that joins them."""
    _write(folder / "one.features.h5", (1, 1))
    for number in (1, 2):
        _write(folder / "joined.features.h5", (number, 2))
    join(folder / "joined.features.h5", 2)


def _write(path: Path, shard: tuple[int, int]) -> None:
    key = Key(store="abc", images={"name": "Backbone"}, texts={}, code="risctl 1", orientations=1)
    plan = Layout(key=key, recipe="r", store="s.h5", split="train", shard=shard, groups={})
    content = _content()
    samples = {}
    for name, tensors in content.items():
        rows = schema.shard_rows(len(tensors), shard)
        samples[name] = Samples(
            keys=list(tensors)[rows.start : rows.stop],
            shapes=[SHAPES] * len(rows),
            numbers=62,
            first=rows.start,
            total=len(tensors),
        )
    with ShardWriter(schema.shard_path(path, shard), plan, samples) as writer:
        for name, own in samples.items():
            writer.put(name, writer.todo(name), [content[name][one] for one in own.keys])
        writer.finish()


def _content() -> dict[str, dict[str, Sequence[np.ndarray]]]:
    generator = np.random.default_rng(0)

    def tensors() -> list[np.ndarray]:
        return [generator.normal(size=shape).astype(np.float16) for shape in SHAPES]

    return {
        "images": {key: tensors() for key in ("7", "7 mirrored", "9", "12")},
        "texts": {key: tensors() for key in ("the man", "café")},
    }


def mutate(folder: Path, target: Path, random: Random) -> str:
    """Writes mutated features into `target`."""
    for file in folder.glob("*.h5"):
        shutil.copy(file, target)
    kind = random.choice(list(FILES))
    path = target / random.choice(FILES[kind])
    data = bytearray(path.read_bytes())
    way = random.choice(("bits", "bits", "length", "head", "layout", "values", "values"))
    if way == "bits":
        for _ in range(random.choice((1, 2, 30))):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif way == "length":
        place, length = random.randrange(len(data)), random.choice((1, 8, 600))
        data[place : place + length] = random.choice((b"", random.randbytes(2 * length)))
    else:
        data = _resummed(data, way, random)
    path.write_bytes(data)
    (target / "kind").write_text(kind)
    if way in ("head", "layout", "values"):
        (target / "resummed").touch()
    return f"{path.name}: {way}"


def _resummed(data: bytearray, way: str, random: Random) -> bytearray:
    head = json.loads(bytes(data[:HEADER]).split(b"\n", 1)[0])
    at, length, _ = head["layout"]
    layout: dict[str, Any] = json.loads(bytes(data[at : at + length]))
    if way == "head":
        replace_node(head, random)
    elif way == "layout":
        replace_node(layout, random)
    elif tables := [(group, name) for group in layout["groups"].values() for name in group["tables"]]:
        group, name = random.choice(tables)
        table = group["tables"][name]
        size = np.dtype(table["kind"]).itemsize
        count = int(np.prod(table["shape"]))
        limits = np.iinfo(table["kind"])
        allowed = [one for one in (*NUMBERS, 3, 62, 63) if limits.min <= one <= limits.max]
        for _ in range(random.choice((1, 2))):
            place = table["offset"] + random.randrange(count) * size
            data[place : place + size] = np.array(random.choice(allowed), dtype=table["kind"]).tobytes()
        if name in group["sums"]:
            group["sums"][name] = zlib.crc32(data[table["offset"] : table["offset"] + count * size])
    elif layout["shards"]:
        layout["shards"][0][random.randrange(2)] = random.choice((*JSON_VALUES[:10], "joined.features.h5", "../x.h5"))
    if way != "head":
        packed = dumped(layout)
        head["layout"] = [len(data), len(packed), hashlib.sha256(packed).hexdigest()]
        data += packed
        head["bytes"] = len(data)
    if way == "values" and not layout["shards"]:
        own = [layout["groups"][name]["tables"]["crc32"] for name in sorted(layout["groups"])]
        head["sums"] = zlib.crc32(b"".join(data[one["offset"] : one["offset"] + 4 * one["shape"][0]] for one in own))
    data[:HEADER] = (dumped(head)[: HEADER - 1] + b"\n").ljust(HEADER, b"\0")
    return data


def check(folder: Path, target: Path) -> str:
    """Reads all mutated features, and compares."""
    kind = (target / "kind").read_text()
    with FeatureCache(target / FILES[kind][0]) as cache:
        found = {group: {key: cache.sample(group, key) for key in cache.keys(group)} for group in cache.groups}
        for _ in cache.verify():
            pass
    if (target / "resummed").exists():
        sizes = [sum(one.size for one in tensors) for own in found.values() for tensors in own.values()]
        return "right" if max(sizes, default=0) <= 62 else "wrong"
    wanted = _content()
    same = {name: list(own) for name, own in found.items()} == {name: list(own) for name, own in wanted.items()}
    equal = same and all(
        np.array_equal(mine, theirs)
        for group, own in wanted.items()
        for key, tensors in own.items()
        for mine, theirs in zip(found[group][key], tensors, strict=True)
    )
    return "right" if equal else "wrong"

"""Measures what it costs that every value read from a store is compared with its sum.

    python benchmarks/checked_reads.py                          # drawn scenes of 640x480, a minute
    python benchmarks/checked_reads.py --store data/refcoco_unc.h5

Rows are drawn at random, each at most once, and read by the store and by one that compares nothing, in turn, in one
process; the file is in the operating system's cache, so the reader is measured and not the disk. Medians of CPU time,
and of the ratio within each pair of reads, are printed: of a sample (image, mask, text), of a sample without its image,
and of a sentence; and what the first read takes, which sums all rows. Exits with 1 if a sample takes over 5 % more.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.data.datasets.scenes.generate import make_scenes
from risctl.data.random_access import RandomAccessFile
from risctl.data.records import Dataset
from risctl.data.store.columns import TOKENS, Columns
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.vision.images import read_image

GOAL = 1.05
WARM = 20  # reads that do not count
Read = Callable[[Store, int], object]
READS: dict[str, Read] = {
    "sample": lambda store, row: store.sample(row),
    "sample without its image": lambda store, row: store.sample(row, pixels=False),
    "sentence": lambda store, row: store.sentence(row),
}


class _UncheckedColumns(Columns):
    def __init__(self, checked: Columns, file: RandomAccessFile, path: Path) -> None:
        super().__init__(file, path)
        self.layout = checked.layout
        self._edges: dict[str, np.ndarray] = {}

    def _row(self, name: str, row: int) -> bytes:
        edges = self._edges.get(name)
        if edges is None:
            edges = self.numbers(f"{name}/offsets")
            if name == TOKENS:
                edges = edges[self.numbers("sentences/tokens/offsets")]
            self._edges[name] = edges
        start, stop = int(edges[row]), int(edges[row + 1])
        return self.read(self.layout.columns[f"{name}/blob"].offset + start, stop - start)


class _UncheckedStore(Store):
    def _read_layout(self) -> None:
        super()._read_layout()
        self._columns = _UncheckedColumns(self._columns, self._file, self.path)
        self._sound_masks = np.ones(len(self.numbers("annotations/id")), dtype=bool)

    def image_bytes(self, row: int) -> bytes:
        row = self._checked(row, "images")
        part = self._columns.layout.parts[self.numbers("images/part")[row]]
        start, length = int(self.numbers("images/start")[row]), int(self.numbers("images/length")[row])
        return self._columns.read(part.offset + start, length)


def main() -> int:
    """Runs the measurements, prints them and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a store with its pictures; default: drawn scenes")
    parser.add_argument("--scenes", type=int, default=150, help="how many scenes are drawn")
    parser.add_argument("--reads", type=int, default=400, help="pairs of reads of each kind")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.store
        if path is None:
            path = Path(folder) / "scenes.h5"
            write_store(_photographs(make_scenes(count=given.scenes, seed=0, size=(640, 480))), path)
        with Store(path) as store:
            rows = store.sentences("all").tolist()
            store.sample(rows[0])  # loads what the first decoding of an image loads
        print(f"{path}: {len(rows):,} sentences")
        found = {name: _compared(read, path, rows, reads=given.reads) for name, read in READS.items()}
    return 0 if _printed(found) <= GOAL else 1


def _photographs(dataset: Dataset) -> Dataset:
    """Returns the dataset with its images as JPEG files as large as photographs are, which published ones are."""
    noise = np.random.default_rng(0).normal(0, 8, (480, 640, 3))
    images = {}
    for image_id, record in dataset.images.items():
        pixels = np.clip(read_image(record.data or b"") + noise, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        images[image_id] = replace(record, data=buffer.getvalue())
    return replace(dataset, images=images)


def _compared(read: Read, path: Path, rows: list[int], *, reads: int) -> list[tuple[float, float]]:
    """Returns seconds of both readers for random rows, the one and the other going first in turn."""
    drawn = random.Random(0).sample(rows, k=min(len(rows), reads + WARM))
    pairs = []
    with Store(path) as checked, _UncheckedStore(path) as unchecked:
        for number, row in enumerate(drawn):
            first, second = (checked, unchecked) if number % 2 else (unchecked, checked)
            one, other = _seconds(read, first, row), _seconds(read, second, row)
            pairs.append((one, other) if first is checked else (other, one))
    return pairs


def _seconds(read: Read, store: Store, row: int) -> float:
    start = time.process_time_ns()
    read(store, row)
    return (time.process_time_ns() - start) / 1e9


def _printed(found: dict[str, list[tuple[float, float]]]) -> float:
    """Prints a line for each kind of read; returns the ratio for whole samples."""
    ratios = {}
    for name, (first, *further) in found.items():
        pairs = further[WARM - 1 :]
        ratios[name] = statistics.median(mine / other for mine, other in pairs if other)
        mine, other = (statistics.median(seconds) * 1e6 for seconds in zip(*pairs, strict=True))
        print(f"{name + ':':26} {mine:9.1f} us checked, {other:9.1f} us unchecked, ratio {ratios[name]:.3f}", end="")
        print(f"; the first {first[0] * 1e3:.1f} ms and {first[1] * 1e3:.1f} ms")
    return ratios["sample"]


if __name__ == "__main__":
    sys.exit(main())

"""Measures what it costs that every value read from a store is compared with its sum.

    python benchmarks/checked_reads.py                          # drawn scenes of 640x480, a minute
    python benchmarks/checked_reads.py --store data/refcoco_unc.h5

Rows are drawn at random and read by the store and by one that compares nothing, in turn, in one process; the file is in
the operating system's cache, so the reader is measured and not the disk. Medians of CPU time, and of the ratio within
each pair of reads, are printed: of a whole sample (image, mask, text), of a sample without its image, and of the first
read, which takes the sums of all rows. Exits with 1 if a sample takes over 5 % more.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from risctl.data.datasets.scenes.generate import make_scenes
from risctl.data.store.columns import TOKENS, Columns
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store

GOAL = 1.05
Read = Callable[[Store, int], object]
READS: dict[str, Read] = {
    "sample": lambda store, row: store.sample(row),
    "sample without its image": lambda store, row: store.sample(row, pixels=False),
    "sentence": lambda store, row: store.sentence(row),
}


class _UncheckedColumns(Columns):
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
        unchecked = _UncheckedColumns(self._file, self.path)
        unchecked.layout = self._columns.layout
        self._columns = unchecked
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
    parser.add_argument("--scenes", type=int, default=100, help="how many scenes are drawn")
    parser.add_argument("--reads", type=int, default=400, help="pairs of reads of each kind")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.store
        if path is None:
            path = Path(folder) / "scenes.h5"
            write_store(make_scenes(count=given.scenes, seed=0, size=(640, 480)), path)
        with Store(path) as once:
            once.sample(0)  # loads what the first decoding of an image loads
        with Store(path) as checked, _UncheckedStore(path) as unchecked:
            rows = checked.sentences("all").tolist()
            print(f"{path}: {len(rows):,} sentences, {given.reads} pairs of reads each")
            firsts = [_seconds(READS["sample"], store, rows[0]) for store in (checked, unchecked)]
            print(f"first sample: {firsts[0] * 1e3:.1f} ms checked, {firsts[1] * 1e3:.1f} ms unchecked")
            found = {name: _compared(read, checked, unchecked, rows, reads=given.reads) for name, read in READS.items()}
    return 0 if _printed(found) <= GOAL else 1


def _compared(
    read: Read, checked: Store, unchecked: Store, rows: list[int], *, reads: int
) -> list[tuple[float, float]]:
    """Returns seconds of both readers for random rows, the one and the other going first in turn."""
    drawn = random.Random(0).choices(rows, k=reads + 20)
    pairs = []
    for number, row in enumerate(drawn):
        first, second = (checked, unchecked) if number % 2 else (unchecked, checked)
        one, other = _seconds(read, first, row), _seconds(read, second, row)
        pairs.append((one, other) if first is checked else (other, one))
    return pairs[20:]


def _seconds(read: Read, store: Store, row: int) -> float:
    start = time.process_time_ns()
    read(store, row)
    return (time.process_time_ns() - start) / 1e9


def _printed(found: dict[str, list[tuple[float, float]]]) -> float:
    """Prints a line for each kind of read; returns the ratio for whole samples."""
    ratios = {}
    for name, pairs in found.items():
        ratios[name] = statistics.median(mine / other for mine, other in pairs if other)
        mine, other = (statistics.median(one) * 1e6 for one in zip(*pairs, strict=True))
        print(f"{name + ':':26} {mine:9.1f} us checked, {other:9.1f} us unchecked, ratio {ratios[name]:.3f}")
    return ratios["sample"]


if __name__ == "__main__":
    sys.exit(main())

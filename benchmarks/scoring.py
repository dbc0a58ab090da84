"""Measures the cost of scoring: the accumulator against a plain loop over dense masks, and its memory.

    python benchmarks/scoring.py                       # 10,000 samples of 480x640, three runs
    python benchmarks/scoring.py --samples 1000 --runs 1

Predictions and targets are streamed as run-length encodings. The plain loop decodes both and computes each figure on
its own, as evaluation scripts often do; a second loop shares intersection and union among the figures. A run times them
in turn, in seconds of CPU time, so that other work on the machine counts little; all figures must be equal. Exits with
1 if they are not, or if the accumulator is less than 5 times as fast as the plain loop.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from typing import TypeVar

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from risctl.metrics.accumulator import Accumulator
from risctl.metrics.protocols import Protocol, get_protocol, get_protocols
from risctl.vision import rle
from risctl.vision.rle import RLE

HEIGHT, WIDTH = 480, 640
GOAL = 5.0
T = TypeVar("T")
Pair = tuple[RLE, RLE]


def main() -> int:
    """Runs the measurements, prints them and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=500, help="distinct masks, which are repeated in turn")
    given = parser.parse_args()
    pairs = made(given.pairs)
    counts = statistics.mean(len(one["counts"]) for pair in pairs for one in pair)
    print(f"{given.samples:,} samples of {HEIGHT}x{WIDTH}, {counts:.0f} bytes per encoded mask, {given.runs} runs\n")
    reached = [
        compared(get_protocol(name), pairs, samples=given.samples, runs=given.runs) for name in ("original", "lavt")
    ]
    shared(pairs, samples=given.samples, runs=given.runs)
    memory(pairs, samples=given.samples)
    return 0 if min(reached) >= GOAL else 1


def made(count: int) -> list[Pair]:
    """Returns pairs (prediction, target) of blobs with wavy edges, of the sizes of objects in photographs."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)

    def blob(y: float, x: float, high: float, wide: float) -> RLE:
        angle = np.arctan2((rows - y) / high, (columns - x) / wide)
        edge = sum(
            generator.normal(0, 0.06) * np.sin(wave * angle + generator.uniform(0, 2 * np.pi)) for wave in range(2, 9)
        )
        return rle.encode(np.hypot((rows - y) / high, (columns - x) / wide) < 1 + edge)

    pairs = []
    for _ in range(count):
        y, x, high, wide = (generator.uniform(*span) for span in ((60, 420), (80, 560), (15, 150), (15, 180)))
        near = (y + generator.normal(0, 10), x + generator.normal(0, 10))
        pairs.append((blob(*near, high * generator.uniform(0.7, 1.3), wide), blob(y, x, high, wide)))
    return pairs


def streamed(pairs: Sequence[Pair], samples: int) -> Iterator[Pair]:
    """Yields `samples` pairs, repeating the given ones."""
    return islice(cycle(pairs), samples)


def by_accumulator(protocols: Sequence[Protocol], pairs: Sequence[Pair], samples: int) -> Accumulator:
    """Returns an accumulator with all samples added, three sentences per image."""
    accumulator = Accumulator(protocols)
    for key, (found, wanted) in enumerate(streamed(pairs, samples)):
        accumulator.add(found, wanted, key=key, image_id=key // 3)
    return accumulator


def dense(mask: RLE, protocol: Protocol) -> np.ndarray:
    """Returns the mask at the protocol's resolution."""
    packed = {"size": mask["size"], "counts": mask["counts"].encode("ascii")}
    pixels = coco_mask.decode(packed).astype(bool)
    if protocol.resolution == "original":
        return pixels
    height, width = protocol.resolution
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST))


def each_apart(protocol: Protocol, pairs: Sequence[Pair], samples: int) -> dict[str, float]:
    """Returns the figures of the plain loop."""
    intersections, unions = [], []
    ious = []
    reached: dict[str, list[bool]] = {name: [] for name, _ in protocol.precisions}
    for found, wanted in streamed(pairs, samples):
        prediction, target = dense(found, protocol), dense(wanted, protocol)
        intersections.append(np.logical_and(prediction, target).sum())
        unions.append(np.logical_or(prediction, target).sum())
        ious.append(iou(prediction, target))
        for name, bound in protocol.precisions:
            reached[name].append(iou(prediction, target) >= bound)
    figures = {"oIoU": 100 * sum(intersections) / sum(unions), "mIoU": 100 * float(np.mean(ious))}
    return figures | {name: 100 * float(np.mean(hits)) for name, hits in reached.items()}


def iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Returns the IoU of two masks, 0 for two empty ones."""
    union = np.logical_or(prediction, target).sum()
    return float(np.logical_and(prediction, target).sum() / union) if union else 0.0


def together(protocol: Protocol, pairs: Sequence[Pair], samples: int) -> dict[str, float]:
    """Returns the figures of a loop that computes intersection and union once per sample."""
    intersections, unions = [], []
    for found, wanted in streamed(pairs, samples):
        prediction, target = dense(found, protocol), dense(wanted, protocol)
        intersections.append(np.logical_and(prediction, target).sum())
        unions.append(np.logical_or(prediction, target).sum())
    shared, united = np.array(intersections), np.array(unions)
    ious = np.divide(shared, united, out=np.zeros(len(shared)), where=united > 0)
    figures = {"oIoU": 100 * float(shared.sum() / united.sum()), "mIoU": 100 * float(ious.mean())}
    return figures | {name: 100 * float((ious >= bound).mean()) for name, bound in protocol.precisions}


def compared(protocol: Protocol, pairs: Sequence[Pair], *, samples: int, runs: int) -> float:
    """Prints the times of the loops and the accumulator, and returns the median ratio to the plain loop."""
    times: list[tuple[float, float, float]] = []
    for _ in range(runs):
        plain, expected = timed(lambda: each_apart(protocol, pairs, samples))
        once, also = timed(lambda: together(protocol, pairs, samples))
        ours, found = timed(lambda: by_accumulator([protocol], pairs, samples).figures())
        for name, value in expected.items():
            if not np.isclose(found[name], value, rtol=1e-12) or not np.isclose(also[name], value, rtol=1e-12):
                sys.exit(f"{protocol.name}: {name} is {found[name]!r}, the loops say {value!r} and {also[name]!r}")
        times.append((plain, once, ours))
    plain, once, ours = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = [timing[0] / timing[2] for timing in times]
    print(f"{protocol.name} ({protocol.where()}), median seconds")
    print(f"  loop, each figure alone        {plain:8.2f}")
    print(f"  loop, intersection shared      {once:8.2f}")
    print(f"  accumulator                    {ours:8.2f}   {1e6 * ours / samples:.0f} us per sample")
    print(f"  times faster: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) than each apart,")
    print(f"                {statistics.median(t[1] / t[2] for t in times):.1f} than shared; figures equal\n")
    return statistics.median(ratios)


def shared(pairs: Sequence[Pair], *, samples: int, runs: int) -> None:
    """Prints the time that several protocols in one pass save."""
    protocols = get_protocols("original,lavt,cris")
    ratios = []
    for _ in range(runs):
        apart = sum(timed(partial(by_accumulator, [protocol], pairs, samples))[0] for protocol in protocols)
        ratios.append((apart, timed(lambda: by_accumulator(protocols, pairs, samples))[0]))
    apart, one_pass = (statistics.median(column) for column in zip(*ratios, strict=True))
    print("original,lavt,cris, median seconds")
    print(f"  one after the other            {apart:8.2f}")
    print(f"  in one pass                    {one_pass:8.2f}\n")


def memory(pairs: Sequence[Pair], *, samples: int) -> None:
    """Prints the accumulator's memory against the number of samples."""
    print("accumulator's memory, original,lavt,cris")
    for count in (samples // 10, samples):
        tracemalloc.start()
        accumulator = by_accumulator(get_protocols("original,lavt,cris"), pairs, count)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(
            f"  {len(accumulator):>7,} samples: {peak / 1e6:6.2f} MB at most, of which {kept / 1e6:.2f} MB are rows "
            f"({kept / count:.0f} bytes a sample) and {(peak - kept) / 1e6:.2f} MB the sample at hand"
        )


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Returns the CPU seconds and the result of a call."""
    began = time.process_time()
    value = function()
    return time.process_time() - began, value


if __name__ == "__main__":
    sys.exit(main())

"""Measures predictions with the number of threads that risctl chooses against torch's default, while cores are taken.

    python benchmarks/threads.py                # one core is busy
    python benchmarks/threads.py --busy 0       # none is: nothing may be lost

Busy loops take cores; then the shipped model predicts in processes of their own, the one way and the other in turn.
Each prints its number of threads and the median of its seconds an image; the ratio is of the medians of all turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

from risctl.threads import EXPLICIT, free_cores, usable_cores

WAYS = ("chosen", "default")


def main() -> None:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=1, help="how many cores are taken")
    parser.add_argument("--turns", type=int, default=3, help="processes of each way")
    parser.add_argument("--images", type=int, default=10, help="predictions of a process")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(_measured(given.images)))
        return
    loops = [multiprocessing.Process(target=_busy, daemon=True) for _ in range(given.busy)]
    for loop in loops:
        loop.start()
    try:
        time.sleep(0.5)
        print(f"{usable_cores()} cores, {given.busy} busy, {free_cores():.1f} free")
        found: dict[str, list[tuple[int, float]]] = {way: [] for way in WAYS}
        for _ in range(given.turns):
            for way in WAYS:
                found[way].append(_in_a_process(way, given.images))
    finally:
        for loop in loops:
            loop.kill()
            loop.join()
    medians = {way: statistics.median(seconds for _, seconds in found[way]) for way in WAYS}
    for way in WAYS:
        threads = sorted({count for count, _ in found[way]})
        turns = ", ".join(f"{seconds:.3f}" for _, seconds in found[way])
        print(f"{way + ':':9} {medians[way]:.3f} s an image with {' or '.join(map(str, threads))} threads ({turns})")
    print(f"ratio, chosen to default: {medians['chosen'] / medians['default']:.2f}")


def _busy() -> None:
    while True:
        pass


def _in_a_process(way: str, images: int) -> tuple[int, float]:
    """Returns the number of threads, and the median of the seconds an image."""
    environment = {name: value for name, value in os.environ.items() if name not in EXPLICIT}
    if way == "default":
        environment["OMP_NUM_THREADS"] = str(usable_cores())
    command = [sys.executable, __file__, "--measure", "--images", str(images)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    threads, seconds = json.loads(ran.stdout.splitlines()[-1])
    return threads, seconds


def _measured(images: int) -> tuple[int, float]:
    from risctl.threads import watch

    watch()
    import numpy as np
    import torch

    from risctl import Predictor

    predictor = Predictor.load(device="cpu")
    random = np.random.default_rng(0)
    seconds = []
    for _ in range(images + 1):
        image = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        start = time.perf_counter()
        predictor.predict(image, ["the cup on the left"])
        seconds.append(time.perf_counter() - start)
    return torch.get_num_threads(), statistics.median(seconds[1:])


if __name__ == "__main__":
    main()

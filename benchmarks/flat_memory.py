"""Measures the memory of `risctl predict` over many images: flat, or growing with their number.

    python benchmarks/flat_memory.py [--count 100000] [--workers 1] [--format png] [--model clipseg]

Small images, 1,000 a folder, and a model that costs little, so that what the command itself keeps shows: `stand-in`, a
threshold on the red of a pixel, or `clipseg`, CLIPSeg of two layers of width 16 with random weights, from a folder. Its
lines are read as they come: they must be those of the images, in their order. After each tenth of the images, the
resident memory of the process that writes and of the processes that compute is printed, with the images a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from label_sources import StandIn

from risctl.results import Prediction

PHRASE = "the red box"


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--format", default="png")
    parser.add_argument("--model", choices=("stand-in", "clipseg"), default="stand-in")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "images", chosen.count)
        print(json.dumps(measured(root, chosen)), flush=True)


def write_images(root: Path, count: int) -> None:
    """Writes images of 32x24 pixels, sixteen different ones, under distinct names."""
    generator = np.random.default_rng(0)
    kinds = []
    for number in range(16):
        file = root / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(file)
        kinds.append(file.read_bytes())
        file.unlink()
    for number in range(count):
        file = root / name_of(number)
        if number % 1000 == 0:
            file.parent.mkdir()
        file.write_bytes(kinds[number % 16])


def name_of(number: int) -> str:
    """Returns the name of an image, folder and file; the names are in order."""
    return f"{number // 1000:04d}/{number:07d}.jpg"


def with_stand_in(arguments: list[str]) -> None:
    """Runs the command with the stand-in for a model."""
    from risctl.cli import app
    from risctl.cli.predict import opening

    class Named(StandIn):
        """Says what it is."""

        def describe(self) -> str:
            """Returns one line."""
            return "a stand-in"

        def iter_predictions(self, texts: Sequence[str]) -> Iterator[Prediction]:
            """Yields predictions that keep their image, as models of phrases do."""
            for one in super().iter_predictions(texts):
                yield replace(one, image=self._pixels)

    opening.open_any = lambda *given, **named: Named(0.0)
    app.app(arguments)


def measured(root: Path, chosen: argparse.Namespace) -> dict[str, object]:
    """Runs the command and returns what was measured, by the number of images that were done."""
    arguments = [
        *("predict", str(root / "images" / "*" / "*.jpg"), PHRASE, "--out", str(root / "out"), "--workers"),
        *(str(chosen.workers), "--format", chosen.format, "--no-images", "--device", "cpu"),
    ]
    command = [sys.executable, __file__, "stand-in", *arguments]
    if chosen.model == "clipseg":
        from helpers.tiny_prompted import write_prompted

        model = write_prompted(root / "clipseg", "clipseg")
        command = [sys.executable, "-m", "risctl", *arguments, "--model", str(model)]
    began = time.monotonic()
    found: dict[str, object] = {name: getattr(chosen, name) for name in ("model", "workers", "format")}
    step = max(1, chosen.count // 10)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=(root / "stderr").open("w"), text=True) as process:
        assert process.stdout is not None
        first, number = 0.0, -1
        for number, line in enumerate(process.stdout):
            expected = Path(name_of(number)).stem
            if expected not in line:
                raise SystemExit(f"line {number + 1:,}: expected {expected}, got {line!r}")
            first = first or time.monotonic()
            if (number + 1) % step == 0:
                now = memory(process.pid)
                rate = number / max(1e-9, time.monotonic() - first)
                found[f"{number + 1:,}"] = {"MB": now, "images a second": round(rate, 1)}
                print(f"{number + 1:,} images: {now} MB, {rate:.1f} images/s", file=sys.stderr, flush=True)
        found["lines"] = number + 1
    found["exit code"], found["seconds"] = process.returncode, round(time.monotonic() - began)
    return found


def memory(pid: int) -> list[int]:
    """Returns the resident megabytes of a process and of those that it started, without what they share."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [_own(one) for one in (pid, *map(int, children))]


def _own(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) // 1024


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if sys.argv[1:2] == ["stand-in"]:
        with_stand_in(sys.argv[2:])
    else:
        main()

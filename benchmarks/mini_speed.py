"""Measures the speed of the shipped model: first mask from a cold start, further expressions, whole images when warm.

    python benchmarks/mini_speed.py [--model FILE] [--image FILE] [--repeats 7]

A cold start is the whole process `risctl predict`, alternating with `python -c "import torch"`, by torch
and, where it is installed, by ONNX Runtime, with the most memory that each held. The warm figures are of one process of
torch: the model's time for an expression on a new image and for one more expression on the same image, and a 480x640
JPEG end to end (read, encoded, decoded, mask and overlay written). Medians on 2 threads. Where other work shares the
machine, wall-clock seconds say little: --cpu counts CPU time, on one thread.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

PHRASES = ("the man on the left", "the second cup from the right", "a red chair", "the dog", "woman in the middle")
TIMED = ("first mask", "first mask, ONNX Runtime")
Clock = Callable[[], float]


def cpu_clock() -> float:
    """Returns the CPU time of this process and of its finished children."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def seconds(work: Callable[[], object], clock: Clock) -> float:
    """Returns the seconds that `work` takes."""
    start = clock()
    work()
    return clock() - start


def cold(image: Path, model: list[str], *, repeats: int, threads: int, clock: Clock) -> dict[str, float]:
    """Returns the medians of whole processes: `import torch`, and `risctl predict` with each runtime; memory in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "risctl", "predict", str(image), PHRASES[0]]
        predict = [*command, "-q", "--overwrite", "-o", folder, *model]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "first mask": [*predict, "--device", "cpu", "--runtime", "torch"],
        }
        if not model and find_spec("onnxruntime") is not None:
            commands["first mask, ONNX Runtime"] = [*predict, "--runtime", "onnx"]
        times: dict[str, list[float]] = {name: [] for name in commands}
        memory = dict.fromkeys(commands, 0.0)
        for turn in range(repeats + 1):
            for name, command in commands.items():
                start = clock()
                process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
                took = clock() - start
                if status:
                    raise SystemExit(f"{' '.join(command)} failed")
                if turn:  # the first turn fills the file cache
                    times[name].append(took)
                memory[name] = max(memory[name], usage.ru_maxrss / 1024)
    return {name: statistics.median(values) for name, values in times.items()} | {
        f"{name}, MB": most for name, most in memory.items()
    }


def warm(image: Path, model: str | None, *, repeats: int, threads: int, clock: Clock) -> dict[str, float]:
    """Returns the medians within one process that has loaded the model."""
    import torch

    import risctl
    from risctl.core.encoders.base import VisualFeatures
    from risctl.inference.output_files import PredictionFolder
    from risctl.output_files import OutputFiles
    from risctl.vision.images import read_image

    torch.set_num_threads(threads)
    predictor = risctl.load(model, device="cpu", no_target_threshold=0)
    system, pixels = predictor.system, read_image(image)
    times: dict[str, list[float]] = {"first phrase": [], "one more phrase": [], "picture": []}
    prepared, geometry = system.preprocess.image(pixels)
    inputs = prepared[None], geometry.padding()[None]
    texts = [tuple(one[None] for one in system.preprocess.text(phrase)) for phrase in PHRASES]
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:

        def first() -> None:
            more(system.encode_image(*inputs), texts[0])

        def more(visual: VisualFeatures, text: tuple[torch.Tensor, ...]) -> None:
            system.decode(visual, system.encode_text(*text))

        def whole() -> None:
            [prediction] = predictor.predict(image, PHRASES[0])
            files = PredictionFolder(Path(folder), outputs=OutputFiles(overwrite=True))
            files.write(prediction, image=str(image), name=image.stem, model="mini")

        for turn in range(5 * repeats + 2):
            visual = system.encode_image(*inputs)
            measured = {
                "first phrase": seconds(first, clock),
                "one more phrase": seconds(partial(more, visual, texts[turn % len(texts)]), clock),
                "picture": seconds(whole, clock),
            }
            if turn > 1:
                for name, took in measured.items():
                    times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def made_picture(folder: Path) -> Path:
    """Writes a 480x640 JPEG of coloured noise at all scales, which has many detections."""
    from PIL import Image

    generator = np.random.default_rng(0)
    layers = np.zeros((480, 640, 3))
    for cells in (4, 16, 64):
        small = generator.integers(0, 256, (cells * 3, cells * 4, 3), dtype=np.uint8)
        layers += np.asarray(Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC))
    data = io.BytesIO()
    Image.fromarray((layers / 3).astype(np.uint8)).save(data, "JPEG", quality=92)
    path = folder / "picture.jpg"
    path.write_bytes(data.getvalue())
    return path


def main() -> None:
    """Parses the command line, runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint; default: the shipped model")
    parser.add_argument("--image", type=Path, help="an image of 480x640; default: a generated one")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="measure CPU time on one thread instead of wall-clock time")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    kept: dict[str, Any] = {
        "repeats": given.repeats,
        "threads": 1 if given.cpu else 2,
        "clock": cpu_clock if given.cpu else time.perf_counter,
    }
    with tempfile.TemporaryDirectory() as folder:
        image = given.image or made_picture(Path(folder))
        started = cold(image, ["--model", given.model] if given.model else [], **kept)
        ready = warm(image, given.model, **kept)
    figures = {
        **{f"{name} / import torch": started[name] / started["import torch"] for name in started if name in TIMED},
        "one more phrase / first": ready["one more phrase"] / ready["first phrase"],
        "picture, seconds": ready["picture"],
    }
    if given.json:
        print(json.dumps({"seconds": started | ready, "figures": figures}))
        return
    for name, value in (started | ready).items():
        print(f"{name:30s} {value:8.0f}" if name.endswith(", MB") else f"{name:30s} {value * 1000:8.1f} ms")
    goals = {
        "first mask / import torch": 2.0,
        "first mask, ONNX Runtime / import torch": 0.4,
        "one more phrase / first": 0.15,
        "picture, seconds": 0.2,
    }
    for name, value in figures.items():
        print(f"{name:40s} {value:6.3f}  (goal: at most {goals[name]})")


if __name__ == "__main__":
    main()

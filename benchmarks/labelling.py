"""Measures images per second of `predict FOLDER "a" "b" "c"`: one process, several, and the model alone.

    python benchmarks/labelling.py --images FOLDER [--count 60] [--workers 2] [--rounds 3] [--model NAME]

Each round takes the same images three times: one process reads, encodes, answers and writes one image after the other,
with the threads that torch chooses; as `risctl predict --workers`; and with the model alone in as many processes on
images in memory, of which nothing is written. Seconds are of a clock; CPU seconds beside them, of all processes, say
what they would be on quiet cores. Where time goes in one process is told first, in CPU milliseconds an image, and what
images in a batch cost.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import risctl
from risctl.cli.predict.images import predict_images
from risctl.cli.predict.inputs import InputImage
from risctl.cli.predict.skipped import Skipped
from risctl.inference.image_stream import stream
from risctl.inference.output_files import PredictionFolder
from risctl.vision.images import read_image

PHRASES = ("the red cup", "the man on the left", "a chair")


def cpu() -> float:
    """Returns the CPU seconds of this process and of its finished children."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Returns the seconds and the CPU seconds that `work` takes."""
    clock, used = time.monotonic(), cpu()
    work()
    return time.monotonic() - clock, cpu() - used


def one_by_one(predictor: Any, files: Sequence[Path], out: Path) -> None:
    """Predicts one image after the other."""
    folder = PredictionFolder(out)
    for file in files:
        predictor.set_image(file)
        for prediction in predictor.iter_predictions(PHRASES):
            folder.write(prediction, image=str(file), name=file.stem, file_name=str(file), model="mini")


def as_now(predictor: Any, files: Sequence[Path], out: Path, *, workers: int) -> None:
    """Predicts as `risctl predict --workers`."""
    images = [InputImage(shown=str(file), stem=file.stem, source=file) for file in files]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        predict_images(
            predictor,
            images,
            PHRASES,
            folder=PredictionFolder(out),
            formats=None,
            skipped=Skipped(pictures=len(images)),
            as_json=False,
            workers=workers,
        )


class InMemory:
    """The model alone: images are in memory, and nothing is written."""

    def __init__(self, predictor: Any, pixels: Sequence[np.ndarray]) -> None:
        self._predictor, self._pixels = predictor, pixels

    def read(self, item: int) -> Any:
        """Returns an image as the model takes it."""
        return self._predictor.prepare_image(self._pixels[item])

    def encode(self, read: Sequence[Any]) -> list[Any]:
        """Encodes images."""
        return list(self._predictor.encode_images(read))

    def finish(self, item: int, read: Any, encoded: Any) -> int:
        """Answers the phrases."""
        self._predictor.set_encoded(encoded, self._pixels[item])
        return len(list(self._predictor.iter_predictions(PHRASES)))


def parts(predictor: Any, files: Sequence[Path], out: Path) -> dict[str, float]:
    """Returns where the CPU milliseconds of an image go in one process."""
    spent: dict[str, float] = dict.fromkeys(("read", "prepare", "encode", "answer", "write"), 0.0)

    def take(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        spent[name] += time.process_time() - began
        return result

    folder = PredictionFolder(out)
    for file in files:
        pixels = take("read", lambda file=file: read_image(file))
        prepared = take("prepare", lambda pixels=pixels: predictor.prepare_image(pixels))
        [encoded] = take("encode", lambda prepared=prepared: predictor.encode_images([prepared]))
        predictor.set_encoded(encoded, pixels)
        answers = take("answer", lambda: list(predictor.iter_predictions(PHRASES)))
        for one in answers:
            take(
                "write",
                lambda one=one, file=file: folder.write(one, image=str(file), name=file.stem, model="mini"),
            )
    return {name: round(1000 * value / len(files), 1) for name, value in spent.items()}


def batches(predictor: Any, files: Sequence[Path]) -> dict[int, float]:
    """Returns the CPU milliseconds that encoding an image takes in batches of several sizes."""
    prepared = [predictor.prepare_image(read_image(file)) for file in files]
    found = {}
    for size in (1, 2, 4, 8):
        began = time.process_time()
        for start in range(0, len(prepared), size):
            predictor.encode_images(prepared[start : start + size])
        found[size] = round(1000 * (time.process_time() - began) / len(prepared), 1)
    return found


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=None)
    asked = parser.parse_args()
    files = sorted(asked.images.glob("*.jpg"))[: asked.count]
    predictor = risctl.load(asked.model, device="cpu")
    seconds: dict[str, list[tuple[float, float]]] = {"one by one": [], "now": [], "model alone": []}
    pixels = [read_image(file) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        told: dict[str, Any] = {"images": len(files), "size": list(pixels[0].shape[:2])}
        told["threads"] = torch.get_num_threads()
        told["CPU ms an image"] = parts(predictor, files[:16], out / "parts")
        told["CPU ms to encode, by batch"] = batches(predictor, files[:16])
        memory = InMemory(predictor, pixels)
        for number in range(asked.rounds):
            before, after = out / f"before-{number}", out / f"after-{number}"
            work: dict[str, Callable[[], Any]] = {
                "one by one": lambda before=before: one_by_one(predictor, files, before),
                "now": lambda after=after: as_now(predictor, files, after, workers=asked.workers),
                "model alone": lambda: list(stream(memory, range(len(files)), processes=asked.workers)),
            }
            for name, run in work.items():
                seconds[name].append(timed(run))
            same = all(file.read_bytes() == (after / file.name).read_bytes() for file in before.glob("*.mask.png"))
            told["masks are the same"] = told.get("masks are the same", True) and same
    for name, values in seconds.items():
        clock, used = (statistics.median(column) for column in zip(*values, strict=True))
        told[name] = {"images/s": round(len(files) / clock, 2), "CPU ms an image": round(1000 * used / len(files), 1)}
    told["load"] = list(os.getloadavg())
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()

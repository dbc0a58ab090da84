"""A predictor whose answers are known, pictures for it, and what labels them in a folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from risctl.errors import UsageError
from risctl.labelling.output import LabelFolder, Request
from risctl.labelling.run import LocalEngine, label_folder, prepare
from risctl.labelling.sources import images_of
from risctl.labelling.tasks import numbered
from risctl.labelling.worker import Labeller
from risctl.results import Prediction
from risctl.vision import rle

COLOURS = ("red", "green", "blue")
PHRASES = ("red stripe", "green stripe")


class ColourPredictor:
    """Finds the pixels of the colour that a phrase begins with; the score is their share."""

    threshold, no_target_threshold, path, forks = 0.5, 0.2, "colours", True

    def __init__(self) -> None:
        self.batches: list[int] = []

    def prepare_image(self, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def encode_images(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.batches.append(len(images))
        return list(images)

    def set_encoded(self, encoded: np.ndarray, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def warnings(self, text: str) -> list[str]:
        if text.split()[0] not in COLOURS:
            raise UsageError(f"no colour: {text}")
        return []

    def iter_predictions(self, texts: Sequence[str]) -> Iterator[Prediction]:
        for text in texts:
            mask = self._pixels[..., COLOURS.index(text.split()[0])] > 127
            score = float(mask.mean())
            matched = score >= self.no_target_threshold
            mask = mask & matched
            yield Prediction(
                text=text,
                probability=mask.astype(np.float32),
                threshold=0.5,
                score=score,
                box=rle.box(rle.encode(mask)) if mask.any() else None,
                matched=matched,
                image=self._pixels,
            )


def pictures(folder: Path, *, count: int) -> Path:
    """Write pictures of 8x16 pixels with a red stripe of 1 to 16 columns; the fourth of five is damaged."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.zeros((8, 16, 3), dtype=np.uint8)
        pixels[:, : 1 + number % 16, 0] = 255
        path = folder / f"{number:04d}.png"
        if number % 5 == 3:
            path.write_bytes(b"\x89PNG\r\n damaged")
        else:
            Image.fromarray(pixels).save(path)
    return folder


def request_of(source: Path, *, size: int = 3, shard: tuple[int, int] = (1, 1), **changed: Any) -> Request:
    values: dict[str, Any] = {"source": str(source), "split": "all", "phrases": PHRASES, "model": "colours"}
    values |= {"digest": "d" * 64, "threshold": 0.5, "no_target_threshold": 0.2, "min_score": 0.0}
    values |= {"kind": "jsonl", "size": size}
    return Request(**(values | {"shard": shard} | changed))


def label_all(
    source: Path,
    out: Path,
    *,
    request: Request | None = None,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> LabelFolder:
    """Label a source in a folder."""
    folder = LabelFolder(out)
    with folder.locked():
        wanted = request or request_of(source)
        prepare(
            folder,
            wanted,
            lambda: numbered(images_of(str(source)), wanted.phrases),
            resume=resume,
            overwrite=False,
        )
        labeller = Labeller(ColourPredictor(), digest=wanted.digest, min_score=wanted.min_score)
        label_folder(folder, LocalEngine(labeller, forks=True, workers=workers), progress=progress)
    return folder


def in_a_process(work: Callable[[], object]) -> int:
    """Do work in a forked process; return its status, negative for the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(work: Callable[[], object], *, change: int) -> int:
    """Do work in a process that is killed by SIGKILL right before its change of files number `change`, from 0."""

    def watched() -> None:
        left = change

        def watch(event: str, given: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(given[1], str) and any(sign in given[1] for sign in "wa+x")
            if writes or event in ("os.link", "os.rename", "os.remove", "os.mkdir"):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.addaudithook(watch)
        work()

    return in_a_process(watched)

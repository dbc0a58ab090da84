"""Measures what labelling costs beside the model: a large linked store, and cloud storage that is slow and fails.

    python benchmarks/label_sources.py store [--count 200000] [--workers 2]
    python benchmarks/label_sources.py cloud [--count 4000] [--workers 2] [--model-ms 10]

`store` labels small images in one linked store with a stand-in for a model that costs next to nothing, so that the time
is that of listing, reading, passing on and writing. `cloud` labels the same images from the disk and from fsspec's
memory file system, in which every read waits for 20 to 60 ms and one in fifty fails; the stand-in sleeps for
`--model-ms`, as a process does that waits for a GPU. No row may be missing, and none may have an error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.writer import write_store
from risctl.labelling.output import LabelFolder, Request
from risctl.labelling.run import LocalEngine, label_folder, prepare
from risctl.labelling.sources import images_of
from risctl.labelling.tasks import numbered
from risctl.labelling.worker import Labeller
from risctl.results import Prediction
from risctl.vision import rle

SIDE = 16
PHRASES = ("the red thing",)


class StandIn:
    """Answers every phrase with the red pixels, and sleeps for as long as a model on a GPU would take."""

    threshold, no_target_threshold, path, forks = 0.5, 0.0, "stand-in", True

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def prepare_image(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the image."""
        return pixels

    def encode_images(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Sleeps."""
        time.sleep(self._seconds * len(images))
        return list(images)

    def set_encoded(self, encoded: np.ndarray, pixels: np.ndarray) -> None:
        """Keeps the image."""
        self._pixels = pixels

    def warnings(self, text: str) -> list[str]:
        """Takes every phrase."""
        return []

    def iter_predictions(self, texts: Sequence[str]) -> Iterator[Prediction]:
        """Yields the red pixels for each phrase."""
        mask = self._pixels[..., 0] > 127
        for text in texts:
            box = rle.box(rle.encode(mask)) if mask.any() else None
            yield Prediction(text=text, probability=mask.astype(np.float32), threshold=0.5, score=1.0, box=box)


class SlowCloud(MemoryFileSystem):
    """Waits before every read, and fails one in fifty."""

    chance = random.Random(0)

    def _open(self, path: str, mode: str = "rb", **given: Any) -> Any:
        if "r" in mode:
            time.sleep(self.chance.uniform(0.02, 0.06))
            if self.chance.random() < 0.02:
                raise OSError("connection reset")
        return super()._open(path, mode, **given)


def drawn(folder: Path, count: int) -> list[Path]:
    """Writes images of 16x16 pixels with a red stripe, 1,000 a folder."""
    files = []
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"{number:08d}.png"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        pixels[:, : 1 + number % SIDE, 0] = 255
        pixels[0, :4, 1] = np.frombuffer(number.to_bytes(4, "little"), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=1)
        files.append(path)
    return files


def linked_store(files: Sequence[Path], out: Path) -> Path:
    """Writes a linked store of images, each with one object and one phrase."""
    mask = rle.encode(np.eye(SIDE, dtype=bool))
    pictures, annotations, records = {}, {}, []
    for number, path in enumerate(files):
        pictures[number] = ImageRecord(image_id=number, file_name=path.name, height=SIDE, width=SIDE, path=path)
        annotations[number] = Annotation(
            annotation_id=number, image_id=number, category_id=1, box=(0, 0, SIDE, SIDE), mask=mask
        )
        phrase = Expression(sentence_id=number, raw=PHRASES[0], sent=PHRASES[0], tokens=("red",))
        records.append(
            Record(ref_id=number, image_id=number, split="all", annotation_ids=(number,), expressions=(phrase,))
        )
    dataset = Dataset(
        name="many", split_by="none", categories={1: "thing"}, images=pictures, annotations=annotations, records=records
    )
    write_store(dataset, out, link=True)
    return out


def labelled(source: str, out: Path, *, count: int, workers: int, seconds: float) -> dict[str, Any]:
    """Labels a source and returns figures. Raises `SystemExit` if a row is missing or has an error."""
    request = Request(
        source=source,
        split="all",
        phrases=PHRASES,
        model="stand-in",
        digest="0" * 64,
        threshold=0.5,
        no_target_threshold=0.0,
        min_score=0.0,
        kind="parquet",
        size=256,
        shard=(1, 1),
    )
    folder = LabelFolder(out)
    with folder.locked():
        began = time.monotonic()
        prepare(folder, request, lambda: numbered(images_of(source), PHRASES), resume=False, overwrite=False)
        planned = time.monotonic()
        labeller = Labeller(StandIn(seconds), digest=request.digest)
        summary = label_folder(folder, LocalEngine(labeller, forks=True, workers=workers))
        ended = time.monotonic()
    if (summary.rows, summary.failed) != (count, 0):
        raise SystemExit(f"{source}: {summary.rows} rows of {count}, {summary.failed} with an error")
    return {
        "seconds to list": round(planned - began, 1),
        "seconds to label": round(ended - planned, 1),
        "images/s": round(count / (ended - planned), 1),
        "MB of this process at most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("store", "cloud"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model-ms", type=float, default=10.0)
    asked = parser.parse_args()
    count = asked.count or (200_000 if asked.what == "store" else 4_000)
    told: dict[str, Any] = {"images": count, "workers": asked.workers}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = drawn(folder / "images", count)
        if asked.what == "store":
            store = linked_store(files, folder / "many.h5")
            told["store"] = labelled(str(store), folder / "out", count=count, workers=asked.workers, seconds=0)
        else:
            fsspec.register_implementation("memory", SlowCloud, clobber=True)
            system = fsspec.filesystem("memory")
            for path in files:
                system.pipe(f"/cloud/{path.parent.name}/{path.name}", path.read_bytes())
            seconds = asked.model_ms / 1000
            for where, source in (("disk", str(folder / "images")), ("cloud", "memory://cloud")):
                told[where] = labelled(source, folder / where, count=count, workers=asked.workers, seconds=seconds)
            told["cloud/disk"] = round(told["cloud"]["images/s"] / told["disk"]["images/s"], 3)
    told["load"] = list(os.getloadavg())
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()

"""Measures `risctl score` on predictions in a file, against decoding their masks with pycocotools.

    python benchmarks/score_predictions.py                      # 100,000 masks of 480x640, three runs
    python benchmarks/score_predictions.py --masks 5000 --runs 1

A store of as many sentences is made, three of an object and about seven objects an image, and COCO results and JSON
Lines for it, of masks with wavy edges. A run times in turn: decoding every predicted mask with pycocotools, from run
lengths in memory; and the whole scoring (reading, matching, measuring by `original`), all in seconds of CPU time. The
peak of memory beyond the store's own tables is measured for a tenth of the masks and for all. Exits with 1 if the
median ratio of decoding to scoring is below 0.7.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image
from pycocotools import mask as coco_mask
from scoring import HEIGHT, WIDTH, Pair, made

from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.evaluation.scoring.open_source import open_predictions
from risctl.evaluation.scoring.score import score_predictions
from risctl.metrics.protocols import get_protocol
from risctl.vision import rle

GOAL = 0.7
SENTENCES, OBJECTS = 3, 7


def main() -> int:
    """Runs the measurements, prints them and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    pairs = made(500)
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make(folder, pairs, count=given.masks)
        print(f"{given.masks:,} masks of {HEIGHT}x{WIDTH}, {given.runs} runs, CPU time")
        for _ in range(given.runs):
            decoding = timed(lambda: decode(pairs, count=given.masks))
            for file in ("lines.jsonl", "results.json"):
                scoring = timed(partial(score, store, folder / file))
                ratios.setdefault(file, []).append(decoding / scoring)
                print(
                    f"  {file:13} decode {1e6 * decoding / given.masks:6.1f} us a mask, score "
                    f"{1e6 * scoring / given.masks:6.1f} us, ratio {decoding / scoring:.2f}"
                )
        for part in (given.masks // 10, given.masks):
            peak = peak_memory(store, folder / "lines.jsonl", first=part, folder=folder)
            print(f"  peak of memory while scoring {part:,} predictions: {peak / 2**20:.1f} MiB")
    medians = {file: statistics.median(one) for file, one in ratios.items()}
    for file, median in medians.items():
        print(f"{file}: median ratio {median:.2f} (goal {GOAL})")
    return 0 if min(medians.values()) >= GOAL else 1


def make(folder: Path, pairs: list[Pair], *, count: int) -> Path:
    """Writes a store of `count` sentences and two files of predictions for it; returns the store."""
    stream = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(stream, "JPEG")
    images, annotations, records = {}, {}, []
    for sentence in range(0, count, SENTENCES):
        ref = sentence // SENTENCES
        image_id = ref // OBJECTS + 1
        images[image_id] = ImageRecord(
            image_id=image_id, file_name=f"{image_id}.jpg", height=HEIGHT, width=WIDTH, data=stream.getvalue()
        )
        target = pairs[ref % len(pairs)][1]
        annotations[ref] = Annotation(
            annotation_id=ref, image_id=image_id, category_id=1 + ref % 5, box=rle.box(target), mask=target
        )
        texts = [f"sentence {number} of object {ref}" for number in range(sentence, min(sentence + SENTENCES, count))]
        expressions = [
            Expression(sentence_id=sentence + place, raw=text, sent=text, tokens=tuple(text.split()))
            for place, text in enumerate(texts)
        ]
        records.append(
            Record(ref_id=ref, image_id=image_id, split="val", annotation_ids=(ref,), expressions=tuple(expressions))
        )
    dataset = Dataset(
        name="made",
        split_by="",
        categories={number: f"category {number}" for number in range(1, 6)},
        images=images,
        annotations=annotations,
        records=records,
    )
    write_store(dataset, folder / "store.h5")
    predictions = [pairs[sentence // SENTENCES % len(pairs)][0] for sentence in range(count)]
    with (folder / "lines.jsonl").open("w") as file:
        for sentence, mask in enumerate(predictions):
            file.write(json.dumps({"sent_id": sentence, "segmentation": mask}) + "\n")
    with (folder / "results.json").open("w") as file:
        json.dump(
            [
                {"sent_id": sentence, "category_id": 1, "score": 0.9, "segmentation": mask}
                for sentence, mask in enumerate(predictions)
            ],
            file,
        )
    return folder / "store.h5"


def decode(pairs: list[Pair], *, count: int) -> None:
    """Decodes `count` masks with pycocotools."""
    packed = [{"size": one["size"], "counts": one["counts"].encode()} for one, _ in pairs]
    for sentence in range(count):
        coco_mask.decode(packed[sentence // SENTENCES % len(packed)])


def score(store: Path, predictions: Path) -> None:
    """Scores a file of predictions by `original`, without intervals."""
    with Store(store) as opened:
        source = open_predictions(predictions)
        try:
            score_predictions(
                source, opened, split="val", protocols=[get_protocol("original")], missing="skip", resamples=0
            )
        finally:
            source.close()


def timed(work: Callable[[], None]) -> float:
    """Returns the CPU time in seconds that `work` takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def peak_memory(store: Path, predictions: Path, *, first: int, folder: Path) -> int:
    """Returns the peak of Python's memory in bytes while the first so many predictions are scored."""
    part = folder / "part.jsonl"
    with predictions.open("rb") as file:
        part.write_bytes(b"".join(file.readline() for _ in range(first)))
    tracemalloc.start()
    try:
        score(store, part)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    sys.exit(main())

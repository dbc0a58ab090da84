"""How long RefCOCO takes at its published size: reading the files, writing the store, opening it, taking samples.

The files are made up: 19,994 pictures of 640x480 (few distinct ones, repeated), 196,771 polygons, 50,000 refs, 142,210
sentences, in a folder that needs some 4 GB. Run it as `python benchmarks/refcoco_at_size.py FOLDER`.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from risctl.data.datasets.refer import read_refer
from risctl.data.pickles import read_pickle
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.vision.images import decode_stored

IMAGES, ANNOTATIONS, REFS, SENTENCES = 19_994, 196_771, 50_000, 142_210
WORDS = ("left", "right", "man", "woman", "in", "the", "red", "shirt", "front", "of", "second", "from", "top", "bowl")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took, and the most memory the process has held so far."""
    start = time.perf_counter()
    yield
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {time.perf_counter() - start:.2f} s, peak memory {memory:,.0f} MB", flush=True)


def make(root: Path, *, scale: float) -> None:
    """Write the made-up files under `root`."""
    numbers = random.Random(0)
    images, annotations, refs = int(IMAGES * scale), int(ANNOTATIONS * scale), int(REFS * scale)
    pictures = root / "images" / "train2014"
    pictures.mkdir(parents=True, exist_ok=True)
    (root / "refcoco").mkdir(exist_ok=True)
    distinct = [_picture(seed) for seed in range(20)]
    names = [f"COCO_train2014_{one:012d}.jpg" for one in range(images)]
    for one, name in enumerate(names):
        (pictures / name).write_bytes(distinct[one % len(distinct)])
    entries = []
    for one in range(annotations):
        x, y = numbers.uniform(100, 540), numbers.uniform(100, 380)
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        radii = np.random.default_rng(one).uniform(20, 90, 40)
        points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1).round(2)
        box = [x - 90, y - 90, 180, 180]
        entry = {"id": one, "image_id": one % images, "category_id": 1, "iscrowd": 0, "bbox": box}
        entries.append(entry | {"segmentation": [points.ravel().tolist()]})
    content = {
        "images": [{"id": one, "file_name": name, "height": 480, "width": 640} for one, name in enumerate(names)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": entries,
    }
    (root / "refcoco" / "instances.json").write_text(json.dumps(content))
    per_ref = SENTENCES / REFS
    published, sentence_id = [], 0
    for one in range(refs):
        sentences = []
        for _ in range(int(per_ref * (one + 1)) - int(per_ref * one)):
            text = " ".join(numbers.choices(WORDS, k=numbers.randint(1, 6)))
            sentences.append({"sent_id": sentence_id, "raw": text, "sent": text, "tokens": text.split()})
            sentence_id += 1
        published.append(
            {
                "ref_id": one,
                "ann_id": one,
                "category_id": 1,
                "image_id": one % images,
                "file_name": names[one % images],
                "split": "train" if one % 10 else "val",
                "sent_ids": [sentence["sent_id"] for sentence in sentences],
                "sentences": sentences,
            }
        )
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(published, protocol=2))


def _picture(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1.2)).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def main(root: Path, scale: float) -> None:
    """Measure each step."""
    with timed("make the files"):
        make(root, scale=scale)
    with timed("read the pickle"):
        refs = read_pickle(root / "refcoco" / "refs(unc).p")
    del refs
    with timed("read the set"):
        dataset = read_refer(root, name="refcoco")
    with timed("write the store"):
        info = write_store(dataset, root / "store.h5")
    with timed("write the store with --link"):
        linked = write_store(dataset, root / "linked.h5", link=True)
    print(f"{info.bytes / 1e6:,.0f} MB, linked {linked.bytes / 1e6:,.0f} MB; counts {info.counts}")
    del dataset
    measure_reading(root / "store.h5")


def measure_reading(path: Path) -> None:
    """Print the times of opening and of single accesses, in milliseconds."""
    opening = [_spent(lambda: Store(path).close()) for _ in range(5)]
    print(f"open: {1000 * min(opening):.1f} ms")
    with Store(path) as store:
        print(f"first sample: {1000 * _spent(lambda: store.sample(0)):.1f} ms")
        rows = random.Random(1).sample(range(len(store.sentences("all"))), 500)
        images = [store.sentence(row).image for row in rows]
        files = [store.image_bytes(image) for image in images]
        decode = _spent(lambda: [decode_stored(file) for file in files])
        access = _spent(lambda: [store.image_bytes(image) for image in images])
        text = _spent(lambda: [store.sentence(row) for row in rows])
        mask = _spent(lambda: [store.mask(store.sentence(row).ref) for row in rows])
        sample = _spent(lambda: [store.sample(row) for row in rows])
        everything = _spent(lambda: store.texts("all"))
    each = {"decode alone": decode, "image bytes": access, "sentence": text, "mask": mask, "sample": sample}
    print(", ".join(f"{what} {1000 * seconds / len(rows):.3f} ms" for what, seconds in each.items()))
    print(f"all texts: {1000 * everything:.0f} ms")


def _spent(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)

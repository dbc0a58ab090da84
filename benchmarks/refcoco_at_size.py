"""Measures RefCOCO at its published size: reading the files, writing the store, opening it and sampling from it.

    python benchmarks/refcoco_at_size.py FOLDER                     # everything: about 4 GB, some minutes
    python benchmarks/refcoco_at_size.py FOLDER --pictures 0.02     # all annotations, about few images

The files are synthetic: 19,994 images of 640x480 (few distinct ones, repeated), 196,771 polygons, 50,000 refs, 142,210
sentences. The store is compared, in the same run, with a version of the public reader (refer.py): `json.load` and
`pickle.load`, its index by ids, and polygons decoded by pycocotools for a mask. Seconds are of CPU time, so that other
work on the machine counts little; accesses are medians over random rows.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from pycocotools import mask as coco_mask

from risctl.data.datasets.refer.reader import read_refer
from risctl.data.pickles import read_pickle
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.vision import rle
from risctl.vision.images import decode_stored

IMAGES, ANNOTATIONS, REFS, SENTENCES = 19_994, 196_771, 50_000, 142_210
WORDS = ("left", "right", "man", "woman", "in", "the", "red", "shirt", "front", "of", "second", "from", "top", "bowl")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Prints the duration of the block and the process's peak memory so far."""
    start = time.process_time()
    yield
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {time.process_time() - start:.2f} s, peak memory {memory:,.0f} MB", flush=True)


def make(root: Path, *, scale: float, pictures_kept: float) -> None:
    """Writes the synthetic files under `root`."""
    numbers = random.Random(0)
    images, annotations, refs = int(IMAGES * scale * pictures_kept), int(ANNOTATIONS * scale), int(REFS * scale)
    pictures = root / "images" / "train2014"
    pictures.mkdir(parents=True, exist_ok=True)
    (root / "refcoco").mkdir(exist_ok=True)
    distinct = [_picture(seed) for seed in range(20)]
    names = [f"COCO_train2014_{index:012d}.jpg" for index in range(images)]
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


def main() -> None:
    """Measures each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files are written and kept")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of everything")
    parser.add_argument("--pictures", type=float, default=1.0, help="fraction of the images only")
    given = parser.parse_args()
    root = given.folder
    with timed("make the files"):
        make(root, scale=given.scale, pictures_kept=given.pictures)
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
    pictures = sum(path.stat().st_size for path in (root / "images" / "train2014").iterdir())
    source = sum((root / "refcoco" / name).stat().st_size for name in ("instances.json", "refs(unc).p"))
    print(
        f"source {(pictures + source) / 1e6:,.0f} MB, {source / 1e6:,.0f} MB without pictures: the store is "
        f"{info.bytes / (pictures + source):.3f} of it, a linked one {linked.bytes / source:.3f} of what is no picture"
    )
    measure_reading(root / "store.h5")
    compare(root)


def measure_reading(path: Path) -> None:
    """Prints the times of opening and of single accesses, in milliseconds."""
    with Store(path) as store:
        print(f"first sample: {1000 * _spent(lambda: store.sample(0)):.1f} ms")
        rows = random.Random(1).sample(range(len(store.sentences("all"))), 300)
        images = [store.sentence(row).image for row in rows]
        files = [store.image_bytes(image) for image in images]
        each = {
            "decode alone": _each(decode_stored, files),
            "image bytes": _each(store.image_bytes, images),
            "sentence": _each(store.sentence, rows),
            "sample": _each(store.sample, rows),
        }
        everything = _spent(lambda: store.texts("all"))
    print(", ".join(f"{what} {1000 * seconds:.3f} ms" for what, seconds in each.items()))
    print(f"all texts: {1000 * everything:.0f} ms")


class Public:
    """The public reader of these files: what its constructor loads and indexes, and its decoding of masks."""

    def __init__(self, folder: Path) -> None:
        with (folder / "refs(unc).p").open("rb") as file:
            refs = pickle.load(file)  # noqa: S301 - as the public reader does; the file is written above
        instances = json.loads((folder / "instances.json").read_text())
        self.annotations = {instance["id"]: instance for instance in instances["annotations"]}
        self.images = {instance["id"]: instance for instance in instances["images"]}
        self.categories = {instance["id"]: instance["name"] for instance in instances["categories"]}
        self.of_image: dict[int, list[dict[str, Any]]] = {}
        for instance in instances["annotations"]:
            self.of_image.setdefault(instance["image_id"], []).append(instance)
        self.refs: dict[int, dict[str, Any]] = {}
        self.refs_of_image: dict[int, list[dict[str, Any]]] = {}
        self.refs_of_category: dict[int, list[dict[str, Any]]] = {}
        self.sentences: dict[int, dict[str, Any]] = {}
        self.ref_of_sentence: dict[int, dict[str, Any]] = {}
        self.tokens: dict[int, list[str]] = {}
        for ref in refs:
            self.refs[ref["ref_id"]] = ref
            self.refs_of_image.setdefault(ref["image_id"], []).append(ref)
            self.refs_of_category.setdefault(ref["category_id"], []).append(ref)
            for sentence in ref["sentences"]:
                self.sentences[sentence["sent_id"]] = sentence
                self.ref_of_sentence[sentence["sent_id"]] = ref
                self.tokens[sentence["sent_id"]] = sentence["tokens"]

    def mask(self, ref_id: int) -> np.ndarray:
        """Returns the mask (H, W) of a ref, as its `getMask` does, without the area."""
        ref = self.refs[ref_id]
        image, annotation = self.images[ref["image_id"]], self.annotations[ref["ann_id"]]
        runs = coco_mask.frPyObjects(annotation["segmentation"], image["height"], image["width"])
        return np.sum(coco_mask.decode(runs), axis=2).astype(np.uint8)


def compare(root: Path) -> None:
    """Prints the times of opening and of random accesses of our reader and the public one, alternating."""
    ours = [_spent(lambda: Store(root / "store.h5").close()) for _ in range(5)]
    with Store(root / "store.h5") as store:
        first = _spent(lambda: (store.refs("all"), store.mask(0)))
        public = Public(root / "refcoco")
        theirs = _spent(lambda: Public(root / "refcoco"))
        print(
            f"open: {1000 * min(ours):.1f} ms, with the tables of a first mask {1000 * (min(ours) + first):.0f} ms; "
            f"json.load, pickle.load and index {1000 * theirs:,.0f} ms"
        )
        rows = random.Random(2).sample(range(len(store.numbers("refs/id"))), 300)
        ids = [store.ref(row).ref_id for row in rows]
        folder = root / "images" / "train2014"
        kinds: dict[str, tuple[Any, Any, list[Any], list[Any]]] = {
            "random mask": (lambda row: rle.decode(store.mask(row)), public.mask, rows, ids),
            "random mask and picture": (
                lambda row: (rle.decode(store.mask(row)), store.pixels(store.ref(row).image)),
                lambda one: (
                    public.mask(one),
                    np.asarray(Image.open(folder / public.images[public.refs[one]["image_id"]]["file_name"])),
                ),
                rows,
                ids,
            ),
        }
        for name, (mine, other, own_rows, their_ids) in kinds.items():
            own, public_own = _each(mine, own_rows), _each(other, their_ids)
            print(f"{name}: {1000 * own:.3f} ms, public {1000 * public_own:.3f} ms: {public_own / own:.1f} times")


def _each(work: Callable[[Any], object], rows: Sequence[Any]) -> float:
    """Returns the median seconds of `work` per row, in a second pass."""
    for row in rows[:50]:
        work(row)
    return float(np.median([_spent(lambda one=row: work(one)) for row in rows]))  # type: ignore[misc]


def _spent(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()

"""Measures how training items are planned and loaded, at the size of RefCOCO, RefCOCO+ and RefCOCOg together.

    python benchmarks/loading.py plan                      # an epoch of 321,327 sentences: limit 2 s
    python benchmarks/loading.py load FOLDER_OF_JPEGS      # images a second: at least 0.8 of decoding and resizing

Planning is measured on three synthetic stores with the published numbers of images, refs and sentences: from stores
that were just opened to the first batch of keys, with the images that another set evaluates on left out, which costs
more than keeping them, and with them kept. Loading is measured with ReferFormer's pretraining augmentation on a store
of the given photos: crops, masks, texts, flips and batches included. It is compared, in the same run and at the same
sizes, with torchvision's plain decoding and resizing: with Pillow, its default, which the published training uses, and
with its compiled operators. Rounds alternate, on one thread; without workers times are of the CPU.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from risctl.data.loading.loader import EpochSampler, batches, make_loader
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.registry import build_system
from risctl.training.datasets import training_dataset
from risctl.vision import rle
from risctl.vision.images import image_size

SETS = {
    "refcoco_unc": (16_994, 42_404, 120_624),
    "refcoco+_unc": (16_992, 42_278, 120_191),
    "refcocog_umd": (21_899, 42_226, 80_512),
}
"""Published images, refs and sentences of the train splits."""
WORDS = ("left", "right", "man", "woman", "in", "the", "red", "shirt", "front", "of", "second", "from", "top", "bowl")
PLAN_SECONDS, LOAD_SHARE = 2.0, 0.8
SMALL = [
    "model.hidden=32", "model.heads=4", "model.encoder_layers=1", "model.decoder_layers=1", "model.feed_forward=32",
    "model.mask_channels=16", "model.visual.name=small_cnn", "model.visual.weights=null", "model.text.tokens=null",
    "model.text.weights=null", "model.text.layers=1", "model.text.width=16", "model.text.heads=2",
    "model.text.feed_forward=16", "data.workers=0",
]  # fmt: skip


def text_of(numbers: random.Random) -> str:
    """Returns an expression of one to seven words."""
    return " ".join(numbers.choices(WORDS, k=numbers.randint(1, 7)))


def write_set(folder: Path, name: str, *, first: int) -> Path:
    """Writes a store with the published numbers of a set's train split, and 1,500 images each for val and test."""
    numbers = random.Random(name)
    images, refs, sentences = SETS[name]
    mask = rle.encode(np.ones((4, 6), dtype=bool))
    pixel = _encoded(np.zeros((4, 6, 3), dtype=np.uint8))
    dataset = Dataset(name=name, split_by="unc", categories={1: "thing"}, images={}, annotations={}, records=[])
    assert isinstance(dataset.images, dict) and isinstance(dataset.annotations, dict)
    for image in range(images + 3000):
        # The sets share most of their images and divide them differently.
        file = f"COCO_train2014_{first + image:012d}.jpg"
        dataset.images[image] = ImageRecord(image_id=image, file_name=file, height=4, width=6, data=pixel)
    number = 0
    for ref in range(refs + 3000):
        train = ref < refs
        image = ref % images if train else images + ref - refs
        split = "train" if train else ("val" if ref % 2 else "test")
        dataset.annotations[ref] = Annotation(
            annotation_id=ref, image_id=image, category_id=1, box=(0, 0, 6, 4), mask=mask
        )
        count = sentences * (ref + 1) // refs - sentences * ref // refs if train else 2
        expressions = []
        for _ in range(count):
            text = text_of(numbers)
            expressions.append(Expression(sentence_id=number, raw=text, sent=text, tokens=tuple(text.split())))
            number += 1
        dataset.records.append(
            Record(ref_id=ref, image_id=image, split=split, annotation_ids=(ref,), expressions=tuple(expressions))
        )
    write_store(dataset, folder / f"{name}.h5")
    return folder / f"{name}.h5"


def _encoded(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def plan(folder: Path, *, rounds: int) -> float:
    """Prints and returns the seconds from opened stores to the first batch of an epoch, the median of `rounds`."""
    paths = [write_set(folder, name, first=1000 * place) for place, name in enumerate(SETS)]
    seconds = []
    for kept in ("left_out", "kept") * rounds:
        recipe = load_recipe("referformer-pretrain", [*SMALL, f"data.evaluation_images={kept}"])
        system = build_system(recipe.model, vocabulary=Vocabulary(list(WORDS)))
        stores = [Store(path) for path in paths]
        start = time.perf_counter()
        dataset = training_dataset(recipe, stores[0], system, also=stores[1:])
        sampler = EpochSampler(len(dataset), recipe.data.batch_size, seed=0, accumulate=recipe.optim.accumulate)
        first = next(iter(sampler))
        took = time.perf_counter() - start
        seconds.append(took)
        print(f"planned {len(dataset):,} items ({kept}) in {took:.2f} s, the first batch {first}", flush=True)
        for store in stores:
            store.close()
    slowest = max(seconds)
    print(f"slowest {slowest:.2f} s, median {statistics.median(seconds):.2f} s; limit {PLAN_SECONDS} s")
    return slowest


def photo_store(folder: Path, photos: list[Path]) -> Path:
    """Writes a store of photos, each with one ref and one sentence about a box that covers a third of it."""
    numbers = random.Random(0)
    dataset = Dataset(name="photos", split_by="fixed", categories={1: "thing"}, images={}, annotations={}, records=[])
    assert isinstance(dataset.images, dict) and isinstance(dataset.annotations, dict)
    for number, photo in enumerate(photos):
        height, width = image_size(photo)
        mask = np.zeros((height, width), dtype=bool)
        mask[height // 4 : 3 * height // 4, width // 6 : 5 * width // 6] = True
        encoded = rle.encode(mask)
        text = text_of(numbers)
        dataset.images[number] = ImageRecord(
            image_id=number, file_name=photo.name, height=height, width=width, path=photo
        )
        dataset.annotations[number] = Annotation(
            annotation_id=number, image_id=number, category_id=1, box=rle.box(encoded), mask=encoded
        )
        expression = Expression(sentence_id=number, raw=text, sent=text, tokens=tuple(text.split()))
        dataset.records.append(
            Record(ref_id=number, image_id=number, split="train", annotation_ids=(number,), expressions=(expression,))
        )
    write_store(dataset, folder / "photos.h5")
    return folder / "photos.h5"


def load(folder: Path, photos: list[Path], *, rounds: int, workers: int) -> float:
    """Prints and returns the loader's images a second as a share of torchvision's, the median of `rounds` pairs."""
    from torchvision.datasets.folder import default_loader
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional

    recipe = load_recipe("referformer-pretrain", [*SMALL, f"data.store={photo_store(folder, photos)}", "data.also=[]"])
    system = build_system(recipe.model, vocabulary=Vocabulary(list(WORDS)))
    store = Store(folder / "photos.h5")
    dataset: Any = training_dataset(recipe, store, system)
    files = [torch.frombuffer(bytearray(photo.read_bytes()), dtype=torch.uint8) for photo in photos]
    sampler = EpochSampler(len(dataset), recipe.data.batch_size, seed=0)
    loader = make_loader(dataset, sampler, workers=workers)
    sizes: list[tuple[int, int]] = []

    def ours(epoch: int) -> int:
        sampler.set_epoch(epoch)
        sizes.clear()
        for batch in batches(loader):
            sizes.extend((one.input_height, one.input_width) for one in batch.geometries)  # type: ignore[attr-defined]
        return len(sizes)

    def compiled(_: int) -> int:
        for place, (height, width) in enumerate(sizes):
            image = decode_jpeg(files[place % len(files)], mode=ImageReadMode.RGB)
            functional.resize(image, [height, width], antialias=True)
        return len(sizes)

    def pillow(_: int) -> int:
        for place, (height, width) in enumerate(sizes):
            image = default_loader(str(photos[place % len(photos)]))
            functional.to_image(functional.resize(image, [height, width]))
        return len(sizes)

    def rate(run: Callable[[int], int], epoch: int) -> float:
        clock = time.process_time if workers == 0 else time.perf_counter
        start = clock()
        return run(epoch) / (clock() - start)

    for run in (ours, pillow, compiled):
        rate(run, 0)
    shares, of_compiled = [], []
    for epoch in range(1, rounds + 1):
        own, plain, fast = rate(ours, epoch), rate(pillow, epoch), rate(compiled, epoch)
        shares.append(own / plain)
        of_compiled.append(own / fast)
        print(
            f"loader {own:.1f} images/s; torchvision with Pillow {plain:.1f}: {own / plain:.2f}, compiled {fast:.1f}: "
            f"{own / fast:.2f}",
            flush=True,
        )
    share = statistics.median(shares)
    print(
        f"median {share:.2f} of torchvision's decoding and resizing with Pillow, {statistics.median(of_compiled):.2f} "
        f"of its compiled operators; limit {LOAD_SHARE} of the first; {workers or 'no'} workers"
    )
    return share


def main() -> None:
    """Runs one of the two measurements; exits with 1 where its limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("plan", "load"))
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of JPEG files, for load")
    parser.add_argument("--count", type=int, default=200, help="photos that are read")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="loader processes; 0 compares one thread with one")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if chosen.what == "plan":
            met = plan(Path(folder), rounds=chosen.rounds) <= PLAN_SECONDS
        else:
            if chosen.photos is None:
                parser.error("load needs a folder of JPEG files")
            photos = sorted(chosen.photos.rglob("*.jpg"))[: chosen.count]
            met = load(Path(folder), photos, rounds=chosen.rounds, workers=chosen.workers) >= LOAD_SHARE
    if not met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

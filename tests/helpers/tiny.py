"""A system of a few thousand parameters and a store of a few images, for tests of the engine."""

from __future__ import annotations

import io
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.base import Output, System
from risctl.training.run import resume, train
from risctl.vision import rle

# Processes of this context start from one that has imported torch already.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["risctl.training.run"])

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}


class TinySystem(System):
    """Two strided convolutions, a gated product with the mean word, one convolution to the mask."""

    def __init__(self, *, vocabulary: Vocabulary, size: int, max_words: int, norm: bool, dropout: float) -> None:
        super().__init__()
        self.preprocess = LetterboxPreprocess(
            size=size, fill=0.5, target_size=size // 2, max_words=max_words, vocabulary=vocabulary
        )
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.embedding = nn.Embedding(len(vocabulary), 8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        return VisualFeatures(maps=(self.backbone(images),), strides=(2,), padding=padding)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        vectors = self.embedding(words) * word_mask[..., None]
        return TextFeatures(words=vectors, mask=word_mask, sentence=vectors.sum(1) / word_mask.sum(1, keepdim=True))

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        joined = self.dropout(visual.maps[0]) * (1 + text.sentence[:, :, None, None])
        return Output(logits=self.head(functional.relu(joined))[:, 0])

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        assert batch.targets is not None
        entropy = functional.binary_cross_entropy_with_logits(output.logits, batch.targets)
        return {"mask": entropy, "penalty": 1e-4 * self.head.weight.square().sum()}


def build_tiny(
    model: Any, *, vocabulary: Vocabulary, vectors: np.ndarray | None = None, pretrained: bool = True
) -> TinySystem:
    """Build it from VLT's section: `dropout` 0 also leaves the norm out, so that every sample stands for itself."""
    return TinySystem(
        vocabulary=vocabulary,
        size=model.input_size,
        max_words=model.max_words,
        norm=model.dropout > 0,
        dropout=model.dropout,
    )


def tiny_recipe(store: Path, **sections: dict[str, Any]) -> Recipe:
    """Return a recipe for `build_tiny`; each section's keys replace or join the defaults here."""
    defaults: dict[str, dict[str, Any]] = {
        "model": {"system": "vlt", "input_size": 64, "max_words": 6, "dropout": 0.1},
        "data": {"store": str(store), "batch_size": 4, "workers": 0},
        "optim": {"name": "adam", "lr": 0.01},
        "train": {"epochs": 2, "log_every": 1},
        "eval": {},
    }
    merged = {name: {**values, **sections.get(name, {})} for name, values in defaults.items()}
    return parse_recipe({"name": "tiny", **merged}, source="tiny")


def tiny_dataset(*, images: int = 12, validation: int = 2) -> Dataset:
    """Return images with a left and a right box of two colours each; a ref a box, two sentences a ref."""
    generator = np.random.default_rng(7)
    dataset = Dataset(name="tiny", split_by="fixed", categories={1: "box"}, images={}, annotations={}, records=[])
    for image in range(images):
        height, width = int(generator.integers(40, 60)), int(generator.integers(60, 90))
        pixels = np.full((height, width, 3), 90, dtype=np.uint8)
        for side, name in enumerate(generator.choice(list(COLOURS), size=2, replace=False)):
            number = 2 * image + side
            left = 4 + side * width // 2
            mask = np.zeros((height, width), dtype=bool)
            mask[10 : height - 10, left : left + width // 3] = True
            pixels[mask] = COLOURS[str(name)]
            encoded = rle.encode(mask)
            dataset.annotations[number] = Annotation(
                annotation_id=number, image_id=image, category_id=1, box=rle.box(encoded), mask=encoded
            )
            texts = (f"{name} box", f"{'right' if side else 'left'} {name} one")
            expressions = tuple(
                Expression(sentence_id=2 * number + turn, raw=text.capitalize(), sent=text, tokens=tuple(text.split()))
                for turn, text in enumerate(texts)
            )
            split = "val" if image >= images - validation else "train"
            dataset.records.append(
                Record(ref_id=number, image_id=image, split=split, annotation_ids=(number,), expressions=expressions)
            )
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        dataset.images[image] = ImageRecord(
            image_id=image, file_name=f"{image}.png", height=height, width=width, data=file.getvalue()
        )
    return dataset


def tiny_store(folder: Path, **numbers: int) -> Path:
    """Write `tiny_dataset` into `folder` and return the store's path."""
    path = folder / "tiny.h5"
    write_store(tiny_dataset(**numbers), path)
    return path


def damaged(store: Path, rows: tuple[int, ...]) -> Path:
    """Flip a bit in the middle of some images of a store."""
    with Store(store) as opened:
        parts = [opened.image_bytes(row) for row in rows]
    data = bytearray(store.read_bytes())
    for part in parts:
        data[data.index(part) + len(part) // 2] ^= 1
    store.write_bytes(data)
    return store


def weights_of(path: Path) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint."""
    return load_file(path)


def assert_same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Fail unless both have the same names and, bit for bit, the same values."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def train_tiny(values: dict[str, Any], run: Path, *, resumed: bool = False, **environment: str) -> None:
    """Train or go on, in a process of its own; `values` are a recipe's as plain values."""
    os.environ.update(environment)
    # A process of a fork server would start its loader workers by another fork server, which imports torch anew.
    multiprocessing.set_start_method("fork", force=True)
    recipe = parse_recipe(values, source="tiny")
    if resumed:
        resume(run, recipe=recipe, device="cpu", build=build_tiny)
    else:
        train(recipe, out=run, device="cpu", build=build_tiny)

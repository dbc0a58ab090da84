"""A system whose answers are known, it finds pixels of a named colour, and a small store of coloured stripes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.writer import write_store
from risctl.errors import UsageError
from risctl.systems.base import Output, System
from risctl.vision import rle
from risctl.vision.resize import Letterbox

COLOURS = ("red", "green", "blue")
SIDE = 32


class Plain:
    """Images as they are (all are squares of one size), the first known colour of a text as its only word."""

    def image(self, image: np.ndarray) -> tuple[Tensor, Letterbox]:
        pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        return pixels, Letterbox.fit(height=image.shape[0], width=image.shape[1], size=SIDE)

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        if not text.split():
            raise UsageError("the text has no word")
        return torch.tensor([COLOURS.index(text.split()[0])]), torch.tensor([True])

    def target(self, mask: np.ndarray, geometry: Letterbox) -> Tensor:
        return torch.from_numpy(mask).float()


class ColourFinder(System):
    """Finds the pixels that have the colour asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Plain()
        self.images = 0
        self.largest_batch = 0
        self.drop = torch.nn.Dropout(0.5)

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        assert images.shape == (1, 3, SIDE, SIDE)
        assert padding.shape == (1, SIDE, SIDE)
        self.images += 1
        return VisualFeatures(maps=(self.drop(images),), strides=(1,), padding=padding)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        return TextFeatures(words=words[..., None].float(), mask=word_mask, sentence=words[:, 0])

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        self.largest_batch = max(self.largest_batch, len(text.sentence))
        rows = torch.arange(len(text.sentence))
        return Output(logits=20 * (visual.maps[0][rows, text.sentence] - 0.5))

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError


def stripe(first: int, last: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, first:last] = True
    return mask


def png(*masks: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.stack(masks, axis=-1).astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def made_store(folder: Path, *, images: int = 6, name: str = "toy") -> Path:
    """In each image a red stripe of 8 columns, whose annotation has 8 + k, and a green one, which is right.

    The two sentences about red have an IoU of 8 / (8 + k), those about green of 1; odd images also have a ref without
    a target, "blue": image 1 shows no blue, the others do.
    """
    records, pictures, annotations = [], {}, {}
    for k in range(images):
        blue = stripe(30, 32) if k % 2 and k > 1 else stripe(0, 0)
        pictures[k] = ImageRecord(
            image_id=k, file_name=f"{k}.png", height=SIDE, width=SIDE, data=png(stripe(0, 8), stripe(20, 24), blue)
        )
        for place, mask in enumerate((stripe(0, 8 + k), stripe(20, 24))):
            number = 10 * k + place
            annotations[number] = Annotation(
                annotation_id=number, image_id=k, category_id=1, box=(0, 0, 8, 8), mask=rle.encode(mask)
            )
        for place, colour in enumerate(COLOURS if k % 2 else COLOURS[:2]):
            number = 10 * k + place
            sentences = [f"{colour} stripe", colour] if place < 2 else [colour]
            records.append(
                Record(
                    ref_id=number,
                    image_id=k,
                    split="val" if k < images - 1 else "train",
                    annotation_ids=(number,) if place < 2 else (),
                    expressions=tuple(
                        Expression(
                            sentence_id=10 * number + one,
                            raw=text,
                            sent=text,
                            tokens=tuple(text.split()),
                            abilities=("colour",) if place < 2 else ("absent",),
                        )
                        for one, text in enumerate(sentences)
                    ),
                )
            )
    dataset = Dataset(
        name=name,
        split_by="unc",
        categories={1: "stripe"},
        images=pictures,
        annotations=annotations,
        records=records,
    )
    path = folder / f"{name}.h5"
    write_store(dataset, path)
    return path

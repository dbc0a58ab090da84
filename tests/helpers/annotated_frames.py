"""A dataset in the manner of A2D-Sentences: videos with two annotated frames each, and the frames around them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.vision import rle

HEIGHT, WIDTH = 48, 64
ANNOTATED = (4, 9)


def annotated_frames_dataset(*, videos: int = 3, frames: int = 12, kept: int = 3) -> Dataset:
    """Return videos of `frames` frames, each of one brightness; the last video is the split `val`.

    Frame `n` of every video has the brightness 10 n; of its frames those are kept that are at most `kept` away from an
    annotated one. An actor walks to the right, four pixels a frame.
    """
    dataset = Dataset(
        name="a2d-sentences", split_by="published", categories={1: "actor"}, images={}, annotations={}, records=[]
    )
    assert isinstance(dataset.images, dict) and isinstance(dataset.annotations, dict)
    for video in range(videos):
        for number in range(1, frames + 1):
            if min(abs(number - one) for one in ANNOTATED) > kept:
                continue
            key = 100 * video + number
            stream = io.BytesIO()
            Image.fromarray(np.full((HEIGHT, WIDTH, 3), 10 * number, dtype=np.uint8)).save(stream, "PNG")
            dataset.images[key] = ImageRecord(
                image_id=key,
                file_name=f"video{video}/{number:05d}.png",
                height=HEIGHT,
                width=WIDTH,
                data=stream.getvalue(),
            )
            if number not in ANNOTATED:
                continue
            encoded = rle.encode(mask_at(number))
            dataset.annotations[key] = Annotation(
                annotation_id=key, image_id=key, category_id=1, box=rle.box(encoded), mask=encoded
            )
            text = f"the actor on the left in frame {number}"
            expression = Expression(sentence_id=key, raw=text, sent=text, tokens=tuple(text.split()))
            split = "val" if video == videos - 1 else "train"
            dataset.records.append(
                Record(ref_id=key, image_id=key, split=split, annotation_ids=(key,), expressions=(expression,))
            )
    return dataset


def mask_at(number: int) -> np.ndarray:
    """Return the actor's mask in frame `number`."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[10:34, 4 * number : 4 * number + 16] = True
    return mask

"""Writes palette PNG files as DAVIS and VOC have them: index 0 is background, 1 and on are the masks of the image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from risctl.data.formats.annotated import AnnotatedImage, decoded
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.vision import rle

MOST = 254
"""Masks of an image at most: 255 stands for void pixels."""


def write_davis(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `Annotations/NAME.png` and `phrases.jsonl`. Masks may overlap, indices cannot: the later one lies above.

    Raises:
        DataError: An image has more masks than there are indices.
    """
    phrases, written = [], []
    for image in images:
        indices = np.zeros((image.height, image.width), dtype=np.uint8)
        kept = [one for one in image.masks if rle.area(one.mask)]
        if len(kept) > MOST:
            raise DataError(f"{image.file_name} has {len(kept)} masks; a palette file has room for {MOST}")
        for number, one in enumerate(kept, start=1):
            indices[decoded(one)] = number
            phrases.append(
                {
                    "file_name": image.file_name,
                    "index": number,
                    "phrases": list(one.phrases),
                    "ref_id": one.ref_id,
                    "sent_ids": list(one.sentence_ids),
                    "score": one.score,
                }
            )
        path = folder / "Annotations" / PurePosixPath(image.file_name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = Image.fromarray(indices, mode="P")
        shown.putpalette(palette())
        with outputs.writing(path) as part:
            shown.save(part, "PNG")
        written.append(path)
    outputs.write_json_lines(folder / "phrases.jsonl", phrases)
    return [*written, folder / "phrases.jsonl"]


def palette() -> list[int]:
    """Returns VOC's 256 colours: the bits of an index, three at a time, are the high bits of red, green and blue."""
    colours = []
    for index in range(256):
        colour = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                colour[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
        colours += colour
    return colours

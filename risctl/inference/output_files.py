"""Writes predictions as files: a mask to compute with, an overlay to look at, a COCO RLE to pass on."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from risctl.output_files import OutputFiles, slug
from risctl.results import Prediction
from risctl.vision.drawing.overlays import overlay

# An overlay is to be looked at: that of a larger picture is scaled down to this many pixels.
_OVERLAY_PIXELS = 16_000_000
# The sides that JPEG can have; longer overlays become PNG.
_JPEG_SIDE = 65_500


class PredictionFolder:
    """A folder of predictions, three files a picture and text, named after both.

    `photo.the-red-cup.mask.png` (8 bits, 0 and 255, at the picture's size), `photo.the-red-cup.overlay.jpg` (scaled
    down to 16 megapixels where the picture has more) and `photo.the-red-cup.json`, the record that `write` returns.
    The same picture and text are written again in place; other texts and other pictures of the same name never are:
    where a name does not tell them apart, a digest is added. Each file is written beside its place and renamed.
    """

    def __init__(self, folder: Path, *, model: str, outputs: OutputFiles | None = None) -> None:
        """Writes into `folder`, which is made at the first prediction.

        Args:
            folder: The folder to write into.
            model: The model's name or path, noted in every record.
            outputs: The guard of the command's output files.
        """
        self.folder = folder
        self._model = model
        self._outputs = outputs or OutputFiles()

    def write(self, prediction: Prediction, *, image: str, name: str) -> dict[str, Any]:
        """Writes the files of a prediction that kept its picture, and return its record, ready for JSON.

        image: what the record calls the picture; name: what its files are named after (a file's stem). The record has
        `image`, `text`, `matched` (False where the model says that there is no such object; the mask is then empty),
        `score`, `box` [x, y, width, height] or None, `area` in pixels, `segmentation` (COCO RLE), `threshold`, `model`,
        and the paths `mask` and `overlay`. Raises `DataError` or `MachineError` if the folder cannot be written.
        """
        label = slug(prediction.text)
        base = self._outputs.base_name(self.folder, name, label, source=image, key="image")
        owner = (image, prediction.text)
        mask = prediction.mask
        drawn = _drawn(prediction, mask)
        kind = "jpg" if max(drawn.shape) <= _JPEG_SIDE else "png"
        mask_path, overlay_path = self.folder / f"{base}.mask.png", self.folder / f"{base}.overlay.{kind}"
        record = {
            "image": image,
            **prediction.to_dict(),
            "model": self._model,
            "mask": str(mask_path),
            "overlay": str(overlay_path),
        }
        self._save(mask.astype(np.uint8) * 255, mask_path, kind="PNG", owner=owner)
        self._save(drawn, overlay_path, kind="JPEG" if kind == "jpg" else "PNG", owner=owner)
        text = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        self._outputs.write_text(self.folder / f"{base}.json", text, owner=owner)
        return record

    def _save(self, pixels: np.ndarray, path: Path, *, kind: str, owner: Hashable) -> None:
        options: dict[str, Any] = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {"compress_level": 6}
        with self._outputs.writing(path, owner=owner) as part:
            Image.fromarray(pixels).save(part, kind, **options)


def _drawn(prediction: Prediction, mask: np.ndarray) -> np.ndarray:
    """Returns the overlay of a prediction that kept its picture, uint8 (H, W, 3), of at most `_OVERLAY_PIXELS`."""
    if prediction.image is None or mask.size <= _OVERLAY_PIXELS:
        return prediction.overlay()
    scale = math.sqrt(_OVERLAY_PIXELS / mask.size)
    size = (max(1, int(mask.shape[1] * scale)), max(1, int(mask.shape[0] * scale)))
    small = Image.fromarray(prediction.image).resize(size, Image.Resampling.BOX)
    where = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
    return overlay(np.asarray(small), [np.asarray(where)], [prediction.text])

"""Writes predictions as files: a mask to compute with, an overlay to look at, a COCO RLE to pass on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
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


_ENDINGS = (".mask.png", ".overlay.jpg", ".overlay.png", ".json")


def prediction_record(prediction: Prediction, *, image: str, file_name: str, model: str) -> dict[str, Any]:
    """Returns what is told of a prediction, without its files; see `PredictionFolder.write`."""
    return {"image": image, "file_name": file_name, **prediction.to_dict(), "model": model}


class PredictionFolder:
    """A folder of predictions, three files a picture and text, named after both.

    `photo.the-red-cup.mask.png` (8 bits, 0 and 255, at the picture's size), `photo.the-red-cup.overlay.jpg` (scaled
    down to 16 megapixels where the picture has more) and `photo.the-red-cup.json`, the record that `write` returns.
    Other texts and other pictures of the same name get files of their own: where a name does not tell them apart, a
    digest is added. What is there already is replaced only if `outputs` may replace it.
    """

    def __init__(self, folder: Path, *, labels: bool = True, outputs: OutputFiles | None = None) -> None:
        """Writes into `folder`, which is made at the first prediction.

        Args:
            folder: The folder to write into.
            labels: Whether overlays show the text. Without it they have the picture's size.
            outputs: The guard of the command's output files.
        """
        self.folder = folder
        self._labels = labels
        self._outputs = outputs or OutputFiles()

    def check(self, *, name: str, file_name: str, texts: Iterable[str], sheets: bool = False) -> None:
        """Raises `UsageError` if files of a picture and one of the texts are there already and must stay.

        Args:
            name: What the files are named after, as in `write`.
            file_name: The picture's file.
            texts: The expressions.
            sheets: Whether a contact sheet is written beside each, `.sheet.jpg`.
        """
        endings = (*_ENDINGS, ".sheet.jpg") if sheets else _ENDINGS
        for text in texts:
            base = self._base(name, text, file_name)
            for ending in endings:
                self._outputs.check(self.folder / f"{base}{ending}")

    def write(
        self, prediction: Prediction, *, image: str, name: str, file_name: str | None = None, model: str
    ) -> dict[str, Any]:
        """Writes the files of a prediction that kept its picture.

        Args:
            prediction: The prediction.
            image: What the record calls the picture.
            name: What the files are named after: the stem of the picture's file.
            file_name: The picture's file, by its full path, which tells it from others; `image` by default.
            model: The model's name or path.

        Returns:
            The record, ready for JSON: `image`, `file_name`, `text`, `matched` (False where the model says that there
            is no such object; the mask is then empty), `score`, `box` [x, y, width, height] or None, `area` in pixels,
            `segmentation` (COCO RLE), `threshold`, `model`, and the paths `mask` and `overlay`.

        Raises:
            UsageError: A file is there already and must stay.
            DataError: The folder cannot be written.
            MachineError: The disk is full.
        """
        base = self._base(name, prediction.text, file_name or image)
        mask = prediction.mask
        drawn = _drawn(prediction, mask, label=self._labels)
        kind = "jpg" if max(drawn.shape) <= _JPEG_SIDE else "png"
        mask_path, overlay_path = self.folder / f"{base}.mask.png", self.folder / f"{base}.overlay.{kind}"
        record = {
            **prediction_record(prediction, image=image, file_name=file_name or image, model=model),
            "mask": str(mask_path),
            "overlay": str(overlay_path),
        }
        self._save(mask.astype(np.uint8) * 255, mask_path, kind="PNG")
        self._save(drawn, overlay_path, kind="JPEG" if kind == "jpg" else "PNG")
        text = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        self._outputs.write_text(self.folder / f"{base}.json", text)
        return record

    def _base(self, name: str, text: str, source: str) -> str:
        return self._outputs.base_name(self.folder, name, slug(text), source=source)

    def _save(self, pixels: np.ndarray, path: Path, *, kind: str) -> None:
        options: dict[str, Any] = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {"compress_level": 6}
        with self._outputs.writing(path) as part:
            Image.fromarray(pixels).save(part, kind, **options)


def _drawn(prediction: Prediction, mask: np.ndarray, *, label: bool) -> np.ndarray:
    """Returns the overlay of a prediction that kept its picture, uint8 (H, W, 3), of at most `_OVERLAY_PIXELS`."""
    if prediction.image is None or mask.size <= _OVERLAY_PIXELS:
        return prediction.overlay(label=label)
    scale = math.sqrt(_OVERLAY_PIXELS / mask.size)
    size = (max(1, int(mask.shape[1] * scale)), max(1, int(mask.shape[0] * scale)))
    small = Image.fromarray(prediction.image).resize(size, Image.Resampling.BOX)
    where = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
    return overlay(np.asarray(small), [np.asarray(where)], [prediction.text] if label else None)

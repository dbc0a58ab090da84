"""Predictions as files: a mask to compute with, an overlay to look at, a COCO RLE to pass on."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from risctl.files import replacing
from risctl.results import Prediction
from risctl.vision import rle
from risctl.vision.drawing.overlays import overlay

# An overlay is to be looked at: that of a larger picture is scaled down to this many pixels.
_OVERLAY_PIXELS = 16_000_000
# The sides that JPEG can have; longer overlays become PNG.
_JPEG_SIDE = 65_500
# In bytes. File systems stop at 255, of which the text and the endings need their part.
_LONGEST_NAME = 100
_LONGEST_SLUG = 60


class PredictionFolder:
    """A folder of predictions, three files a picture and text, named after both.

    `photo.the-red-cup.mask.png` (8 bits, 0 and 255, at the picture's size), `photo.the-red-cup.overlay.jpg` (scaled
    down to 16 megapixels where the picture has more) and `photo.the-red-cup.json`, the record that `write` returns.
    The same picture and text are written again in place; other texts and other pictures of the same name never are:
    where a name does not tell them apart, a digest is added. Each file is written beside its place and renamed.
    """

    def __init__(self, folder: Path, *, model: str) -> None:
        """Write into `folder`, which is made at the first prediction; `model` is noted in every record."""
        self.folder = folder
        self._model = model
        self._taken: dict[str, tuple[str, str]] = {}

    def write(self, prediction: Prediction, *, image: str, name: str) -> dict[str, Any]:
        """Write the files of a prediction that kept its picture, and return its record, ready for JSON.

        image: what the record calls the picture; name: what its files are named after (a file's stem). The record has
        `image`, `text`, `matched` (False where the model says that there is no such thing; the mask is then empty),
        `score`, `box` [x, y, width, height] or None, `area` in pixels, `segmentation` (COCO RLE), `threshold`, `model`,
        and the paths `mask` and `overlay`. Raises `DataError` or `MachineError` if the folder cannot be written.
        """
        base = self._base(image=image, name=name, text=prediction.text)
        mask = prediction.mask
        drawn = _drawn(prediction, mask)
        kind = "jpg" if max(drawn.shape) <= _JPEG_SIDE else "png"
        mask_path, overlay_path = self.folder / f"{base}.mask.png", self.folder / f"{base}.overlay.{kind}"
        segmentation = prediction.rle()
        record = {
            "image": image,
            "text": prediction.text,
            "matched": prediction.matched,
            "score": round(float(prediction.score), 6),
            "box": None if prediction.box is None else list(prediction.box),
            "area": rle.area(segmentation),
            "segmentation": segmentation,
            "threshold": prediction.threshold,
            "model": self._model,
            "mask": str(mask_path),
            "overlay": str(overlay_path),
        }
        _save_picture(mask.astype(np.uint8) * 255, mask_path, kind="PNG")
        _save_picture(drawn, overlay_path, kind="JPEG" if kind == "jpg" else "PNG")
        with replacing(self.folder / f"{base}.json") as beside:
            beside.write_text(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        return record

    def _base(self, *, image: str, name: str, text: str) -> str:
        stem = short_stem(name)
        base = f"{stem}.{slug(text)}"
        if self._owner(base) not in (None, (image, text)):
            base = f"{stem}-{digest(image)}.{slug(text)}"
        self._taken[base] = (image, text)
        return base

    def _owner(self, base: str) -> tuple[str, str] | None:
        """Return the (image, text) whose files have the name `base`, from this run or an earlier one."""
        if base in self._taken:
            return self._taken[base]
        try:
            record = json.loads((self.folder / f"{base}.json").read_text(encoding="utf-8"))
            return str(record["image"]), str(record["text"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return ("", "")  # something else of that name: not ours to replace


def short_stem(name: str) -> str:
    """Return the name of a picture or video as part of a file name: shortened, with a digest, where it is long."""
    return name if len(name.encode()) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 4]}-{digest(name)}"


def slug(text: str) -> str:
    """Return `text` as part of a file name: ASCII letters and digits joined by hyphens.

    Where that loses anything but spaces (other letters, capitals, punctuation, length), a digest of the text is added,
    so that two texts never share a name.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", errors="ignore").decode().lower()
    short = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].strip("-")
    if short and short.replace("-", " ") == text:
        return short
    return f"{short}-{digest(text)}" if short else digest(text)


def digest(text: str) -> str:
    """Return eight letters and digits that tell `text` from others."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:8]


def _drawn(prediction: Prediction, mask: np.ndarray) -> np.ndarray:
    """Return the overlay of a prediction that kept its picture, uint8 (H, W, 3), of at most `_OVERLAY_PIXELS`."""
    if prediction.image is None or mask.size <= _OVERLAY_PIXELS:
        return prediction.overlay()
    scale = math.sqrt(_OVERLAY_PIXELS / mask.size)
    size = (max(1, int(mask.shape[1] * scale)), max(1, int(mask.shape[0] * scale)))
    small = Image.fromarray(prediction.image).resize(size, Image.Resampling.BOX)
    where = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
    return overlay(np.asarray(small), [np.asarray(where)], [prediction.text])


def _save_picture(pixels: np.ndarray, path: Path, *, kind: str) -> None:
    options: dict[str, Any] = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {"compress_level": 6}
    with replacing(path) as beside:
        Image.fromarray(pixels).save(beside, kind, **options)

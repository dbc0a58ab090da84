"""Holds what systems return: the mask of an expression, and the detections of a category."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import UsageError
from risctl.output_files import OutputFiles
from risctl.vision import rle
from risctl.vision.geometry import Geometry
from risctl.vision.video_frames import Frame


@dataclass(slots=True, kw_only=True, repr=False)
class Prediction:
    """The mask of one expression in one image.

    Attributes:
        text: The expression.
        probability: Float32 (H, W), at the image's own size.
        threshold: A pixel belongs to the mask if its probability is above it.
        score: In [0, 1]: the system's own score, else the mean probability over the mask (0 if the mask is empty).
        box: (x, y, width, height) of the mask in pixels; None if the mask is empty.
        matched: False where the system says that the expression refers to nothing in the image; the mask is then
            empty.
        said_none: Whether the system says that there is no target, where it decides that apart from the mask; None:
            an empty mask says so.
        uncleared: `probability` and `input_probability` before an answer "none" cleared them, where the system's
            published figures count them; None: nothing was cleared.
        maps: Named arrays that explain the prediction (attention, scores of queries, …).
        predicted_box: (x, y, width, height) in pixels that the system predicts beside the mask; None if it predicts
            none.
        image: The RGB image, uint8 (H, W, 3), where the predictor kept it.
        geometry: How the image lies in the network's input; its `invert` brings `maps` to the image's size.
        input_probability: Float32 (h, w) at the size of the network's input, of systems whose published figures are
            measured there; a protocol of that resolution compares it.

    Example:
        >>> prediction
        Prediction('the red square', score=..., mask=... of 640x480 pixels, box=..., matched=...)
        >>> prediction.cutout().shape
        (480, 640, 4)
        >>> prediction.save("mask.png").name
        'mask.png'
    """

    text: str
    probability: np.ndarray
    threshold: float
    score: float
    box: tuple[float, float, float, float] | None
    matched: bool = True
    said_none: bool | None = None
    uncleared: tuple[np.ndarray, np.ndarray | None] | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    predicted_box: tuple[float, float, float, float] | None = None
    image: np.ndarray | None = None
    geometry: Geometry | None = None
    input_probability: np.ndarray | None = None

    @property
    def mask(self) -> np.ndarray:
        """The mask, bool (H, W)."""
        return self.probability > self.threshold

    def __repr__(self) -> str:
        height, width = self.probability.shape
        area = int(self.mask.sum())
        box = "none" if self.box is None else "({})".format(", ".join(f"{side:g}" for side in self.box))
        return (
            f"Prediction({self.text!r}, score={self.score:.3f}, mask={area} of {width}x{height} pixels, "
            f"box={box}, matched={self.matched})"
        )

    def _repr_png_(self) -> bytes | None:
        """Shows the image with the mask in a notebook; nothing where no image was kept."""
        return None if self.image is None else _encoded(self.overlay(), "PNG")

    def rle(self) -> rle.RLE:
        """Returns the mask as COCO RLE, ready for JSON."""
        return rle.encode(self.mask)

    def to_dict(self) -> dict[str, Any]:
        """Returns text, score, box, area, COCO RLE and threshold, ready for JSON."""
        segmentation = self.rle()
        return {
            "text": self.text,
            "matched": self.matched,
            "score": round(float(self.score), 6),
            "box": None if self.box is None else list(self.box),
            "area": rle.area(segmentation),
            "segmentation": segmentation,
            "threshold": self.threshold,
        }

    def polygon(self, *, holes: bool = False) -> list[list[float]]:
        """Traces the outlines of the mask along its pixels' edges.

        Args:
            holes: Whether the outlines of holes are returned as well; COCO's polygons have none.

        Returns:
            One polygon [x1, y1, x2, y2, …] per part, in pixels from the top left corner of the image.
        """
        from risctl.vision.polygons import outlines

        return outlines(self.mask, holes=holes)

    def overlay(self, image: np.ndarray | None = None, *, label: bool = True) -> np.ndarray:
        """Returns the image with the mask drawn on it.

        Args:
            image: Uint8 RGB (H, W, 3), in place of the image that was kept.
            label: Whether the text is drawn too.

        Returns:
            Uint8 RGB (H', W', 3): the image, and below it the text where the image has no room for it; (H, W, 3)
            without the text.

        Raises:
            ValueError: No image was kept and none is given.
        """
        from risctl.vision.drawing.overlays import overlay  # drawing is loaded only where something is drawn

        labels = [self.text] if label else None
        return overlay(self._image("overlay") if image is None else image, [self.mask], labels)

    def cutout(self, image: np.ndarray | None = None) -> np.ndarray:
        """Returns the image, transparent outside the mask.

        Args:
            image: Uint8 RGB (H, W, 3), in place of the image that was kept.

        Returns:
            Uint8 RGBA (H, W, 4).

        Raises:
            ValueError: No image was kept and none is given.
        """
        base = self._image("cutout") if image is None else image
        return np.dstack([base, self.mask.astype(np.uint8) * 255])

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the prediction in the format that the suffix names, whole or not at all.

        Args:
            path: `.png`: the mask, 0 and 255. `.jpg`, `.jpeg`: the image with the mask drawn on it. `.npz`: the arrays
                `probability` and `mask`. `.json`: what `to_dict` returns.
            overwrite: Whether a file of this name is replaced.

        Returns:
            The path.

        Raises:
            UsageError: The suffix is another, the file exists, or an overlay is asked for and no image was kept.
            DataError: The folder cannot be written.
        """
        path = Path(path)
        write = _FORMATS.get(path.suffix.lower())
        if write is None:
            raise UsageError(
                f"expected a file that ends in {', '.join(_FORMATS)}, got {path.name!r}; the suffix names the format"
            )
        outputs = OutputFiles(overwrite=overwrite, option="overwrite=True")
        outputs.claim(path)
        data = write(self)
        with outputs.writing(path) as part:
            part.write_bytes(data)
        return path

    def _image(self, method: str) -> np.ndarray:
        if self.image is None:
            raise ValueError(f"this prediction kept no image; call {method}(image)")
        return self.image


def _encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _mask_png(prediction: Prediction) -> bytes:
    return _encoded(prediction.mask.astype(np.uint8) * 255, "PNG")


def _overlay_jpeg(prediction: Prediction) -> bytes:
    if prediction.image is None:
        raise UsageError("this prediction kept no image to draw on; save its mask as .png, or draw with overlay(image)")
    return _encoded(prediction.overlay(), "JPEG", quality=92, subsampling=0)


def _arrays(prediction: Prediction) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, probability=prediction.probability, mask=prediction.mask)
    return file.getvalue()


def _json(prediction: Prediction) -> bytes:
    return (json.dumps(prediction.to_dict(), ensure_ascii=False, allow_nan=False) + "\n").encode()


_FORMATS: Mapping[str, Callable[[Prediction], bytes]] = {
    ".png": _mask_png,
    ".jpg": _overlay_jpeg,
    ".jpeg": _overlay_jpeg,
    ".npz": _arrays,
    ".json": _json,
}
"""What `Prediction.save` writes, by suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One instance of a category that was named.

    Attributes:
        name: The category.
        score: In [0, 1].
        box: (x, y, width, height) in pixels of the image.
        segmentation: The mask as COCO RLE.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    segmentation: rle.RLE


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePredictions:
    """A frame of a video with its predictions.

    Attributes:
        frame: The frame: its number, its name, and its pixels.
        predictions: One prediction per phrase, in the order of the phrases.
    """

    frame: Frame
    predictions: tuple[Prediction, ...]

"""Prepares images as a processor of transformers does, short of normalising them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from risctl.data.batch import checked_geometry
from risctl.errors import CheckpointError
from risctl.language.vocabulary import Vocabulary
from risctl.vision.geometry import Geometry
from risctl.vision.resize import ResizeGeometry


class BorderedGeometry(ResizeGeometry):
    """An image in the top left of a square whose border the network reads like the image, as OWLv2 does."""

    __slots__ = ()

    def padding(self) -> Tensor:
        """Returns False everywhere, bool (input_height, input_width): nothing of the input is masked."""
        return torch.zeros((self.input_height, self.input_width), dtype=torch.bool)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A caption as it is."""

    def __call__(self, text: str) -> str:
        return text


class ProcessorPreprocess:
    """Images by an image processor of transformers, phrases by the model's tokenizer. Targets have the input's size.

    Attributes:
        mean: What the processor subtracts from each colour in [0, 1].
        deviation: What it then divides by.
    """

    def __init__(
        self,
        processor: Any,
        *,
        vocabulary: Vocabulary,
        max_words: int,
        caption: Callable[[str], str] = _Kept(),
    ) -> None:
        """Creates the preprocess.

        Args:
            processor: The image processor.
            vocabulary: The tokenizer.
            max_words: Tokens after which a phrase is cut, its last token kept.
            caption: Makes of a phrase what the model reads.

        Raises:
            CheckpointError: The processor crops, so that a part of an image would have no mask.
        """
        if getattr(processor, "do_center_crop", None):
            raise CheckpointError("expected an image processor that keeps the whole image; this one crops its centre")
        self._process = partial(processor, return_tensors="pt", do_normalize=False)
        # OWLv2's processor alone pads images to squares before it resizes them.
        self._squares = bool(getattr(processor, "do_pad", False)) and type(processor).__name__.startswith("Owlv2")
        normalises = bool(getattr(processor, "do_normalize", True))
        self.mean = tuple(processor.image_mean) if normalises else (0.0, 0.0, 0.0)
        self.deviation = tuple(processor.image_std) if normalises else (1.0, 1.0, 1.0)
        self.vocabulary = vocabulary
        self.max_words = max_words
        self._caption = caption

    def image(self, image: np.ndarray) -> tuple[Tensor, ResizeGeometry]:
        """Returns the input (3, h, w), RGB in [0, 1], of an image, uint8 (H, W, 3), and its geometry."""
        tensor = self._process(Image.fromarray(image))["pixel_values"][0].float()
        return tensor, self._geometry(image.shape[0], image.shape[1], size=(tensor.shape[-2], tensor.shape[-1]))

    def fit(self, *, height: int, width: int) -> ResizeGeometry:
        """Returns the geometry of an image of this size."""
        return self.image(np.zeros((height, width, 3), dtype=np.uint8))[1]

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Returns token ids, int64 (L,), and their mask. Raises `UsageError` if the text has no word."""
        return self.vocabulary.encode(self._caption(text) if text.strip() else text, max_words=self.max_words)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the soft target, float32 in [0, 1], of a mask, bool (H, W)."""
        return self._resized(mask[None], geometry)[0]

    def instance_masks(self, masks: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns masks of the input, bool (N, h, w), of masks of the image, bool (N, H, W)."""
        return self._resized(masks, geometry) > 0.5

    def _resized(self, masks: np.ndarray, geometry: Geometry) -> Tensor:
        fitted = checked_geometry(geometry, ResizeGeometry)
        full = torch.zeros((len(masks), fitted.input_height, fitted.input_width))
        for number, mask in enumerate(masks):  # one at a time: masks of a large image as floats are large
            pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
            size = (fitted.inner_height, fitted.inner_width)
            inner = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
            full[number, fitted.rows, fitted.columns] = inner[0, 0].clamp(0, 1)
        return full

    def _geometry(self, height: int, width: int, *, size: tuple[int, int]) -> ResizeGeometry:
        inner, kind = size, ResizeGeometry
        if self._squares:
            longest, kind = max(height, width), BorderedGeometry
            inner = (max(1, round(size[0] * height / longest)), max(1, round(size[1] * width / longest)))
        return kind(
            height=height,
            width=width,
            inner_height=inner[0],
            inner_width=inner[1],
            input_height=size[0],
            input_width=size[1],
        )

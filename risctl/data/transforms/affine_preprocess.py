"""Turns images into a square input by an affine letterbox, and expressions into ids of one length."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import checked_geometry
from risctl.data.transforms.preprocess import PaddedTextPreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.vision.affine_letterbox import AffineLetterbox
from risctl.vision.geometry import Geometry


class AffineLetterboxPreprocess(PaddedTextPreprocess):
    """Letterboxes images by an affine warp (CRIS, CVPR 2022); a `Preprocess`."""

    def __init__(self, *, size: int, target_size: int, max_words: int, vocabulary: Vocabulary) -> None:
        """Creates the preprocess.

        Args:
            size: Side of the input in pixels, a multiple of `target_size`.
            target_size: Side of the target in pixels.
            max_words: Number of tokens of every expression; longer ones are truncated, shorter ones padded.
            vocabulary: Maps words to ids.
        """
        self.size = size
        self.target_size = target_size
        super().__init__(max_words=max_words, vocabulary=vocabulary)

    def image(self, image: np.ndarray) -> tuple[Tensor, AffineLetterbox]:
        """Returns the input (3, size, size), RGB in [0, 1], of an image, uint8 (H, W, 3), and its geometry."""
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return torch.from_numpy(geometry.image(image)).permute(2, 0, 1).float().div_(255), geometry

    def fit(self, *, height: int, width: int) -> AffineLetterbox:
        """Returns the geometry of an image of this size."""
        return AffineLetterbox(height=height, width=width, size=self.size)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the soft target, float32 (target_size, target_size) in [0, 1]: every so many pixels of the warp."""
        warped = checked_geometry(geometry, AffineLetterbox).mask(mask)
        step = self.size // self.target_size
        return torch.from_numpy(warped[::step, ::step].copy()).float().div_(255)

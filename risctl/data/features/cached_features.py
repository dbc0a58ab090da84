"""Provides a training item's cached features in place of its image and text."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from risctl.data.features import schema
from risctl.data.features.reader import FeatureCache
from risctl.data.features.schema import IMAGES, TEXTS


class CachedFeatures:
    """The features of images, of texts, or of both, whichever a cache has.

    It pickles: each process opens the files anew.
    """

    def __init__(self, path: Path) -> None:
        """Opens the cache at `path`. Raises `DataError` if it cannot be read."""
        self.cache = FeatureCache(path)
        self.has_images = IMAGES in self.cache.groups
        self.has_texts = TEXTS in self.cache.groups

    def image(self, image_id: int, *, mirrored: bool) -> tuple[Tensor, ...] | None:
        """Returns the features of an image, float16; None if the cache has only texts."""
        if not self.has_images:
            return None
        return self._sample(IMAGES, schema.key_of(image_id, mirrored=mirrored))

    def text(self, text: str) -> tuple[Tensor, ...] | None:
        """Returns the features of a text, float16; None if the cache has only images."""
        return self._sample(TEXTS, text) if self.has_texts else None

    def _sample(self, group: str, key: str) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(index) for index in self.cache.sample(group, key))

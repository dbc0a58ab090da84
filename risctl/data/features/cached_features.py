"""Features in the place of pictures and texts: what a training item is given of a cache."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from risctl.data.features import schema
from risctl.data.features.reader import FeatureCache
from risctl.data.features.schema import IMAGES, TEXTS


class Recall:
    """The features of pictures and texts, of whichever a cache has. Picklable: each process opens the files anew."""

    def __init__(self, path: Path) -> None:
        self.cache = FeatureCache(path)
        self.has_pictures = IMAGES in self.cache.groups
        self.has_texts = TEXTS in self.cache.groups

    def picture(self, image_id: int, *, mirrored: bool) -> tuple[Tensor, ...] | None:
        """Return what is kept of a picture, float16; None if the cache is of texts alone."""
        if not self.has_pictures:
            return None
        return self._sample(IMAGES, schema.key_of(image_id, mirrored=mirrored))

    def text(self, text: str) -> tuple[Tensor, ...] | None:
        """Return what is kept of a text, float16; None if the cache is of pictures alone."""
        return self._sample(TEXTS, text) if self.has_texts else None

    def _sample(self, group: str, key: str) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(one) for one in self.cache.sample(group, key))

"""The contract of encoders: any visual encoder goes with any text encoder.

A visual encoder is a module with `channels: tuple[int, ...]` and `strides: tuple[int, ...]`, finest first, whose
forward takes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], and padding (B, H, W), True where there is no
picture; it normalises the images itself, as its weights want. A text encoder is a module with `channels: int` (of the
words), whose forward takes word ids (B, L) and mask (B, L), True where there is a word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualFeatures:
    """What a visual encoder sees: one map a stride, finest first; of a clip, T frames a map.

    maps: each (B, C_i, H_i, W_i), or (B, T, C_i, H_i, W_i); strides: input pixels per cell; padding: (B, H, W) bool at
    input size, True where there is no picture.
    """

    maps: tuple[Tensor, ...]
    strides: tuple[int, ...]
    padding: Tensor

    def select(self, index: Tensor) -> VisualFeatures:
        """Return the features of the images `index` (N,), so that one encoded image can meet many texts.

        Of a single image they are views, not copies: N texts about it take no N times the memory.
        """
        if len(self.padding) == 1:
            maps = tuple(one.expand(len(index), *one.shape[1:]) for one in self.maps)
            return replace(self, maps=maps, padding=self.padding.expand(len(index), *self.padding.shape[1:]))
        return replace(self, maps=tuple(one[index] for one in self.maps), padding=self.padding[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeatures:
    """What a text encoder reads. words: (B, L, D); mask: (B, L) bool, True where a word is; sentence: (B, D')."""

    words: Tensor
    mask: Tensor
    sentence: Tensor

    def select(self, index: Tensor) -> TextFeatures:
        """Return the features of the texts `index` (N,)."""
        return replace(self, words=self.words[index], mask=self.mask[index], sentence=self.sentence[index])


def padding_at(padding: Tensor, *, height: int, width: int) -> Tensor:
    """Return padding (B, H, W) at the size of a map, (B, height, width): a cell is padding if its centre is."""
    return torch.nn.functional.interpolate(padding[:, None].float(), size=(height, width), mode="nearest")[:, 0] > 0.5

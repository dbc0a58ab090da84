"""Defines the contract of encoders, by which any visual encoder goes with any text encoder.

A visual encoder is a module with `channels: tuple[int, ...]` and `strides: tuple[int, ...]`, finest first. Its forward
takes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], and padding (B, H, W), True outside the image, and
returns `VisualFeatures`; it normalises the images itself. A text encoder is a module with `channels: int`, and with
`sentence_channels: int` if its sentences are of another width than its words. Its forward takes token ids (B, L) and
their mask (B, L), True where there is a token, and returns `TextFeatures`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualFeatures:
    """The feature maps of a batch of images or clips.

    Attributes:
        maps: One map per stride, finest first: (B, C_i, H_i, W_i), or (B, T, C_i, H_i, W_i) of clips.
        strides: Input pixels per cell of each map.
        padding: Bool (B, H, W) at input size, True outside the image.
    """

    maps: tuple[Tensor, ...]
    strides: tuple[int, ...]
    padding: Tensor

    def select(self, index: Tensor) -> VisualFeatures:
        """Returns the features of the images `index` (N,), so that one encoded image can be paired with many texts.

        Features of a single image are views, not copies: N texts about it need no N times the memory.
        """
        if len(self.padding) == 1:
            maps = tuple(feature_map.expand(len(index), *feature_map.shape[1:]) for feature_map in self.maps)
            return replace(self, maps=maps, padding=self.padding.expand(len(index), *self.padding.shape[1:]))
        return replace(self, maps=tuple(feature_map[index] for feature_map in self.maps), padding=self.padding[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeatures:
    """The features of a batch of texts.

    Attributes:
        words: Token features (B, L, D).
        mask: Bool (B, L), True where there is a token.
        sentence: Sentence features (B, D').
    """

    words: Tensor
    mask: Tensor
    sentence: Tensor

    def select(self, index: Tensor) -> TextFeatures:
        """Returns the features of the texts `index` (N,)."""
        return replace(self, words=self.words[index], mask=self.mask[index], sentence=self.sentence[index])


class StagedBackbone(Protocol):
    """A visual encoder that can be run stage by stage; LAVT and ReLA put their language gates between the stages.

    Attributes:
        channels: The channels of the maps of the stages.
        strides: Their strides.
        frozen: Whether no parameter trains.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    frozen: bool

    def before_stages(self, images: Tensor, padding: Tensor) -> Tensor:
        """Returns the input of the first stage, channels last, of images (B, 3, H, W) with padding (B, H, W)."""

    def run_stage(self, x: Tensor, number: int) -> Tensor:
        """Maps what the stage before `number` gave, (B, H, W, C), to this stage's map, channels last."""


def padding_at(padding: Tensor, *, height: int, width: int) -> Tensor:
    """Resizes padding (B, H, W) to the size of a map, (B, height, width): a cell is padding if its centre is."""
    return torch.nn.functional.interpolate(padding[:, None].float(), size=(height, width), mode="nearest")[:, 0] > 0.5

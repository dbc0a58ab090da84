"""Normalises images and clips, and shapes per-frame maps, for all backbones that take clips."""

from __future__ import annotations

from torch import Tensor

from risctl.core.encoders.base import VisualFeatures


def normalised(images: Tensor, padding: Tensor, *, mean: Tensor, deviation: Tensor) -> Tensor:
    """Normalises images (B, 3, H, W) or clips (B, T, 3, H, W); zero where padding (B, H, W) is True.

    The DETR family pads after normalising, so padding is the mean colour, not black.
    """
    hidden = padding[:, None] if images.ndim == 4 else padding[:, None, None]
    return ((images - mean) / deviation).masked_fill(hidden, 0.0)


def features_of(maps: list[Tensor], images: Tensor, padding: Tensor, *, strides: tuple[int, ...]) -> VisualFeatures:
    """Returns maps (B * T, C, h, w) as features: of clips `images` (B, T, 3, H, W), maps (B, T, C, h, w)."""
    if images.ndim == 5:
        maps = [feature_map.unflatten(0, tuple(images.shape[:2])) for feature_map in maps]
    return VisualFeatures(maps=tuple(maps), strides=strides, padding=padding)

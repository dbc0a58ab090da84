"""Adapts a visual encoder to a fusion that takes fewer maps than it has."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures


class AdaptedEncoder(nn.Module):
    """The maps of an encoder at some of its strides."""

    def __init__(self, encoder: nn.Module, strides: tuple[int, ...]) -> None:
        """Wraps `encoder`, all of whose own strides include `strides`."""
        super().__init__()
        own = tuple(encoder.strides)  # type: ignore[arg-type]
        self.encoder = encoder
        self.strides = strides
        self.numbers = [own.index(stride) for stride in strides]
        self.channels = tuple(encoder.channels[number] for number in self.numbers)  # type: ignore[index]
        self.train()

    def train(self, mode: bool = True) -> AdaptedEncoder:
        """Sets the training mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if getattr(self.encoder, "frozen", False):
            freeze((self.encoder,))
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W) with padding (B, H, W)."""
        maps = self.encoder(images, padding).maps
        return VisualFeatures(
            maps=tuple(maps[number] for number in self.numbers), strides=self.strides, padding=padding
        )


def adapted(encoder: nn.Module, strides: tuple[int, ...]) -> nn.Module:
    """Returns `encoder` reduced to the maps at `strides`."""
    return AdaptedEncoder(encoder, strides)

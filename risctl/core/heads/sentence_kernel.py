"""Compares pixels with a sentence: CRIS's projector, whose kernel is made of the sentence (CVPR 2022, section 3.4).

The paper writes the product of a pixel's vector and the sentence's; the published code makes it a 3x3 convolution.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.upsampled_conv import UpsampledConv

_KERNEL = 3


class SentenceKernelHead(nn.Module):
    """Upsamples a map fourfold and convolves it with a kernel and a bias that each sentence gives."""

    def __init__(self, channels: int, *, sentence: int) -> None:
        """Builds the head.

        Args:
            channels: Channels of the map, an even number; pixels have half as many.
            sentence: Channels of the sentence.
        """
        super().__init__()
        pixels = channels // 2
        self.ups = nn.Sequential(UpsampledConv(channels, channels), UpsampledConv(channels, pixels))
        self.pixels = nn.Conv2d(pixels, pixels, 1)
        self.kernel = nn.Linear(sentence, pixels * _KERNEL * _KERNEL + 1)

    def forward(self, decoded: Tensor, sentence: Tensor) -> Tensor:
        """Returns logits (B, 4 h, 4 w) of a map (B, C, h, w) and sentences (B, D)."""
        pixels = self.pixels(self.ups(decoded))
        kernel = self.kernel(sentence).to(pixels.dtype)
        batch, channels, height, width = pixels.shape
        logits = functional.conv2d(
            pixels.reshape(1, batch * channels, height, width),
            kernel[:, :-1].reshape(batch, channels, _KERNEL, _KERNEL),
            kernel[:, -1],
            padding=_KERNEL // 2,
            groups=batch,
        )
        return logits[0]

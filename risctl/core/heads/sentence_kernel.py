"""Compares pixels with a sentence: CRIS's projector, whose kernel is made of the sentence (CVPR 2022, section 3.4).

The paper writes the product of a pixel's vector and the sentence's; the published code makes it a 3x3 convolution.
"""

from __future__ import annotations

import torch
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
        pixels = self.ups(decoded)
        parts = self.kernel(sentence)
        kernel = parts[:, :-1].unflatten(1, (-1, _KERNEL, _KERNEL))
        # The 1x1 convolution before it is a part of the kernel: it costs a matrix, not a matrix a pixel.
        joined = torch.einsum("bokl,oi->bikl", kernel, self.pixels.weight[:, :, 0, 0]).to(pixels.dtype)
        batch, channels, height, width = pixels.shape
        if torch.compiler.is_compiling():  # ONNX's convolution has a fixed number of groups
            columns = functional.unfold(pixels, _KERNEL, padding=_KERNEL // 2)
            logits = (joined.flatten(1)[:, None] @ columns).view(1, batch, height, width)
        else:
            logits = functional.conv2d(
                pixels.reshape(1, batch * channels, height, width), joined, padding=_KERNEL // 2, groups=batch
            )
        # Its shift is the same at all pixels, but missing beyond the map.
        shift = torch.einsum("bokl,o->bkl", kernel, self.pixels.bias)[:, None]
        inside = functional.conv2d(shift.new_ones(1, 1, height, width), shift, padding=_KERNEL // 2)
        return logits[0] + inside[0] + parts[:, -1, None, None]

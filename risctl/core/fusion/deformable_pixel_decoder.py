"""Decodes a backbone's maps into mask features by deformable attention (Mask2Former's pixel decoder, as in ReLA).

Source: Cheng et al., "Masked-attention Mask Transformer" (CVPR 2022), section 3.2; the published code of ReLA (CVPR
2023). Deformable attention is plain PyTorch; nothing is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.fusion.deformable_transformer import EncoderLayer, encode_levels
from risctl.core.fusion.sine_position import sine_position_2d

_GROUPS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFeatures:
    """The output of the pixel decoder.

    Attributes:
        mask_features: (B, M, H/4, W/4).
        levels: The encoded maps (B, C, h, w), coarsest first.
    """

    mask_features: Tensor
    levels: tuple[Tensor, ...]


class DeformablePixelDecoder(nn.Module):
    """Deformable encoder over the three coarser maps, then one step of a feature pyramid down to the finest map."""

    def __init__(
        self,
        inputs: Sequence[int],
        hidden: int,
        *,
        heads: int = 8,
        layers: int = 6,
        feed_forward: int = 1024,
        points: int = 4,
        mask_channels: int = 256,
    ) -> None:
        """Builds the decoder.

        Args:
            inputs: Channels of the backbone's four maps, finest first.
            hidden: Width C of the encoder, a multiple of 32.
            heads: Attention heads.
            layers: Encoder layers.
            feed_forward: Inner width of their feed-forward networks.
            points: Sampled points per head and level.
            mask_channels: Channels M of the mask features.
        """
        super().__init__()
        finest, *coarser = inputs
        self.hidden = hidden
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.GroupNorm(_GROUPS, hidden))
            for channels in reversed(coarser)
        )
        self.encoder = nn.ModuleList(
            EncoderLayer(
                hidden, heads=heads, levels=len(coarser), points=points, feed_forward=feed_forward, dropout=0.0
            )
            for _ in range(layers)
        )
        self.level = nn.Parameter(torch.randn(len(coarser), hidden))
        self.lateral = nn.Sequential(nn.Conv2d(finest, hidden, 1, bias=False), nn.GroupNorm(_GROUPS, hidden))
        self.out = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, hidden), nn.ReLU()
        )
        self.mask_features = nn.Conv2d(hidden, mask_channels, 1)
        self._initialise()

    def forward(self, maps: Sequence[Tensor]) -> PixelFeatures:
        """Decodes maps (B, C_i, H_i, W_i) at strides 4, 8, 16 and 32, finest first, in float32, as published.

        No cell counts as padding.
        """
        with torch.autocast(maps[0].device.type, enabled=False):
            finest, *coarser = (one.float() for one in maps)
            sources = [project(one) for project, one in zip(self.projections, reversed(coarser), strict=True)]
            paddings = [one.new_zeros((one.shape[0], *one.shape[2:]), dtype=torch.bool) for one in sources]
            positions = [sine_position_2d(padding, channels=self.hidden, shift=0.0) for padding in paddings]
            levels = tuple(encode_levels(self.encoder, self.level, sources, paddings, positions).maps())
            upsampled = functional.interpolate(levels[-1], size=finest.shape[2:], mode="bilinear", align_corners=False)
            mask_features = self.mask_features(self.out(self.lateral(finest) + upsampled))
        return PixelFeatures(mask_features=mask_features, levels=levels)

    def _initialise(self) -> None:
        for name, parameter in self.encoder.named_parameters():
            if parameter.ndim > 1 and ".attention." not in name:
                nn.init.xavier_uniform_(parameter)
        for layer in self.modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            projects = any(layer is one for part in self.projections for one in part.modules())
            if projects:
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.kaiming_uniform_(layer.weight, a=1)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

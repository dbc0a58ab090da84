"""Decodes 10 x 10 regions into one mask and the answer "none": ReLA's region-image and region-language attention.

Source: Liu et al., "GRES: Generalized Referring Expression Segmentation" (CVPR 2023), section 4; published code
henghuiding/ReLA, 3ca9551. Where the code departs from the paper: each region has two scores, not one; the scores
of all regions sum the regions' filters into one per class; language attention acts once, in the first layer, weighed by
a learned gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.fusion.deformable_pixel_decoder import PixelFeatures
from risctl.core.fusion.deformable_transformer import FeedForward
from risctl.core.fusion.sine_position import sine_position_2d
from risctl.core.heads.dynamic_mask import MLP


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionOutput:
    """The output of the region decoder, for B pairs and R regions, row by row of the grid.

    Attributes:
        mask_logits: (B, 2, H/4, W/4): background, target.
        minimap: (B, R, 2): how each region counts for background and target.
        no_target: (B, 2): logits of "there is a target" and "there is none".
        filters: (B, R, M): each region's filter of the mask features, whose product is the region's own mask.
    """

    mask_logits: Tensor
    minimap: Tensor
    no_target: Tensor
    filters: Tensor


class ResidualAttention(nn.Module):
    """Multi-head attention, residual and layer norm."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = nn.LayerNorm(channels)
        nn.init.xavier_uniform_(self.attention.out_proj.weight)

    def forward(
        self, regions: Tensor, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None = None
    ) -> Tensor:
        """Maps regions (B, R, C) to the same shape.

        Args:
            regions: What the attention is added to.
            query: (B, R, C).
            key: (B, N, C).
            value: (B, N, C).
            hidden: Bool (B, R, N), True where a region does not attend to a key; None: it attends to all.
        """
        if hidden is not None:
            hidden = hidden.repeat_interleave(self.attention.num_heads, dim=0)
        seen = self.attention(query, key, value, attn_mask=hidden, need_weights=False)[0]
        return self.norm(regions + seen)


class RegionDecoder(nn.Module):
    """Layers of masked region-image attention, region-region attention and feed-forward, and the heads.

    Each layer reads one level, coarsest first, and hides from a region the cells outside the mask that the heads gave
    it before. The heads' filters are applied to mask features that were brought to the level's size, which gives the
    same as resizing the masks, 64 to 4 times cheaper; the mask itself is computed once, at the end.
    """

    def __init__(
        self,
        hidden: int,
        *,
        words: int,
        regions: int = 100,
        levels: int = 3,
        layers: int = 9,
        heads: int = 8,
        feed_forward: int = 2048,
        mask_channels: int = 256,
        language_weight: float = 0.1,
    ) -> None:
        """Builds the decoder.

        Args:
            hidden: Width C of regions and levels.
            words: Width of the words.
            regions: Number R of regions.
            levels: Number of levels.
            layers: Number of layers.
            heads: Attention heads.
            feed_forward: Inner width of the feed-forward networks.
            mask_channels: Channels M of the mask features.
            language_weight: Constant factor of the region-language attention.
        """
        super().__init__()
        self.hidden = hidden
        self.language_weight = language_weight
        self.query = nn.Parameter(torch.randn(regions, hidden))
        self.position = nn.Parameter(torch.randn(regions, hidden))
        self.level = nn.Parameter(torch.randn(levels, hidden))
        self.image_attention = nn.ModuleList(ResidualAttention(hidden, heads=heads) for _ in range(layers))
        self.region_attention = nn.ModuleList(ResidualAttention(hidden, heads=heads) for _ in range(layers))
        self.feed_forward = nn.ModuleList(FeedForward(hidden, feed_forward, dropout=0.0) for _ in range(layers))
        for parameter in self.feed_forward.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        # As published, the language is without effect at first.
        self.words = nn.Linear(words, hidden, bias=False)
        nn.init.zeros_(self.words.weight)
        self.language_gate = nn.Parameter(torch.zeros(()))
        self.language_attention = ResidualAttention(hidden, heads=heads)
        self.norm = nn.LayerNorm(hidden)
        self.filters = MLP(hidden, hidden, hidden, mask_channels)
        self.minimap = nn.Linear(hidden, 2)
        self.no_target = MLP(hidden, hidden, 2)

    def forward(self, pixels: PixelFeatures, words: Tensor) -> RegionOutput:
        """Decodes the regions of B images for B expressions.

        Args:
            pixels: What the pixel decoder gave.
            words: (B, L, D). As published, no word is masked: padding is attended to as well.
        """
        values = [one.flatten(2).transpose(1, 2) + level for one, level in zip(pixels.levels, self.level, strict=True)]
        keys = [value + position for value, position in zip(values, self._positions(pixels.levels), strict=True)]
        features = [_resized(pixels.mask_features, one) for one in pixels.levels]
        batch = words.shape[0]
        regions = self.query[None].expand(batch, -1, -1)
        position = self.position[None].expand(batch, -1, -1)
        for number, (image, among, feed_forward) in enumerate(
            zip(self.image_attention, self.region_attention, self.feed_forward, strict=True)
        ):
            level = number % len(values)
            hidden = self.outside(regions, features[level])
            regions = image(regions, regions + position, keys[level], values[level], hidden)
            if number == 0:
                read = self.words(words)
                answer = self.language_attention(regions, regions, read, read)
                regions = regions + self.language_weight * self.language_gate.sigmoid() * answer
            placed = regions + position
            regions = feed_forward(among(regions, placed, placed, regions))
        return self.heads(regions, pixels.mask_features)

    def heads(self, regions: Tensor, mask_features: Tensor) -> RegionOutput:
        """Returns the heads' output for regions (B, R, C) and mask features (B, M, h, w)."""
        states = self.norm(regions)
        filters, minimap = self.filters(states), self.minimap(states)
        # The weighted sum of the filters first: two products with the mask features in place of one a region.
        classes = torch.einsum("brk,brm->bkm", minimap, filters)
        return RegionOutput(
            mask_logits=torch.einsum("bkm,bmhw->bkhw", classes, mask_features),
            minimap=minimap,
            no_target=self.no_target(states).mean(1),
            filters=filters,
        )

    def outside(self, regions: Tensor, features: Tensor) -> Tensor:
        """Returns which cells each region does not attend to, bool (B, R, N): those outside its mask.

        A region whose mask is empty attends to all cells.

        Args:
            regions: (B, R, C).
            features: Mask features at the level's size, (B, M, N).
        """
        outside = (self.filters(self.norm(regions)) @ features).sigmoid() < 0.5
        return outside & ~outside.all(dim=2, keepdim=True)

    def _positions(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Returns the position encodings (1, N, C) of the cells of each level."""
        paddings = [one.new_zeros((1, *one.shape[2:]), dtype=torch.bool) for one in levels]
        return [
            sine_position_2d(padding, channels=self.hidden, shift=0.0).flatten(2).transpose(1, 2)
            for padding in paddings
        ]


def _resized(mask_features: Tensor, level: Tensor) -> Tensor:
    """Returns mask features (B, M, N) at a level's size, as masks are resized to it."""
    size = level.shape[2:]
    return functional.interpolate(mask_features.detach(), size=size, mode="bilinear", align_corners=False).flatten(2)

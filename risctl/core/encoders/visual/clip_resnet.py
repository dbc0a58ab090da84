"""Implements OpenAI's modified ResNet with attention pooling (CLIP, 2021, section 2.4), under the checkpoint's names.

Three stem convolutions with average pooling, average pooling before each strided convolution, and a pool whose query is
the mean of all positions. Hugging Face has no such network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bottleneck(nn.Module):
    """1x1 convolution, 3x3, average pooling where strided, 1x1; expands fourfold."""

    def __init__(self, inputs: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.stride = stride
        self.downsample: nn.Sequential | None = None
        if stride > 1 or inputs != 4 * width:
            parts = [("0", nn.Conv2d(inputs, 4 * width, 1, bias=False)), ("1", nn.BatchNorm2d(4 * width))]
            self.downsample = nn.Sequential(OrderedDict(parts))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, 4 width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self._pooled(y)))
        if self.downsample is not None:
            x = self.downsample(self._pooled(x))
        return functional.relu(y + x)

    def _pooled(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, self.stride) if self.stride > 1 else x


class AttentionPool(nn.Module):
    """Attention pooling: one query, the mean of all cells, attends to itself and to the cells."""

    def __init__(self, grid: int, channels: int, *, heads: int, width: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(grid * grid + 1, channels) / channels**0.5)
        self.k_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, width)
        self.heads = heads

    def forward(self, maps: Tensor, bias: Tensor | None = None) -> Tensor:
        """Pools maps (N, C, grid, grid) to (N, width); bias (N, 1 + cells) is added to the attention logits."""
        cells = maps.flatten(2).transpose(1, 2)
        tokens = torch.cat([cells.mean(1, keepdim=True), cells], dim=1) + self.positional_embedding

        def split(values: Tensor) -> Tensor:
            return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        joined = functional.scaled_dot_product_attention(
            split(self.q_proj(tokens[:, :1])),
            split(self.k_proj(tokens)),
            split(self.v_proj(tokens)),
            None if bias is None else bias[:, None, None],
        )
        return self.c_proj(joined.transpose(1, 2).flatten(2))[:, 0]

    def spatial(self, maps: Tensor) -> Tensor:
        """Attends from every cell to all cells, instead of from their mean, and so keeps the map (CRIS, CVPR 2022).

        The mean's position is not used; those of the cells are resized bicubically to the map.

        Args:
            maps: (N, C, h, w).

        Returns:
            (N, width, h, w).
        """
        height, width = maps.shape[-2:]
        grid = round((len(self.positional_embedding) - 1) ** 0.5)
        positions = self.positional_embedding[1:].T.unflatten(1, (grid, grid))[None]
        resized = functional.interpolate(positions, size=(height, width), mode="bicubic", align_corners=False)
        tokens = (maps + resized.to(maps.dtype)).flatten(2).transpose(1, 2)
        query, key, value = (
            project(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        joined = functional.scaled_dot_product_attention(query, key, value)
        return self.c_proj(joined.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, (height, width))


class CLIPResNet(nn.Module):
    """OpenAI's ResNet.

    Attributes:
        resolution: Side of the input in pixels.
        grid: Cells per side of the last map.
        width: Channels of the embedding.
    """

    def __init__(self, layers: Sequence[int], *, channels: int, width: int, heads: int, resolution: int = 224) -> None:
        """Builds it with random weights.

        Args:
            layers: Blocks of the four stages.
            channels: Width of the first stage, 64 in RN50.
            width: Channels of the embedding.
            heads: Attention heads of the pooling.
            resolution: Side of the input in pixels.
        """
        super().__init__()
        self.resolution = resolution
        self.grid = resolution // 32
        self.width = width
        self.conv1 = nn.Conv2d(3, channels // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels // 2)
        self.conv2 = nn.Conv2d(channels // 2, channels // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels // 2)
        self.conv3 = nn.Conv2d(channels // 2, channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        inputs = channels
        for number, blocks in enumerate(layers, start=1):
            inner = channels * 2 ** (number - 1)
            stage = [Bottleneck(inputs, inner, stride=1 if number == 1 else 2)]
            stage += [Bottleneck(4 * inner, inner) for _ in range(blocks - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*stage))
            inputs = 4 * inner
        self.attnpool = AttentionPool(self.grid, inputs, heads=heads, width=width)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.conv1.weight.dtype

    def features(self, images: Tensor) -> Tensor:
        """Returns the ordinary CLIP features (N, width), not normalised, of images (N, 3, S, S)."""
        return self.attnpool(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """Returns the last map (N, C, grid, grid)."""
        return self.stages(images)[-1]

    def stages(self, images: Tensor) -> list[Tensor]:
        """Returns the maps of the four stages, at strides 4, 8, 16 and 32, of images (N, 3, H, W) of any size."""
        x = images.to(self.dtype)
        for number in (1, 2, 3):
            x = functional.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        x = functional.avg_pool2d(x, 2)
        found = []
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
            found.append(x)
        return found

    def masked(self, maps: Tensor, masks: Tensor) -> Tensor:
        """Returns features (N, width), not normalised, of one map (1, C, grid, grid) through masks (N, grid, grid).

        The map is first normalised over its channels at each cell; cells outside a mask enter the pooled mean as zeros.
        """
        unit = maps / maps.norm(dim=1, keepdim=True)
        return self.attnpool(unit * masks[:, None].to(unit.dtype))

    def region_tokens(self, images: Tensor, masks: Tensor) -> Tensor:
        """Returns features (N, width) of one image, pooled over each region of masks (N, grid, grid) only."""
        maps = self.maps(images).expand(len(masks), -1, -1, -1)
        outside = torch.where(masks.flatten(1), 0.0, -100.0)
        bias = torch.cat([outside.new_zeros((len(masks), 1)), outside], dim=1)
        return self.attnpool(maps, bias.to(maps.dtype))

    def dense(self, images: Tensor) -> Tensor:
        """Returns an embedding per cell, (N, width, grid, grid): v_proj, then c_proj (the paper's score map)."""
        cells = self.maps(images).flatten(2).transpose(1, 2)
        found = self.attnpool.c_proj(self.attnpool.v_proj(cells))
        return found.transpose(1, 2).reshape(images.shape[0], -1, self.grid, self.grid)

    def activations(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the last map (N, C, grid, grid) and its features, which Grad-CAM differentiates by it."""
        maps = self.maps(images).detach().requires_grad_()
        return maps, self.attnpool(maps)

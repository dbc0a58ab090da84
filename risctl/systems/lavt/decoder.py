"""Decodes the fused maps of LAVT's four stages, coarsest first, as two logits a cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class LAVTDecoder(nn.Module):
    """Joins each finer map to what was decoded so far: upsampled, concatenated, two 3x3 convolutions (section 3.3)."""

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        """Builds the decoder.

        Args:
            channels: Channels of the maps, finest first.
            width: Channels of its convolutions.
        """
        super().__init__()
        *finer, coarsest = channels
        inputs = [coarsest, *(width for _ in finer[1:])]
        self.joins = nn.ModuleList(
            Join(before, own, width) for before, own in zip(inputs, reversed(finer), strict=True)
        )
        self.out = nn.Conv2d(width, 2, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i), finest first, become logits of background and object, (B, 2, H_0, W_0)."""
        *finer, x = maps
        for join, own in zip(self.joins, reversed(finer), strict=True):
            x = join(x, own)
        logits: Tensor = self.out(x)
        return logits


class Join(nn.Sequential):
    """Two 3x3 convolutions with batch norm and ReLU over what was decoded so far and a finer map.

    In evaluation the norms are part of the convolutions, and the first convolution of the upsampled map is computed
    before it is upsampled, at a third of the products (`convolved_upsampled`).
    """

    def __init__(self, before: int, own: int, width: int) -> None:
        """Builds the layers; `before` and `own` are the channels of the two maps, `width` those of the output."""
        layers: list[nn.Module] = []
        for channels in (before + own, width):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        super().__init__(*layers)
        self.before = before

    def forward(self, x: Tensor, own: Tensor) -> Tensor:  # type: ignore[override]
        """Joins what was decoded, (B, before, h, w), and a map (B, own, H, W) to (B, width, H, W)."""
        size = (own.shape[2], own.shape[3])
        if self.training:
            return super().forward(torch.cat([upsampled(x, size), own], dim=1))
        weight, bias = _with_norm(self[0], self[1])
        of_before, of_own = weight[:, : self.before], weight[:, self.before :]
        larger = x.shape[2] < size[0] or x.shape[3] < size[1]
        first = convolved_upsampled(x, of_before, size) if larger else functional.conv2d(x, of_before, padding=1)
        inner = (functional.conv2d(own, of_own, bias, padding=1) + first).relu_()
        weight, bias = _with_norm(self[3], self[4])
        return functional.conv2d(inner, weight, bias, padding=1).relu_()


def upsampled(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes (B, C, h, w) bilinearly, corners on corners, to `size` if that is larger in any direction."""
    height, width = size
    if x.shape[-2] >= height and x.shape[-1] >= width:
        return x
    return functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)


def convolved_upsampled(x: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the 3x3 convolution, padded by 1, of a map that is resized bilinearly, corners on corners.

    Resizing mixes cells and the convolution's weights mix channels, so that their order can be exchanged: each of the
    nine weights is applied to the small map; what it gives is resized and shifted by matrices over rows and columns.
    Up to rounding it is `conv2d(interpolate(x))`, with a quarter of the products over channels for twice the size.

    Args:
        x: The map (B, C, h, w).
        weight: (O, C, 3, 3).
        size: Height and width, H and W, of the resized map.

    Returns:
        (B, O, H, W), channels last in memory.
    """
    height, width = size
    batch, _, rows, columns = x.shape
    cells = x.permute(0, 2, 3, 1)
    down = _shifted(rows, height, like=x)  # (3, H, h)
    across = _shifted(columns, width, like=x).permute(1, 2, 0).flatten(1)  # (W, 3 w), columns by shifts
    found: Tensor | None = None
    for number in range(3):
        of_row = weight[:, :, number].permute(2, 0, 1).flatten(0, 1)  # (3 O, C), shifts by channels
        products = functional.linear(cells, of_row).view(batch, rows, 3 * columns, -1)
        moved = (across @ products).flatten(2)  # (B, h, W O)
        placed = down[number] @ moved
        found = placed if found is None else found + placed
    assert found is not None
    return found.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _shifted(old: int, new: int, *, like: Tensor) -> Tensor:
    """Returns matrices (3, new, old) that resize `old` cells to `new` and show the cell before, at and after each."""
    cells = torch.eye(old, dtype=torch.float32, device=like.device)[None]
    resized = functional.interpolate(cells, size=new, mode="linear", align_corners=True)[0]
    padded = functional.pad(resized, (1, 1))
    return torch.stack([padded[:, shift : shift + new].T for shift in range(3)]).to(like.dtype)


def _with_norm(convolution: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Returns the weight and bias of a convolution without bias and the batch norm after it, in evaluation mode."""
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale

"""Losses of masks for which only the box is known: its projections, and that neighbours of like colour belong together.

Tian et al., "BoxInst: High-Performance Instance Segmentation with Box Annotations" (2021), here on the grid of a box
instead of the whole image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_STEP = 2  # distance of two neighbours, in cells: the paper's dilation
_OFFSETS = ((0, _STEP), (_STEP, 0), (_STEP, _STEP), (_STEP, -_STEP))  # each pair of the 8 neighbours once
_COLOUR_SCALE = 2.0  # theta of the paper's equation 7
_ALIKE = 0.3  # tau of equation 8: the similarity from which a pair counts
# Linear sRGB to CIE XYZ over the white point D65.
_XYZ = ((0.4339, 0.3762, 0.1899), (0.2126, 0.7152, 0.0722), (0.0178, 0.1095, 0.8727))


def box_mask_loss(squares: Tensor, inside: Tensor, colours: Tensor) -> Tensor:
    """Returns the sum of the projection and the pairwise loss.

    Args:
        squares: Mask logits (M, G, G).
        inside: (M, G, G) in [0, 1], 1 within the box: a grid reaches beyond it.
        colours: (M, 3, G, G), the colour of each cell in CIE Lab.
    """
    return projection_loss(squares, inside) + pairwise_loss(squares, inside, colours)


def projection_loss(squares: Tensor, inside: Tensor) -> Tensor:
    """Returns the Dice losses of the mask's projections to both axes, which a mask has in common with its box."""
    probabilities = squares.sigmoid()
    terms = []
    for axis in (1, 2):
        own, box = probabilities.amax(axis), inside.amax(axis)
        shared = 2 * (own * box).sum(1)
        terms.append(1 - shared / (own.square().sum(1) + box.square().sum(1)).clamp(min=1e-5))
    return torch.stack(terms).sum(0).mean()


def pairwise_loss(squares: Tensor, inside: Tensor, colours: Tensor) -> Tensor:
    """Returns the mean over neighbours of like colour of -log P(both are in the mask, or neither is).

    Pairs with no cell within the box do not count.
    """
    total, weights = squares.new_zeros(()), squares.new_zeros(())
    on, off = functional.logsigmoid(squares), functional.logsigmoid(-squares)
    for down, across in _OFFSETS:
        here, there = _paired(on, down, across), _paired(off, down, across)
        same = torch.logaddexp(here[0] + here[1], there[0] + there[1])
        distance = torch.linalg.vector_norm(torch.sub(*_paired(colours, down, across)), dim=1)
        alike = (-distance / _COLOUR_SCALE).exp() >= _ALIKE
        weight = alike * torch.maximum(*_paired(inside, down, across)).round()
        total, weights = total - (same * weight).sum(), weights + weight.sum()
    return total / weights.clamp(min=1)


def rgb_to_lab(colours: Tensor) -> Tensor:
    """Returns colours (..., 3, H, W), sRGB in [0, 1], in CIE Lab: L from 0 to 100."""
    linear = torch.where(colours > 0.04045, ((colours + 0.055) / 1.055).clamp(min=0) ** 2.4, colours / 12.92)
    xyz = torch.einsum("ij,...jhw->...ihw", colours.new_tensor(_XYZ), linear)
    curved = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = curved.unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -3)


def _paired(values: Tensor, down: int, across: int) -> tuple[Tensor, Tensor]:
    """Returns the cells with a neighbour `down` rows below and `across` columns to the right, and those neighbours."""
    height, width = values.shape[-2:]
    left, right = max(-across, 0), min(width - across, width)
    return (
        values[..., : height - down, left:right],
        values[..., down:, left + across : right + across],
    )

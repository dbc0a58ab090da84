"""Multi-scale deformable attention (Zhu et al., "Deformable DETR", ICLR 2021, section 4.1) in plain PyTorch.

Each query samples a few points per head and level at predicted offsets from its reference point. `grid_sample` samples
exactly as the published CUDA operator does (bilinear, zeros outside). Without gradients the same sum is computed over
whole vectors by `embedding_bag`, in half the time on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Shapes = Sequence[tuple[int, int]]
"""Height and width of each map."""

_CHUNK = 4096
"""Queries whose points are gathered at once: intermediate tensors take four times the memory of the rest."""


def sample_points(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Returns the weighted sums of sampled values.

    Args:
        value: (N, S, heads, D), the cells of all levels one after the other.
        shapes: Height and width of each level.
        locations: (N, Q, heads, levels, points, 2), x and y in [0, 1].
        weights: (N, Q, heads, levels, points).

    Returns:
        (N, Q, heads * D).
    """
    batch, _, heads, depth = value.shape
    queries = locations.shape[1]
    grids = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (levels, N * heads, Q, points, 2)
    shares = weights.permute(3, 0, 2, 1, 4).flatten(1, 2)[:, :, None]  # (levels, N * heads, 1, Q, points)
    total = value.new_zeros(batch * heads, depth, queries)
    for level, ((height, width), cells) in enumerate(
        zip(shapes, value.split([height * width for height, width in shapes], dim=1), strict=True)
    ):
        maps = cells.permute(0, 2, 3, 1).reshape(batch * heads, depth, height, width)
        read = functional.grid_sample(maps, grids[level], mode="bilinear", padding_mode="zeros", align_corners=False)
        total = total + (read * shares[level]).sum(-1)
    return total.view(batch, heads * depth, queries).transpose(1, 2)


def _extents(shapes: Shapes, *, like: Tensor) -> Tensor:
    """Returns the width and height of each level, (levels, 2), of the kind of `like`."""
    if torch.compiler.is_compiling():  # sides may be unknown there, which only operations take
        sides = [like.new_full((), side) for height, width in shapes for side in (width, height)]
        return torch.stack(sides).view(-1, 2)
    return torch.tensor([(width, height) for height, width in shapes], device=like.device).to(like.dtype)


def gather_points(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Computes `sample_points` without a gradient.

    A point is the weighted sum of the four cells around it, and a query that of its points; each head's part of a query
    is therefore one bag of cells. Maps get a border of zeros for points outside.

    Args:
        value: (N, S, heads, D), the cells of all levels one after the other.
        shapes: Height and width of each level.
        locations: (N, Q, heads, levels, points, 2), x and y in [0, 1].
        weights: (N, Q, heads, levels, points).

    Returns:
        (N, Q, heads * D).
    """
    batch, _, heads, depth = value.shape
    maps = [
        functional.pad(cells.unflatten(1, shape).flatten(3), (0, 0, 1, 1, 1, 1)).flatten(1, 2)
        for cells, shape in zip(value.split([height * width for height, width in shapes], dim=1), shapes, strict=True)
    ]
    counts = [feature_map.shape[1] for feature_map in maps]
    widths = [width + 2 for _, width in shapes]
    # The corners of a point on the far edge of the last map lie beyond its border; their weights are zero.
    table = functional.pad(torch.cat(maps, dim=1).flatten(0, 1), (0, 0, 0, max(widths) + 2)).view(-1, depth)
    int32: dict[str, Any] = {"dtype": torch.int32, "device": value.device}
    starts = torch.tensor([sum(counts[:level]) + width + 1 for level, width in enumerate(widths)], **int32)[:, None]
    starts = starts + (torch.arange(batch, **int32) * sum(counts))[:, None, None, None, None]
    places = _TableLayout(
        extents=torch.tensor([(width, height) for height, width in shapes], dtype=locations.dtype)[:, None],
        widths=torch.tensor(widths, **int32)[:, None],
        starts=starts,
        heads=torch.arange(heads, **int32)[:, None, None],
    )
    step = max(1, _CHUNK // batch)
    parts = zip(locations.split(step, dim=1), weights.split(step, dim=1), strict=True)
    return torch.cat([_gathered(table, places, at, share) for at, share in parts], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TableLayout:
    """Layout of the cells in a table.

    Attributes:
        extents: Width and height of each level.
        widths: Width of each level with its border.
        starts: Row of the first cell of each frame and level.
        heads: Index of each head.
    """

    extents: Tensor
    widths: Tensor
    starts: Tensor
    heads: Tensor


def _gathered(table: Tensor, places: _TableLayout, locations: Tensor, weights: Tensor) -> Tensor:
    """Returns (N, Q, heads * D) for the points of some queries."""
    batch, queries, heads = weights.shape[:3]
    place = (locations * places.extents).sub_(0.5)
    place = torch.minimum(place, places.extents).clamp_(min=-1)
    corner = place.floor()
    x, y = place.sub_(corner).unbind(-1)
    corner = corner.int()
    row = (corner[..., 1] * places.widths + corner[..., 0] + places.starts) * heads + places.heads
    below = y * weights
    above = weights - below
    right_above, right_below = above * x, below * x
    beneath = places.widths * heads
    total = table.new_zeros(batch * queries * heads, table.shape[1])
    for step, share in (
        (0, above - right_above),
        (heads, right_above),
        (beneath, below - right_below),
        (beneath + heads, right_below),
    ):
        rows, shares = (one.reshape(len(total), -1) for one in (row + step, share))
        total += functional.embedding_bag(rows, table, per_sample_weights=shares, mode="sum")
    return total.view(batch, queries, -1)


class DeformableAttention(nn.Module):
    """Queries sample `points` points per head and level around their reference points."""

    def __init__(self, channels: int, *, heads: int = 8, levels: int = 4, points: int = 4) -> None:
        """Builds the attention.

        Args:
            channels: Width C of queries and memory.
            heads: Attention heads.
            levels: Number of maps.
            points: Sampled points per head and level.
        """
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(channels, heads * levels * points * 2)
        self.weights = nn.Linear(channels, heads * levels * points)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self._initialise()

    def forward(self, queries: Tensor, references: Tensor, memory: Tensor, shapes: Shapes, padding: Tensor) -> Tensor:
        """Maps queries to the same shape.

        Args:
            queries: (N, Q, C).
            references: (N, Q, levels, 2) centres or (N, Q, levels, 4) boxes (cx, cy, w, h), as
                fractions of each padded map.
            memory: (N, S, C), the cells of all levels one after the other.
            shapes: Height and width of each level.
            padding: (N, S) bool, True outside the image.

        Returns:
            (N, Q, C).
        """
        value = self.value(memory).masked_fill(padding[..., None], 0.0).unflatten(2, (self.heads, -1))
        offsets = self.offsets(queries).unflatten(2, (self.heads, self.levels, self.points, 2))
        weights = self.weights(queries).unflatten(2, (self.heads, -1)).softmax(-1)
        centres = references[:, :, None, :, None, :2]
        if references.shape[-1] == 4:
            locations = centres + offsets / self.points * references[:, :, None, :, None, 2:] * 0.5
        else:
            locations = centres + offsets / _extents(shapes, like=offsets)[:, None, :]
        weights = weights.unflatten(3, (self.levels, self.points))
        # A graph for other engines knows no number of images, by which the gathering is cut.
        plain = torch.compiler.is_compiling() or torch.is_grad_enabled()
        plain = plain or value.dtype != torch.float32 or value.device.type != "cpu"
        read = sample_points if plain else gather_points
        return self.out(read(value, shapes, locations, weights))

    def _initialise(self) -> None:
        """Initialises as published: each head points in its own direction, each point a step farther."""
        nn.init.zeros_(self.offsets.weight)
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        way = torch.stack([angles.cos(), angles.sin()], dim=-1)
        way = way / way.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        bias = way[:, None, None, :] * steps[None, None, :, None]  # (heads, 1, points, 2)
        with torch.no_grad():
            self.offsets.bias.copy_(bias.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

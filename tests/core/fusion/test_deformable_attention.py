"""Deformable attention against its equation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from risctl.core.fusion.deformable_attention import DeformableAttention, gather_points, sample_points


def bilinear(cells: Tensor, shape: tuple[int, int], x: float, y: float) -> Tensor:
    """Samples maps (h * w, D) at x, y in [0, 1] by hand: cell centres at half steps, zeros outside."""
    height, width = shape
    column, row = x * width - 0.5, y * height - 0.5
    total = torch.zeros(cells.shape[1])
    for down in (0, 1):
        for right in (0, 1):
            i, j = math.floor(row) + down, math.floor(column) + right
            if 0 <= i < height and 0 <= j < width:
                share = (1 - abs(row - i)) * (1 - abs(column - j))
                total += share * cells[i * width + j]
    return total


def test_sampled_points_follow_the_equation() -> None:
    torch.manual_seed(0)
    shapes = ((3, 5), (2, 2))
    value = torch.randn(2, 19, 2, 4)
    locations = torch.rand(2, 3, 2, 2, 3, 2) * 1.4 - 0.2
    weights = torch.rand(2, 3, 2, 2, 3)
    found = sample_points(value, shapes, locations, weights)
    for batch in range(2):
        for query in range(3):
            for head in range(2):
                total = torch.zeros(4)
                for level, (start, shape) in enumerate(((0, shapes[0]), (15, shapes[1]))):
                    cells = value[batch, start : start + shape[0] * shape[1], head]
                    for point in range(3):
                        x, y = locations[batch, query, head, level, point].tolist()
                        total += weights[batch, query, head, level, point] * bilinear(cells, shape, x, y)
                assert torch.allclose(found[batch, query, 4 * head : 4 * head + 4], total, atol=1e-5)


def test_deformable_attention_is_initialised_as_published() -> None:
    attention = DeformableAttention(16, heads=4, levels=2, points=2)
    bias = attention.offsets.bias.view(4, 2, 2, 2)
    expected = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    for head, way in enumerate(expected):
        assert torch.allclose(bias[head, :, 0], torch.tensor(way).float().expand(2, 2), atol=1e-6)
        assert torch.allclose(bias[head, :, 1], 2 * bias[head, :, 0])


@pytest.mark.parametrize("spread", [0.2, 1.0, 40.0])
def test_gathered_points_equal_sampled_ones(spread: float) -> None:
    """Within the maps, on their edges, and far outside."""
    torch.manual_seed(3)
    shapes = [(5, 7), (3, 4), (2, 2), (1, 1)]
    cells = sum(height * width for height, width in shapes)
    value = torch.randn(2, cells, 3, 4)
    locations = 0.5 + spread * (torch.rand(2, 9, 3, 4, 5, 2) - 0.5)
    edges = torch.tensor([-0.01, 0.0, 0.5, 1.0, 1.2])
    locations[:, 0, ..., 0], locations[:, 1, ..., 1], locations[:, 2] = edges, edges, edges[:, None]
    weights = torch.rand(2, 9, 3, 4, 5)
    expected = sample_points(value, shapes, locations, weights)
    found = gather_points(value, shapes, locations.clone(), weights)
    assert found.shape == expected.shape == (2, 9, 12)
    assert torch.allclose(found, expected, atol=1e-5)


def test_attention_is_the_same_with_and_without_a_gradient() -> None:
    torch.manual_seed(4)
    module = DeformableAttention(16, heads=2, levels=2, points=3)
    torch.nn.init.normal_(module.offsets.weight, std=0.3)
    shapes = [(4, 6), (2, 3)]
    memory, queries = torch.randn(2, 30, 16), torch.randn(2, 5, 16)
    padding = torch.zeros(2, 30, dtype=torch.bool)
    padding[1, 20:24] = True
    references = torch.rand(2, 5, 2, 4)
    with torch.no_grad():
        without = module(queries, references, memory, shapes, padding)
    assert torch.allclose(without, module(queries, references, memory, shapes, padding), atol=1e-5)

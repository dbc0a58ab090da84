"""The detection head: boxes from distributions of distances, at cell centres."""

from __future__ import annotations

import pytest
import torch

from risctl.core.heads.detection import BINS, CellPredictions, DetectionHead


def cells_for(side: float) -> CellPredictions:
    """Returns one cell of stride 8 at (20, 20) whose four distances are `side` strides."""
    sides = torch.full((1, 1, 4, BINS), -50.0)
    sides[..., int(side)] = 0
    if side % 1:
        sides[..., int(side) + 1] = 0
    return CellPredictions(
        scores=torch.zeros(1, 1, 3), sides=sides, centres=torch.tensor([[20.0, 20.0]]), strides=torch.tensor([8.0])
    )


def test_a_box_is_the_mean_of_its_distance_distributions() -> None:
    assert cells_for(2).boxes()[0, 0].tolist() == pytest.approx([4, 4, 36, 36])
    assert cells_for(1.5).boxes()[0, 0].tolist() == pytest.approx([8, 8, 32, 32])


def test_cell_centres_lie_at_half_strides() -> None:
    head = DetectionHead(8, classes=3, strides=(8, 16))
    cells = head([torch.rand(1, 8, 2, 3), torch.rand(1, 8, 1, 2)])
    assert cells.centres.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8]]
    assert cells.scores.shape == (1, 8, 3) and cells.sides.shape == (1, 8, 4, BINS)


def test_cell_centres_may_lie_at_the_corners() -> None:
    head = DetectionHead(8, classes=3, strides=(8,), kernel=5, cell_centre=0.0)
    cells = head([torch.rand(1, 8, 2, 2)])
    assert cells.centres.tolist() == [[0, 0], [8, 0], [0, 8], [8, 8]]

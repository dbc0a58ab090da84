"""The penalty of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from risctl.core.losses.weight_penalty import convolution_penalty


def test_penalty_counts_convolutions_that_train() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 1), nn.Linear(4, 4), nn.BatchNorm2d(2))
    layers[1].weight.requires_grad_(False)
    penalty = convolution_penalty(layers, 0.25)
    assert penalty.item() == pytest.approx(0.25 * layers[0].weight.square().sum().item(), rel=1e-6)
    penalty.backward()
    assert torch.allclose(layers[0].weight.grad, 0.5 * layers[0].weight)
    assert layers[0].bias.grad is None
    assert convolution_penalty(nn.Linear(1, 1), 1.0).item() == 0

"""Sine positions of maps with padding."""

from __future__ import annotations

import math

import torch

from risctl.core.fusion.sine_position import sine_position_1d, sine_position_2d


def test_positions_skip_padding() -> None:
    padding = torch.ones(1, 6, 8, dtype=torch.bool)
    padding[:, :4, :5] = False
    padded = sine_position_2d(padding, channels=16)[:, :, :4, :5]
    alone = sine_position_2d(torch.zeros(1, 4, 5, dtype=torch.bool), channels=16)
    assert torch.allclose(padded, alone, atol=1e-6)
    y = (torch.arange(4) + 0.5) / 4 * 2 * math.pi
    assert torch.allclose(alone[0, 0, :, 0], y.sin(), atol=1e-5)
    assert torch.allclose(alone[0, 1, :, 0], y.cos(), atol=1e-5)
    words = sine_position_1d(torch.tensor([[True, True, False]]), channels=8)
    assert torch.allclose(words[0, :, 0], torch.tensor([math.pi, 2 * math.pi, 2 * math.pi]).sin(), atol=1e-5)

"""Masks of boxes: where they are pasted, and what they depend on."""

from __future__ import annotations

import pytest
import torch

from risctl.core.encoders.visual.shufflenet import ShuffleNet
from risctl.core.fusion.pan import PathAggregation
from risctl.core.heads.instance_masks import OUTSIDE, InstanceMaskHead, MaskFeatures, expand_boxes, paste_logits


def seen(height: int = 64, width: int = 96) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    images = torch.rand(2, 3, height, width)
    return ShuffleNet()(images, torch.zeros(2, height, width, dtype=torch.bool)).maps


def test_logits_are_pasted_where_the_box_is() -> None:
    box = torch.tensor([[16.0, 8, 48, 40]])
    square = torch.full((1, 56, 56), -5.0)
    inside = (torch.arange(56) + 0.5) / 56 * 1.3 - 0.15  # the box's own share of the enlarged square
    within = (inside > 0) & (inside < 1)
    square[0, within[:, None] & within[None]] = 5.0
    laid = paste_logits(square, box, height=20, width=20, stride=4)[0] > 0
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[2:10, 4:12] = True
    assert torch.equal(laid, expected)
    assert float(paste_logits(square, box, height=20, width=20, stride=4)[0, -1, -1]) == OUTSIDE


def test_a_mask_depends_on_its_own_image_only() -> None:
    maps = seen()
    features = MaskFeatures(24, 96, levels=3, channels=16)(
        maps[0], PathAggregation((116, 232, 464), channels=96)(maps[1:])
    )
    head = InstanceMaskHead(16, grid=14)
    box = torch.tensor([[8.0, 8, 40, 56]])
    both = head(features, box.repeat(2, 1), torch.tensor([0, 1]))
    assert both.shape == (2, 28, 28)
    assert torch.allclose(both[1], head(features[1:], box, torch.tensor([0]))[0], atol=1e-5)
    assert head(features, box[:0], torch.zeros(0).long()).shape == (0, 28, 28)


def test_expanding_a_box_keeps_its_centre() -> None:
    assert expand_boxes(torch.tensor([10.0, 20, 30, 60])).tolist() == pytest.approx([7, 14, 33, 66])

"""Boxes of masks, and their generalised IoU."""

from __future__ import annotations

import pytest
import torch

from risctl.core.losses.boxes import cxcywh_to_xyxy, generalised_box_iou, masks_to_cxcywh


def test_boxes_of_masks_and_their_generalised_iou() -> None:
    masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    masks[0, 2:6, 3:9] = True
    assert masks_to_cxcywh(masks).tolist() == [[6, 4, 6, 4], [0, 0, 0, 0]]
    first = cxcywh_to_xyxy(torch.tensor([[0.25, 0.5, 0.5, 1.0]]))
    second = cxcywh_to_xyxy(torch.tensor([[0.75, 0.5, 0.5, 1.0]]))
    assert generalised_box_iou(first, first).item() == pytest.approx(1, abs=1e-5)
    assert generalised_box_iou(first, second).item() == pytest.approx(0, abs=1e-5)
    far = cxcywh_to_xyxy(torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]]))
    assert generalised_box_iou(far[0], far[1]).item() == pytest.approx(-(0.81 - 0.02) / 0.81, abs=1e-4)

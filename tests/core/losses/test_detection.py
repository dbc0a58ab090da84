"""Losses of the detection head: which cells an instance is assigned, and what they learn."""

from __future__ import annotations

import torch

from risctl.core.heads.detection import DetectionHead
from risctl.core.losses.detection import assign_cells, detection_losses


def test_instances_are_assigned_cells_inside_them() -> None:
    cells = DetectionHead(8, classes=3, strides=(8, 16, 32))(
        [torch.rand(1, 8, 128 // stride, 128 // stride) for stride in (8, 16, 32)]
    )
    boxes = torch.tensor([[8.0, 8, 56, 56], [70, 70, 120, 120]])
    given = assign_cells(cells.centres, cells.strides, boxes)
    for index, box in enumerate(boxes):
        own = cells.centres[given == index]
        assert len(own)
        assert bool(((own > box[:2]) & (own < box[2:])).all())
    assert bool((assign_cells(cells.centres, cells.strides, boxes[:0]) == -1).all())


def test_training_fits_a_box_to_its_instance() -> None:
    torch.manual_seed(0)
    head = DetectionHead(16, classes=3, strides=(8, 16))
    maps = [torch.rand(2, 16, 8, 8), torch.rand(2, 16, 4, 4)]
    boxes, classes = [torch.tensor([[10.0, 12, 50, 44]]), torch.zeros(0, 4)], [torch.tensor([2]), torch.zeros(0).long()]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(120):
        loss = torch.stack(list(detection_losses(head(maps), boxes, classes).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cells = head(maps)
    best = cells.scores[0].amax(1).argmax()
    assert int(cells.scores[0, best].argmax()) == 2
    assert (cells.boxes()[0, best] - boxes[0][0]).abs().max() < 3
    assert cells.scores[1].sigmoid().max() < 0.3


def test_an_image_without_instances_has_a_finite_loss() -> None:
    cells = DetectionHead(8, classes=3, strides=(8,))([torch.rand(1, 8, 4, 4)])
    terms = detection_losses(cells, [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)])
    assert all(bool(term.isfinite()) for term in terms.values())

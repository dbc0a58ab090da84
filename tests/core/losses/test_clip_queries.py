"""Losses of queries over clips: matching, names and absent objects."""

from __future__ import annotations

import torch

from risctl.core.losses.boxes import masks_to_cxcywh
from risctl.core.losses.clip_queries import ClipPredictions, ClipTargets, layer_losses, match_costs, match_queries


def example(*, seed: int = 0) -> tuple[ClipPredictions, ClipTargets]:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(2, 3, 8, 8)
    masks[0, :2, 2:5, 1:6] = 1
    masks[1, :, 4:, 4:] = 1
    predicted = ClipPredictions(
        classes=torch.randn(2, 3, 4, 1, generator=generator),
        boxes=torch.rand(2, 3, 4, 4, generator=generator),
        masks=torch.randn(2, 3, 4, 8, 8, generator=generator),
    )
    shown = masks.flatten(2).any(2)
    targets = ClipTargets(
        masks=masks, boxes=masks_to_cxcywh(masks > 0) / 8, valid=shown, labels=torch.zeros(2, dtype=torch.int64)
    )
    return predicted, targets


def test_the_best_query_is_matched() -> None:
    predicted, targets = example()
    predicted.masks[0, :, 2] = 20 * targets.masks[0] - 10
    predicted.boxes[0, :, 2] = targets.boxes[0]
    predicted.classes[0, :, 2] = 3
    predicted.masks[1, :, 1] = 20 * targets.masks[1] - 10
    predicted.boxes[1, :, 1] = targets.boxes[1]
    predicted.classes[1, :, 1] = 3
    assert match_queries(predicted, targets).tolist() == [2, 1]
    assert match_costs(predicted, targets).shape == (2, 4)
    right = layer_losses([predicted], targets)
    assert right["mask"] < 1e-3 and right["dice"] < 0.1 and right["box"] < 1e-5


def test_loss_names_carry_their_layer_except_the_last() -> None:
    predicted, targets = example()
    other, _ = example(seed=1)
    terms = layer_losses([other, predicted], targets)
    assert set(terms) == {f"{name}{end}" for name in ("class", "box", "giou", "mask", "dice") for end in ("", "_0")}
    alone = layer_losses([predicted], targets)
    assert all(torch.equal(terms[name], value) for name, value in alone.items())


def test_a_clip_that_never_shows_its_object_has_finite_losses() -> None:
    predicted, targets = example()
    nothing = ClipTargets(
        masks=torch.zeros_like(targets.masks),
        boxes=torch.zeros_like(targets.boxes),
        valid=torch.zeros_like(targets.valid),
        labels=targets.labels,
    )
    assert all(value.isfinite() for value in layer_losses([predicted], nothing).values())

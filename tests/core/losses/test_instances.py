"""Losses of the detector: boxes and classes in images of known instances only, masks everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from risctl.core.heads.detector import InstanceDetector
from risctl.core.heads.instance_masks import paste_logits
from risctl.core.losses.instances import instance_boxes, instance_losses, mask_grid_loss
from risctl.data.batch import InstanceTargets

SIDE = 96
KIND_OF = {7: 0, 9: 1}


def some_things(
    *places: tuple[int, int, int, int], categories: tuple[int, ...] = (), scale: int = 1
) -> InstanceTargets:
    """Full boxes as masks, xyxy in input pixels, on a grid of the input's side over `scale`."""
    masks = torch.zeros(len(places), SIDE // scale, SIDE // scale, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, places):
        mask[top // scale : bottom // scale, left // scale : right // scale] = True
    return InstanceTargets(categories=torch.tensor(categories or [7] * len(places), dtype=torch.int64), masks=masks)


@pytest.fixture
def detector() -> InstanceDetector:
    torch.manual_seed(0)
    return InstanceDetector(classes=2, neck=16, channels=8)


def shown(things: InstanceTargets) -> torch.Tensor:
    """Returns a noisy image whose instances are brighter than the rest."""
    noise = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    return 0.3 * noise + 0.7 * things.masks.any(0)


def losses(
    detector: InstanceDetector, *things: InstanceTargets, seed: int = 0, **options: object
) -> dict[str, torch.Tensor]:
    images = torch.stack([shown(thing) for thing in things])
    padding = torch.zeros(len(things), SIDE, SIDE, dtype=torch.bool)
    torch.manual_seed(seed)
    return instance_losses(detector, images, padding, things, class_of=KIND_OF, **options)  # type: ignore[arg-type]


def test_boxes_reach_to_the_far_sides_whatever_the_masks_scale() -> None:
    for scale in (1, 4):
        things = some_things((8, 16, 40, 48), (64, 0, 96, 96), scale=scale)
        boxes, large = instance_boxes(things.masks, width=SIDE)
        assert boxes.tolist() == [[8, 16, 40, 48], [64, 0, 96, 96]] and large.all()


def test_empty_and_tiny_instances_are_not_learned() -> None:
    boxes, large = instance_boxes(some_things((8, 8, 8, 8), (10, 10, 11, 40), (10, 10, 12, 40)).masks, width=SIDE)
    assert large.tolist() == [False, False, True] and boxes[0].tolist() == [0, 0, 0, 0]


def test_the_same_seed_samples_the_same_masks(detector: InstanceDetector) -> None:
    things = some_things(*((10 * i, 0, 10 * i + 20, 90) for i in range(7)))
    first, again, other = (losses(detector, things, seed=seed, per_image=2)["mask"] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_an_image_with_an_unknown_instance_trains_masks_only(detector: InstanceDetector) -> None:
    known, unknown = some_things((8, 8, 60, 60)), some_things((8, 8, 60, 60), (20, 40, 90, 90), categories=(7, 3))
    terms = losses(detector, unknown)
    assert terms["quality"] == terms["overlap"] == terms["sides"] == 0 and terms["mask"] > 0
    sum(terms.values()).backward()
    assert detector.masks.leave.weight.grad is not None
    mixed, alone = losses(detector, known, unknown), losses(detector, known)
    for name in ("quality", "overlap", "sides"):
        assert float(mixed[name].detach()) == pytest.approx(float(alone[name].detach()), rel=1e-3), name


def test_detection_can_be_left_out(detector: InstanceDetector) -> None:
    terms = losses(detector, some_things((8, 8, 60, 60)), detect=False)
    assert {name for name, term in terms.items() if term != 0} == {"mask"}


def test_no_instances_give_finite_losses_and_gradients(detector: InstanceDetector) -> None:
    nothing = InstanceTargets(
        categories=torch.zeros(0, dtype=torch.int64), masks=torch.zeros(0, SIDE, SIDE, dtype=torch.bool)
    )
    terms = losses(detector, nothing, nothing)
    assert terms["mask"] == 0 and terms["quality"] > 0
    sum(terms.values()).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in detector.parameters())


def test_half_precision_leaves_the_losses_in_float32(detector: InstanceDetector) -> None:
    things = some_things((8, 8, 60, 60), (30, 30, 90, 80), categories=(7, 9))
    full = losses(detector, things)
    with torch.autocast("cpu", torch.bfloat16):
        half = losses(detector, things)
    for name, term in half.items():
        assert term.dtype == torch.float32, name
        assert float(term.detach()) == pytest.approx(float(full[name].detach()), rel=0.1, abs=0.02), name
    sum(half.values()).backward()


def test_the_target_of_a_mask_grid_is_the_mask_within_its_box() -> None:
    wanted = torch.zeros(2, 8, 8)
    wanted[0, :4] = wanted[1, :, 4:] = 1
    right, wrong = mask_grid_loss((wanted - 0.5) * 20, wanted), mask_grid_loss((wanted - 0.5) * -20, wanted)
    assert right < 0.01 < 10 < wrong


def test_masks_are_learned(detector: InstanceDetector) -> None:
    """A few steps on one image fit the mask of its instance, which does not fill its box."""
    shape = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    shape[0, 16:80, 16:40] = shape[0, 56:80, 16:80] = True
    things = InstanceTargets(categories=torch.tensor([7]), masks=shape)
    detector.backbone.requires_grad_(False)
    parameters = [*detector.features.parameters(), *detector.masks.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    for step in range(40):
        loss = losses(detector, things, seed=step, detect=False)["mask"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    box = instance_boxes(shape, width=SIDE)[0]
    with torch.no_grad():
        _, features = detector(shown(things)[None], torch.zeros(1, SIDE, SIDE, dtype=torch.bool))
        drawn = (
            paste_logits(detector.masks(features, box, torch.tensor([0])), box, height=SIDE, width=SIDE, stride=1)[0]
            > 0
        )
    shared, joint = (drawn & shape[0]).sum(), (drawn | shape[0]).sum()
    assert shared / joint > 0.85


def test_masks_that_are_boxes_are_learned_as_boxes(detector: InstanceDetector) -> None:
    things = some_things((16, 16, 64, 64))
    boxes = replace(things, boxes_only=True)
    apart = {
        name: float(losses(detector, *some)["mask"].detach())
        for name, some in {"masks": (things, things), "boxes": (boxes, boxes), "both": (things, boxes)}.items()
    }
    assert apart["boxes"] != pytest.approx(apart["masks"], rel=1e-3)
    assert min(apart["masks"], apart["boxes"]) < apart["both"] < max(apart["masks"], apart["boxes"])
    losses(detector, boxes)["mask"].backward()
    assert any(bool(parameter.grad.abs().sum() > 0) for parameter in detector.masks.parameters())

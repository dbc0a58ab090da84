"""Masks learned from boxes and colours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from risctl.core.losses.box_masks import box_mask_loss, pairwise_loss, projection_loss, rgb_to_lab

SIDE = 24


def disc(radius: float = 8.0) -> Tensor:
    steps = torch.arange(SIDE) - (SIDE - 1) / 2
    return (steps[:, None].square() + steps.square() < radius**2)[None]


def box_of(mask: Tensor) -> Tensor:
    return (mask.any(2)[:, :, None] & mask.any(1)[:, None, :]).float()


def logits_of(mask: Tensor) -> Tensor:
    return (mask.float() - 0.5) * 40


def test_projections_see_the_extent_alone() -> None:
    mask = disc()
    box = box_of(mask)
    assert float(projection_loss(logits_of(mask), box)) == pytest.approx(0, abs=1e-6)
    assert float(projection_loss(logits_of(box.bool()), box)) == pytest.approx(0, abs=1e-6)
    assert float(projection_loss(logits_of(torch.zeros_like(mask)), box)) == pytest.approx(2, abs=1e-6)
    smaller = float(projection_loss(logits_of(disc(5)), box))
    assert 0.05 < smaller < float(projection_loss(logits_of(disc(2)), box))


def test_neighbours_of_like_colour_belong_together() -> None:
    mask, everywhere = disc(), torch.ones(1, SIDE, SIDE)
    two_colours = torch.zeros(1, 3, SIDE, SIDE) + 60 * mask[:, None]
    one_colour = torch.zeros_like(two_colours)
    assert float(pairwise_loss(logits_of(mask), everywhere, two_colours)) == pytest.approx(0, abs=1e-6)
    assert float(pairwise_loss(logits_of(mask), everywhere, one_colour)) > 1
    # A box without a pair within it teaches nothing.
    assert float(pairwise_loss(logits_of(mask), torch.zeros_like(everywhere), one_colour)) == 0


def test_undecided_cells_follow_their_colour() -> None:
    """The middle is known to be in the mask and what is beyond the box is not; between them only colours tell."""
    mask = disc()
    colours = rgb_to_lab(torch.where(mask[:, None], torch.tensor([0.8, 0.2, 0.2])[:, None, None], torch.tensor(0.5)))
    logits = torch.nn.Parameter(4.0 * disc(3) - 4.0 * (1 - box_of(mask)))
    optimiser = torch.optim.Adam([logits], lr=0.3)
    for _ in range(150):
        optimiser.zero_grad()
        box_mask_loss(logits, box_of(mask), colours).backward()
        optimiser.step()
    assert bool(((logits.detach() > 0) == mask).all())


def test_lab_of_known_colours() -> None:
    rgb = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).T[:, None]
    lab = rgb_to_lab(rgb)[:, 0].T
    expected = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])
    assert torch.allclose(lab, expected, atol=0.1)
